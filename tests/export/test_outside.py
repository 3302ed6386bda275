"""Models from outside: wrapped, they answer as they did with the preprocessing they were trained with."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from edgegal.errors import InputError

pytestmark = pytest.mark.host

SIDE = 32
LABELS = ["round", "cigar", "spiral"]
PICTURES = np.random.default_rng(3).integers(0, 256, (3, SIDE, SIDE, 3)).astype(np.uint8)
RGB_255 = {"colour": "rgb", "mean": 0, "scale": 1}


def toml(value):
    """TOML of a value; JSON's strings, numbers and arrays are TOML's too."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def describe(path, **changes):
    """Write a description beside a model and give back its path; None takes a key out."""
    values = {"model": path.name, "task": "classification", "labels": LABELS, "input": RGB_255, **changes}
    written = path.with_name(f"{path.name}.toml")
    written.write_text("\n".join(f"{k} = {toml(v)}" for k, v in values.items() if v is not None), encoding="utf-8")
    return written


def opened(path, **changes):
    from edgegal.export.outside import open_network

    return open_network(describe(path, **changes))


def small_cnn(channels=3, activation="softmax", side=SIDE, batch=None, classes=3):
    import keras

    keras.utils.set_random_seed(channels)
    image = keras.Input(batch_shape=(batch, side, side, channels), name="photo")
    x = keras.layers.Conv2D(4, 3, strides=2, activation="tanh")(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(classes, activation=activation, name="answer")(x))


