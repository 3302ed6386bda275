"""TFLite files: each precision beside Keras, what stays in float, and what they say of themselves."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegal import runtimes
from edgegal.errors import InputError
from edgegal.metrics.signal import compare
from edgegal.preprocess import network_input

pytestmark = pytest.mark.host

keras = pytest.importorskip("keras")

from ai_edge_litert.interpreter import Interpreter  # noqa: E402
from keras import layers  # noqa: E402

from edgegal.export import Calibration, KerasNetwork  # noqa: E402
from edgegal.export.registry import Order  # noqa: E402
from edgegal.export.tflite import convert  # noqa: E402

METADATA = '{"stage": "classifier", "note": "spiralé"}'
# What a file of this tiny network keeps at the least, with a margin of 6 dB.
LEAST_SQNR = {"fp32": 100, "fp16": 50, "dynamic": 30, "int8": 25, "int8-io": 25, "int16x8": 30}


@pytest.fixture(scope="module")
def network(classifier: Any) -> Any:
    """A classifier with more than 1024 weights in a layer: fewer stay in float in dynamic files."""
    keras.utils.set_random_seed(3)
    size = classifier.description.preprocess.width
    image = keras.Input((size, size, 3), name="image")
    x = layers.Conv2D(16, 3, strides=4, activation="relu", name="first")(layers.Rescaling(1 / 255)(image))
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling2D()(layers.DepthwiseConv2D(3, name="depthwise")(x))
    x = layers.Dense(5, name="logits")(x * 20.0)
    return KerasNetwork(keras.Model(image, {"probabilities": layers.Softmax()(x)}), classifier.description)


@pytest.fixture(scope="module")
def write(network: Any, make_sky: Callable[[int, int], np.ndarray], tmp_path_factory: Any) -> Callable[..., Path]:
    """Writes the network in a precision; each choice once."""
    calibration = Calibration(make_sky(16, 3), "sky", "train", 3)
    done: dict[Any, Path] = {}

    def written(name: str, keep_float: tuple[str, ...] = ()) -> Path:
        if (name, keep_float) not in done:
            folder = tmp_path_factory.mktemp("tflite")
            precision, _, io = name.partition("-")
            order = Order(network, precision, calibration, folder / name, METADATA, keep_float, bool(io))
            done[name, keep_float] = convert(order).files[0]
        return done[name, keep_float]

    return written


def answers(path: Path, pictures: np.ndarray) -> np.ndarray:
    adapter = runtimes.load(runtimes.choose({"tflite"}), path)
    return np.concatenate([adapter.infer(network_input(picture))["probabilities"] for picture in pictures])


def operations(path: Path) -> list[tuple[str, str, str]]:
    """Kind, output name and output type of each operation, in order."""
    interpreter = Interpreter(model_content=path.read_bytes())
    tensors = {t["index"]: (t["name"], np.dtype(t["dtype"]).name) for t in interpreter.get_tensor_details()}
    return [(o["op_name"], *tensors[o["outputs"][0]]) for o in interpreter._get_ops_details()]


def first_convolution(path: Path) -> str:
    return next(name for kind, name, _ in operations(path) if kind == "CONV_2D")


@pytest.mark.parametrize("name", LEAST_SQNR)
def test_each_precision_answers_as_keras(
    name: str, network: Any, write: Callable[..., Path], make_sky: Callable[[int, int], np.ndarray]
) -> None:
    pictures = make_sky(6, 4)
    ratio = compare(network(pictures)["probabilities"], answers(write(name), pictures)).sqnr_db
    assert ratio is not None
    assert ratio > LEAST_SQNR[name]


@pytest.mark.parametrize("name", LEAST_SQNR)
def test_weights_are_stored_in_the_precision_asked_for(name: str, write: Callable[..., Path]) -> None:
    adapter = runtimes.load(runtimes.choose({"tflite"}), write(name))
    executed = adapter.executed_precision()
    expected = {"fp16": "fp32", "int8-io": "int8"}.get(name, name)
    assert expected in executed
    if name != "fp32":
        assert write(name).stat().st_size < write("fp32").stat().st_size


def test_integer_input_and_output_give_what_the_file_with_floats_gives(
    write: Callable[..., Path], make_sky: Callable[[int, int], np.ndarray]
) -> None:
    adapter = runtimes.load(runtimes.choose({"tflite"}), write("int8-io"))
    assert {t.dtype for t in (*adapter.inputs, *adapter.outputs)} == {"int8"}
    step = adapter.outputs[0].scale
    assert step is not None
    pictures = make_sky(6, 4)
    apart = np.abs(answers(write("int8-io"), pictures) - answers(write("int8"), pictures))
    assert apart.max() <= 1.001 * step


def test_an_operation_is_kept_in_float_by_its_name_in_the_float_file(write: Callable[..., Path]) -> None:
    name = first_convolution(write("fp32"))
    assert (name, "float32") in {(n, kind) for _, n, kind in operations(write("int8", (name,)))}
    types = [kind for op, _, kind in operations(write("int8", (name,))) if op in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    assert types == ["float32", "int8", "int8"]


def test_the_output_is_kept_in_float_by_its_role(write: Callable[..., Path]) -> None:
    found = {kind: dtype for kind, _, dtype in operations(write("int8", ("probabilities",)))}
    assert (found["SOFTMAX"], found["FULLY_CONNECTED"]) == ("float32", "int8")


def test_integer_input_and_output_stay_with_operations_in_float(write: Callable[..., Path]) -> None:
    name = first_convolution(write("fp32"))
    path = write("int8-io", (name,))
    adapter = runtimes.load(runtimes.choose({"tflite"}), path)
    assert {t.dtype for t in (*adapter.inputs, *adapter.outputs)} == {"int8"}
    assert (name, "float32") in {(n, kind) for _, n, kind in operations(path)}


def test_a_name_that_no_operation_has_is_answered_with_close_ones(write: Callable[..., Path]) -> None:
    name = first_convolution(write("fp32"))
    with pytest.raises(InputError, match="has no operation") as caught:
        write("int8", (name[:-1],))
    assert caught.value.mend == "did you mean 'first_1'?"


def test_every_operation_in_float_is_refused(write: Callable[..., Path]) -> None:
    every = tuple(name for _, name, _ in operations(write("fp32")))
    with pytest.raises(InputError, match="no integers"):
        write("int8", every)


@pytest.mark.parametrize("precision", ["int16x8", "dynamic"])
def test_precisions_that_cannot_keep_operations_in_float_refuse_to(precision: str, write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=f"cannot keep operations of {precision} in float"):
        write(precision, ("probabilities",))


def test_a_float_file_with_operations_to_keep_in_float_is_a_contradiction(write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="nothing to keep"):
        write("fp16", ("probabilities",))


@pytest.mark.parametrize("name", ["fp32", "int8"])
def test_metadata_is_an_archive_at_the_end_of_the_file(
    name: str, network: Any, write: Callable[..., Path], make_sky: Callable[[int, int], np.ndarray], tmp_path: Path
) -> None:
    with zipfile.ZipFile(write(name)) as archive:
        assert archive.read("edgegal.json").decode() == METADATA
        assert archive.read("labels.txt").decode().splitlines() == list(network.description.labels)
        start = min(member.header_offset for member in archive.infolist())
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(write(name).read_bytes()[:start])
    pictures = make_sky(2, 4)
    np.testing.assert_array_equal(answers(write(name), pictures), answers(bare, pictures))


def odd_network(classifier: Any, call: Callable[[Any], Any]) -> Any:
    """A network with a layer of its user's own, called ``my_own``."""

    class Own(layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return call(x)

    size = classifier.description.preprocess.width
    image = keras.Input((size, size, 3), name="image")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(Own(name="my_own")(image)))
    return KerasNetwork(keras.Model(image, {"probabilities": layers.Dense(5)(x)}), classifier.description)