def prepared(pictures, colour, mean, scale, layout="nhwc"):
    """The preprocessing as its maker would write it, by OpenCV and NumPy."""
    import cv2

    code = {"rgb": None, "bgr": cv2.COLOR_RGB2BGR, "mono": cv2.COLOR_RGB2GRAY}[colour]
    batch = np.stack(
        [p.astype(np.float32) if code is None else cv2.cvtColor(p.astype(np.float32), code) for p in pictures]
    )
    batch = batch[..., None] if batch.ndim == 3 else batch
    batch = ((batch - np.array(mean)) / np.array(scale)).astype(np.float32)
    return batch if layout == "nhwc" else batch.transpose(0, 3, 1, 2)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def to_onnx(model, path, layout="nhwc", opset=17):
    """The Keras model as ONNX file, its outputs named by Keras."""
    import tensorflow as tf
    import tf2onnx

    name = model.inputs[0].name
    names = [name] if layout == "nchw" else None
    tf2onnx.convert.from_function(
        tf.function(lambda photo: {"answer": model(photo, training=False)}),
        input_signature=[tf.TensorSpec(model.inputs[0].shape, tf.float32, name=name)],
        opset=opset,
        inputs_as_nchw=names,
        output_path=str(path),
    )
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Files of the same small network in each form, for colour pictures and for grey ones; logits."""
    folder = tmp_path_factory.mktemp("outside")
    found = SimpleNamespace(folder=folder, keras={}, files={})
    for channels in (1, 3):
        model = found.keras[channels] = small_cnn(channels, activation=None)
        found.files[channels] = {
            ("keras", "nhwc"): folder / f"{channels}.keras",
            ("onnx", "nchw"): to_onnx(model, folder / f"{channels}-nchw.onnx", "nchw"),
        }
        model.save(found.files[channels]["keras", "nhwc"])
    found.files[3]["saved", "nhwc"] = folder / "saved"
    found.keras[3].export(folder / "saved", verbose=False)
    found.files[3]["onnx", "nhwc"] = to_onnx(found.keras[3], folder / "3-nhwc.onnx")
    return found


numbers = st.floats(-200, 200, width=32)
divisors = st.floats(0.5, 300, width=32)


@given(data=st.data())
@settings(max_examples=12)
def test_a_wrapped_model_answers_as_with_its_own_preprocessing(models, data):
    colour = data.draw(st.sampled_from(["rgb", "bgr", "mono"]), "colour")
    channels = 1 if colour == "mono" else 3
    kind, layout = data.draw(st.sampled_from(list(models.files[channels])), "file")
    count = data.draw(st.sampled_from([1, channels]), "numbers")
    mean, scale = (data.draw(st.lists(values, min_size=count, max_size=count)) for values in (numbers, divisors))
    network = opened(
        models.files[channels][kind, layout],
        input={"colour": colour, "mean": mean, "scale": scale, "layout": layout},
        outputs={"probabilities": {"activation": "softmax"}},
    )
    assert network.output_shapes == {"probabilities": (1, 3)}
    logits = models.keras[channels].predict_on_batch(prepared(PICTURES, colour, mean, scale))
    assert_allclose(network(PICTURES)["probabilities"], softmax(logits), atol=2e-4)


@pytest.mark.slow
def test_mobilenet_of_keras_applications_with_its_own_preprocessing(tmp_path):
    import keras

    keras.utils.set_random_seed(5)
    model = keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, weights=None, classes=3)
    model.save(tmp_path / "mobilenet.keras")
    network = opened(tmp_path / "mobilenet.keras", input={"colour": "rgb", "mean": 127.5, "scale": 127.5})
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    own = keras.applications.mobilenet_v2.preprocess_input(pictures.astype(np.float32))
    assert_allclose(network(pictures)["probabilities"], model(own, training=False), atol=1e-6)
    assert network.description.provenance.parameters == model.count_params()
    assert network.description.preprocess.width == 64


def test_the_preprocessing_of_caffe_models_as_keras_has_it(models):
    import keras

    network = opened(
        models.files[3]["keras", "nhwc"],
        input={"colour": "bgr", "mean": [103.939, 116.779, 123.68], "scale": 1},
        outputs={"probabilities": {"activation": "softmax"}},
    )
    own = keras.applications.imagenet_utils.preprocess_input(PICTURES.astype(np.float32), mode="caffe")
    logits = models.keras[3].predict_on_batch(own)
    assert_allclose(network(PICTURES)["probabilities"], softmax(logits), atol=1e-5)


def test_the_description_is_what_the_file_says(models):
    network = opened(
        models.files[3]["keras", "nhwc"],
        input={**RGB_255, "crop_scale": 1.5, "stretch": {"soft_sigma": 5}},
        outputs={"probabilities": {"name": "answer", "activation": "softmax"}},
        temperature=1.3,
        abstain_below=0.4,
        licence="CC BY 4.0",
        provenance={"architecture": "small CNN", "datasets": ["my pictures"], "seed": 7},
    )
    description = network.description
    assert network.stage == "classifier"
    assert network.licence == "CC BY 4.0"
    assert (description.labels, description.scheme) == (tuple(LABELS), "own")
    assert (description.temperature, description.abstain_below) == (1.3, 0.4)
    assert (description.preprocess.crop_scale, description.preprocess.stretch.soft_sigma) == (1.5, 5)
    assert (description.provenance.architecture, description.provenance.seed) == ("small CNN", 7)


def small_detector(folder):
    """A head of 4 x 4 cells with one anchor each: box codes, and logits of two classes."""
    import keras

    keras.utils.set_random_seed(6)
    image = keras.Input((SIDE, SIDE, 3), name="photo")
    x = keras.layers.Conv2D(4, 3, strides=8, padding="same", activation="tanh")(image)
    boxes = keras.layers.Reshape((16, 4), name="regression")(keras.layers.Conv2D(4, 1)(x))
    logits = keras.layers.Reshape((16, 2), name="logits")(keras.layers.Conv2D(2, 1)(x))
    model = keras.Model(image, [boxes, logits])
    model.save(folder / "detector.keras")
    return model


DETECTOR = {
    "task": "detection",
    "labels": ["galaxy", "star cluster"],
    "input": {"colour": "rgb", "mean": 0, "scale": 255},
    "anchors": {"levels": [{"stride": 8, "sizes": [12.0]}], "ratios": [1.0]},
    "outputs": {"boxes": {"name": "regression"}, "scores": {"name": "logits", "activation": "sigmoid"}},
    "tile_overlap": 8,
    "score_threshold": 0.6,
}


def test_a_detector_with_its_anchors(tmp_path):
    model = small_detector(tmp_path)
    network = opened(tmp_path / "detector.keras", **DETECTOR)
    assert network.stage == "detector"
    assert network.output_shapes == {"boxes": (1, 16, 4), "scores": (1, 16, 2)}
    assert network.description.score_threshold == 0.6
    boxes, logits = model.predict_on_batch(PICTURES.astype(np.float32) / 255)
    answers = network(PICTURES)
    assert_allclose(answers["boxes"], boxes, atol=1e-5)
    assert_allclose(answers["scores"], 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_anchors_that_do_not_fit_the_outputs(tmp_path):
    small_detector(tmp_path)
    with pytest.raises(InputError, match=r"gives boxes \(1, 16, 4\), its TOML file asks for \(1, 4, 4\)"):
        opened(
            tmp_path / "detector.keras",
            **{**DETECTOR, "anchors": {"levels": [{"stride": 16, "sizes": [12.0]}], "ratios": [1.0]}},
        )
    with pytest.raises(InputError, match="tile_overlap 64 leaves no step"):
        opened(tmp_path / "detector.keras", **{**DETECTOR, "tile_overlap": 64})


def test_a_model_of_open_size_takes_the_one_that_is_stated(tmp_path):
    import keras

    image = keras.Input((None, None, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))
    keras.Model(image, keras.layers.Dense(3, activation="softmax")(x)).save(tmp_path / "open.keras")
    with pytest.raises(InputError, match="takes pictures of any size") as error:
        opened(tmp_path / "open.keras")
    assert "set size in input" in error.value.mend
    assert opened(tmp_path / "open.keras", input={**RGB_255, "size": 40}).input_shape == (1, 40, 40, 3)


def test_a_batch_of_one_is_no_obstacle_and_a_larger_one_is(tmp_path):
    one, four = small_cnn(batch=1), small_cnn(batch=4)
    one.save(tmp_path / "one.keras")
    four.save(tmp_path / "four.keras")
    answers = opened(tmp_path / "one.keras")(PICTURES)["probabilities"]
    wanted = [one.predict_on_batch(picture[None].astype(np.float32))[0] for picture in PICTURES]
    assert_allclose(answers, wanted, atol=1e-6)
    with pytest.raises(InputError, match="takes batches of 4"):
        opened(tmp_path / "four.keras")


def test_an_onnx_file_of_an_old_opset_is_made_a_later_one(tmp_path):
    model = small_cnn()
    network = opened(to_onnx(model, tmp_path / "old.onnx", opset=11))
    assert network.graph.opset_import[0].version >= 13
    wanted = model.predict_on_batch(PICTURES.astype(np.float32))
    assert_allclose(network(PICTURES)["probabilities"], wanted, atol=1e-5)


def test_hdf5_files_are_read_too(tmp_path):
    model = small_cnn()
    model.save(tmp_path / "net.h5")
    wanted = model.predict_on_batch(PICTURES.astype(np.float32))
    assert_allclose(opened(tmp_path / "net.h5")(PICTURES)["probabilities"], wanted, atol=1e-6)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A sound model with three probabilities."""
    path = tmp_path_factory.mktemp("sound") / "net.keras"
    small_cnn().save(path)
    return path


@pytest.mark.parametrize(
    ("changes", "message", "mend"),
    [
        ({"lables": LABELS}, "unknown key lables", "did you mean labels?"),
        ({"input": {**RGB_255, "color": "rgb"}}, "unknown key input.color", "did you mean colour?"),
        ({"input": {**RGB_255, "stretch": {"soft": 3}}}, "unknown key input.stretch.soft", "soft_sigma"),
        ({"outputs": {"classes": {}}}, "unknown key outputs.classes", "use: probabilities"),
        ({"input": {"colour": "rgb", "scale": 1}}, "input.mean is missing", "0 when it subtracts nothing"),
        ({"labels": None}, "labels is missing", "names of the classes"),
        ({"task": None}, "task is missing", "classification, detection"),
        ({"task": "segmentation"}, "task is 'segmentation'", "classification, detection"),
        ({"input": {**RGB_255, "colour": "bayer"}}, "input.colour: Input should be 'rgb', 'bgr' or 'mono'", ""),
        ({"input": {**RGB_255, "scale": 0}}, "input.scale: nothing can be divided by 0", ""),
        ({"input": {**RGB_255, "mean": [1, 2]}}, "mean has 2 numbers, and a rgb model 3 channels", ""),
        ({"input": {"colour": "mono", "mean": [1, 2, 3], "scale": 1}}, "mean has 3 numbers, and a mono model 1", ""),
        ({"labels": ["a", "a", "b"]}, "two classes are called 'a'", ""),
        ({"scheme": "hubble3"}, "the labels of scheme 'hubble3' are E, S0, S", ""),
        ({"labels": ["a", "b"]}, "gives 3 probabilities and there are 2 labels", "name each class in labels"),
        ({"outputs": {"probabilities": {"name": "logits"}}}, "has no output 'logits'", "to one of: answer"),
        ({"input": {**RGB_255, "layout": "nchw"}}, "no 3 channels in the layout nchw", 'layout = "nhwc"'),
        ({"input": {**RGB_255, "colour": "mono"}}, "no 1 channels in the layout nhwc", "colour"),
        ({"input": {**RGB_255, "size": 48}}, "and size in input is 48", "leave size out"),
        ({"model": "other.keras"}, "no model", "path from the TOML file"),
        ({"model": "net.pt"}, "holds pickled Python", "ONNX"),
        ({"model": "net.tflite"}, "was exported already", "the model it was made from"),
        ({"model": "net.keras.toml"}, "is of no known kind", "SavedModel"),
    ],
)
def test_a_description_that_does_not_fit_is_refused_with_its_key(sound, changes, message, mend):
    with pytest.raises(InputError) as error:
        opened(sound, **changes)
    assert message in error.value.message
    assert mend in error.value.mend
    assert "\n" not in str(error.value)