@pytest.mark.parametrize("kind", ["FFT2D", "Erfinv"])
def test_an_operation_that_tflite_lacks_is_named_with_its_layer(kind: str, classifier: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    calls = {
        "FFT2D": lambda x: tf.math.real(tf.signal.fft2d(tf.cast(x, tf.complex64))),
        "Erfinv": lambda x: tf.math.erfinv(x / 300),
    }
    order = Order(odd_network(classifier, calls[kind]), "fp32", None, tmp_path / "odd", METADATA)
    with pytest.raises(InputError, match=rf"tflite has no operation for {kind} \(layer my_own\)") as caught:
        convert(order)
    assert "--format" in caught.value.mend
    assert list(tmp_path.iterdir()) == []


def test_an_output_whose_shape_hangs_on_the_picture_is_refused(classifier: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    class Select(layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return tf.boolean_mask(x, tf.reduce_max(x, axis=-1) > 100)

        def compute_output_shape(self, shape: Any) -> Any:
            return (None, shape[-1])

    size = classifier.description.preprocess.width
    image = keras.Input((size, size, 3), name="image")
    network = KerasNetwork(keras.Model(image, {"probabilities": Select()(image)}), classifier.description)
    with pytest.raises(InputError, match="'probabilities' has no fixed shape"):
        convert(Order(network, "fp32", None, tmp_path / "odd", METADATA))