def test_logits_are_told_from_probabilities(models):
    with pytest.raises(InputError, match="not within 0 to 1") as error:
        opened(models.files[3]["keras", "nhwc"], input={"colour": "rgb", "mean": 0, "scale": 1e-3})
    assert 'activation = "softmax" in outputs.probabilities' in error.value.mend


def test_independent_scores_are_no_probabilities(tmp_path):
    small_cnn(activation="sigmoid").save(tmp_path / "net.keras")
    with pytest.raises(InputError, match=r"probabilities that sum to .*, not to 1"):
        opened(tmp_path / "net.keras")


@pytest.mark.filterwarnings("ignore:You are saving a model that has not yet been built")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("unbuilt", "was never built"),
        ("lambda", "has a Lambda layer: Python code in the file, which is not run"),
        ("custom", "has a layer of the class Doubled, whose code is not in the file"),
        ("two inputs", "has 2 inputs: left, right"),
        ("nan", "the weights are not all finite"),
        ("flat", "takes an input of shape (?, 12), no batch of pictures nhwc"),
        ("oblong", "tiles and crops are square"),
        ("junk", "is not a readable model"),
        ("cut off", "is not a readable model"),
    ],
)
def test_a_keras_file_that_cannot_be_exported(fault, message, suffix, tmp_path):
    import keras
    from keras import layers

    class Doubled(layers.Layer):
        def call(self, x):
            return 2 * x

    def through(layer, shape=(SIDE, SIDE, 3)):
        return keras.Sequential([keras.Input(shape), layer, layers.Flatten(), layers.Dense(3, activation="softmax")])

    path = tmp_path / f"net{suffix}"
    if fault == "unbuilt":
        if suffix == ".h5":
            pytest.skip("Keras writes no HDF5 file of a model that was never built")
        model = keras.Sequential([layers.Flatten(), layers.Dense(3)])
    elif fault == "lambda":
        model = through(layers.Lambda(lambda x: x / 255))
    elif fault == "custom":
        model = through(Doubled())
    elif fault == "two inputs":
        pair = [keras.Input((SIDE, SIDE, 3), name=name) for name in ("left", "right")]
        model = keras.Model(pair, layers.Dense(3)(layers.Flatten()(layers.Add()(pair))))
    elif fault == "nan":
        model = small_cnn()
        model.layers[1].set_weights([np.full_like(w, np.nan) for w in model.layers[1].get_weights()])
    elif fault == "flat":
        model = keras.Sequential([keras.Input((12,)), layers.Dense(3)])
    elif fault == "oblong":
        model = through(layers.ReLU(), (SIDE, 48, 3))
    else:
        model = small_cnn()
    model.save(path)
    if fault == "junk":
        path.write_bytes(b"\x80\x04\x95 no model" * 20)
    if fault == "cut off":
        path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError) as error:
        opened(path)
    assert message in error.value.message
    assert "\n" not in str(error.value)


def test_weights_without_a_model(tmp_path):
    small_cnn().save_weights(tmp_path / "net.weights.h5")
    with pytest.raises(InputError, match="holds weights without their model"):
        opened(tmp_path / "net.weights.h5")


def test_a_folder_that_is_no_saved_model(tmp_path):
    (tmp_path / "net").mkdir()
    with pytest.raises(InputError, match=r"is no SavedModel: it has no saved_model\.pb"):
        opened(tmp_path / "net")
    (tmp_path / "net" / "saved_model.pb").write_bytes(b"\x80\x04 junk" * 9)
    with pytest.raises(InputError, match="is not a readable model"):
        opened(tmp_path / "net")


def onnx_model(nodes, *, inputs=(("x", (1, 3, SIDE, SIDE)),), outputs=(("y", (1, 3)),), initializers=(), kind=None):
    from onnx import TensorProto, helper, numpy_helper

    def value(name, shape):
        return helper.make_tensor_value_info(name, kind or TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [helper.make_node(op, *ends, **attributes) for op, *ends, attributes in nodes],
        "net",
        [value(*i) for i in inputs],
        [value(*o) for o in outputs],
        [numpy_helper.from_array(v, n) for n, v in dict(initializers).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


POOL = [
    ("GlobalAveragePool", ["x"], ["pooled"], {}),
    ("Flatten", ["pooled"], ["flat"], {}),
    ("Softmax", ["flat"], ["y"], {"axis": 1}),
]
NCHW = {**RGB_255, "layout": "nchw"}


def test_an_onnx_graph_written_by_hand_whose_names_are_those_of_the_wrapping(tmp_path):
    import onnx

    names = {"x": "image", "y": "probabilities", "pooled": "prepare/mixed", "flat": "prepare/weights"}
    nodes = [(op, [names[i] for i in ins], [names[o] for o in outs], attributes) for op, ins, outs, attributes in POOL]
    onnx.save(
        onnx_model(nodes, inputs=[("image", ("n", 3, None, None))], outputs=[("probabilities", ("n", 3))]),
        tmp_path / "net.onnx",
    )
    network = opened(tmp_path / "net.onnx", input={**NCHW, "colour": "bgr", "scale": 255, "size": SIDE})
    wanted = softmax(PICTURES[..., ::-1].mean(axis=(1, 2)) / 255)
    assert_allclose(network(PICTURES)["probabilities"], wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": [("x", (1, 3, SIDE, SIDE)), ("z", (1,))]}, "has 2 inputs: x, z"),
        ({"inputs": [("x", (1, 3, None, None))]}, "takes pictures of any size"),
        ({"inputs": [("x", (8, 3, SIDE, SIDE))]}, "takes batches of 8"),
        ({"kind": 10}, "takes float16"),
        ({"nodes": [("Galaxy", ["x"], ["y"], {"domain": "own"})]}, "does not run in ONNX Runtime"),
        (
            {
                "nodes": [*POOL[:2], ("Mul", ["flat", "w"], ["y"], {})],
                "initializers": {"w": np.full((1, 3), np.nan, "f")},
            },
            "the weights are not all finite",
        ),
        (
            {
                "nodes": [
                    ("QuantizeLinear", ["x", "s", "z"], ["q"], {}),
                    ("DequantizeLinear", ["q", "s", "z"], ["d"], {}),
                    ("GlobalAveragePool", ["d"], ["pooled"], {}),
                    *POOL[1:],
                ],
                "initializers": {"s": np.float32(1), "z": np.uint8(0)},
            },
            "is quantised already: it has QuantizeLinear",
        ),
    ],
)
def test_an_onnx_file_that_cannot_be_exported(change, message, tmp_path):
    import onnx

    model = onnx_model(**{"nodes": POOL, **change})
    if "own" in str(model):
        model.opset_import.append(onnx.helper.make_opsetid("own", 1))
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(InputError) as error:
        opened(tmp_path / "net.onnx", input=NCHW)
    assert message in error.value.message
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\x80\x04 a pickle", bytes(range(256)) * 9])
def test_a_damaged_onnx_file(content, tmp_path):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(InputError, match="is not a readable ONNX model"):
        opened(tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("kind", "layout", "format"),
    [("keras", "nhwc", "tflite"), ("saved", "nhwc", "tflite"), ("onnx", "nchw", "onnx"), ("onnx", "nchw", "openvino")],
)
def test_an_exported_file_answers_as_the_model_from_outside(kind, layout, format, models, tmp_path):
    from edgegal import runtimes, zoo
    from edgegal.export.registry import EXPORTERS, Order

    network = opened(
        models.files[3][kind, layout],
        input={"colour": "bgr", "mean": [104, 117, 124], "scale": 58, "layout": layout},
        outputs={"probabilities": {"activation": "softmax"}},
    )
    metadata = {
        "stage": network.stage,
        "precision": "fp32",
        "description": network.description.model_dump(mode="json"),
        "exported_with": {},
    }
    order = Order(network, "fp32", None, tmp_path / "net", json.dumps(metadata))
    path = EXPORTERS[format].load().convert(order).files[0]
    adapter = runtimes.load(runtimes.choose({format}), path)
    for picture, wanted in zip(PICTURES, network(PICTURES)["probabilities"], strict=True):
        assert_allclose(adapter.infer(picture[None].astype(np.float32))["probabilities"][0], wanted, atol=1e-5)
    assert zoo.resolve(str(path)).manifest.classifier.labels == tuple(LABELS)


def test_no_tflite_file_is_made_of_an_onnx_file(models):
    from edgegal.export.network import keras_form

    network = opened(
        models.files[3]["onnx", "nchw"],
        input={**RGB_255, "layout": "nchw"},
        outputs={"probabilities": {"activation": "softmax"}},
    )
    with pytest.raises(InputError, match="tflite is written from a Keras model"):
        keras_form(network, "tflite")


@pytest.mark.parametrize("name", ["net.keras", "net.onnx", "net.pt"])
def test_weights_without_a_description_ask_for_one(name, tmp_path):
    from edgegal.export.outside import open_network

    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="alone does not say what it takes and gives") as error:
        open_network(tmp_path / name)
    assert f'model = "{name}"' in error.value.mend


def test_a_trained_folder_is_opened_as_before(classifier, tmp_path):
    from edgegal.export.outside import open_network
    from edgegal.models.artefact import save_trained

    network = open_network(save_trained(classifier.model, classifier.description, tmp_path / "net"))
    assert network.description == classifier.description


@pytest.mark.parametrize(("text", "message"), [("model = ", "is not TOML"), (b"\xff\xfe", "cannot be read")])
def test_a_description_that_is_no_toml(text, message, tmp_path):
    from edgegal.export.outside import open_network

    path = tmp_path / "net.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        open_network(path)
    with pytest.raises(InputError, match="no file"):
        open_network(tmp_path / "none.toml")


def test_the_descriptions_in_the_documentation_are_read(tmp_path):
    from edgegal.export.model_info import read_model_info

    page = Path(__file__).parents[2] / "docs" / "how-to" / "export-your-own-model.md"
    blocks = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    tasks = []
    for block in blocks:
        (tmp_path / "model.toml").write_text(block, encoding="utf-8")
        tasks.append(read_model_info(tmp_path / "model.toml").task)
    assert tasks == ["classification", "detection"]
