"""ONNX files: each precision beside Keras, what is quantised and what not, and what they say of themselves."""

from collections import Counter
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
onnx = pytest.importorskip("onnx")

from keras import layers  # noqa: E402

from edgegal.export import Calibration, KerasNetwork  # noqa: E402
from edgegal.export.onnx import convert, float_graph  # noqa: E402
from edgegal.export.registry import Order  # noqa: E402

METADATA = '{"stage": "classifier", "note": "spiralé"}'
LEAST_SQNR = {"fp32": 100, "fp16": 45, "dynamic": 18, "int8": 18}


@pytest.fixture(scope="module")
def write(classifier: Any, make_sky: Callable[[int, int], np.ndarray], tmp_path_factory: Any) -> Callable[..., Path]:
    """Writes the classifier in a precision; each choice once."""
    calibration = Calibration(make_sky(16, 3), "sky", "train", 3)
    done: dict[Any, Path] = {}

    def written(precision: str, keep_float: tuple[str, ...] = ()) -> Path:
        if (precision, keep_float) not in done:
            target = tmp_path_factory.mktemp("onnx") / precision
            order = Order(classifier, precision, calibration, target, METADATA, keep_float)
            done[precision, keep_float] = convert(order).files[0]
        return done[precision, keep_float]

    return written


def answers(path: Path, pictures: np.ndarray) -> np.ndarray:
    adapter = runtimes.load(runtimes.choose({"onnx"}), path)
    return np.concatenate([adapter.infer(network_input(picture))["probabilities"] for picture in pictures])


def kinds(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.mark.parametrize("precision", LEAST_SQNR)
def test_each_precision_answers_as_keras(
    precision: str, classifier: Any, write: Callable[..., Path], make_sky: Callable[[int, int], np.ndarray]
) -> None:
    pictures = make_sky(6, 4)
    ratio = compare(classifier(pictures)["probabilities"], answers(write(precision), pictures)).sqnr_db
    assert ratio is not None
    assert ratio > LEAST_SQNR[precision]


@pytest.mark.parametrize("precision", LEAST_SQNR)
def test_each_file_is_sound_and_says_what_it_is(precision: str, write: Callable[..., Path]) -> None:
    model = onnx.load(write(precision))
    onnx.checker.check_model(model, full_check=True)
    assert {p.key: p.value for p in model.metadata_props} == {"edgegal": METADATA}
    outer = [*model.graph.input, *model.graph.output]
    assert [v.name for v in outer] == ["image", "probabilities"]
    assert {v.type.tensor_type.elem_type for v in outer} == {onnx.TensorProto.FLOAT}


def test_batch_norms_are_folded_into_their_convolutions(write: Callable[..., Path]) -> None:
    # Two convolutions with a batch norm each in a row, and no Mul or Add but that of the input's scaling.
    assert kinds(write("fp32"))["BatchNormalization"] == 0
    assert kinds(write("fp32"))["Mul"] <= 1
    assert kinds(write("fp32"))["Conv"] == kinds(write("fp32"))["Clip"] > 0


def test_half_floats_are_what_an_fp16_file_stores(write: Callable[..., Path]) -> None:
    stored = {w.data_type for w in onnx.load(write("fp16")).graph.initializer if len(w.dims) == 4}
    assert stored == {onnx.TensorProto.FLOAT16}


def test_a_dynamic_file_leaves_depthwise_convolutions_and_that_of_the_picture_in_float(
    write: Callable[..., Path],
) -> None:
    convolutions = [n for n in onnx.load(write("fp32")).graph.node if n.op_type == "Conv"]
    depthwise = [n for n in convolutions if any(a.name == "group" and a.i > 1 for a in n.attribute)]
    found = kinds(write("dynamic"))
    assert found["Conv"] == len(depthwise) + 1
    assert found["ConvInteger"] == len(convolutions) - found["Conv"] > 0
    executed = runtimes.load(runtimes.choose({"onnx"}), write("dynamic")).executed_precision()
    assert executed == "int8+fp32"


def test_integers_are_unsigned_with_a_scale_for_each_channel(write: Callable[..., Path]) -> None:
    graph = onnx.load(write("int8")).graph
    constants = {w.name: w for w in graph.initializer}
    weights = [n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] in constants]
    four = [n for n in weights if len(constants[n.input[0]].dims) == 4]
    assert len(four) == kinds(write("fp32"))["Conv"]
    for node in four:
        assert constants[node.input[0]].data_type == onnx.TensorProto.UINT8
        assert list(constants[node.input[1]].dims) == [constants[node.input[0]].dims[0]]


@pytest.mark.parametrize("precision", ["int8", "dynamic"])
def test_an_operation_is_kept_in_float_by_its_node_in_the_float_file(
    precision: str, write: Callable[..., Path]
) -> None:
    shapes = {w.name: w.dims for w in onnx.load(write("fp32")).graph.initializer}
    wide = [n for n in onnx.load(write("fp32")).graph.node if n.op_type == "Conv" and shapes[n.input[1]][1] > 3]
    name = wide[0].name
    node = next(n for n in onnx.load(write(precision, (name,))).graph.node if n.name == name)
    assert node.op_type == "Conv"
    floats = {w.name for w in onnx.load(write(precision, (name,))).graph.initializer if w.data_type == 1}
    assert node.input[1] in floats


def test_a_name_that_no_operation_has_is_answered_with_those_it_is_part_of(write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="no operation 'logits'") as caught:
        write("int8", ("logits",))
    assert "logits_1/" in caught.value.mend


def odd_network(classifier: Any, call: Callable[[Any], Any]) -> Any:
    class Own(layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return call(x)

    size = classifier.description.preprocess.width
    image = keras.Input((size, size, 3), name="image")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(Own(name="my_own")(image)))
    return KerasNetwork(keras.Model(image, {"probabilities": layers.Dense(5)(x)}), classifier.description)


def test_an_operation_that_onnx_lacks_is_named_with_its_layer(classifier: Any) -> None:
    import tensorflow as tf

    odd = odd_network(classifier, lambda x: tf.math.erfinv(x / 300))
    with pytest.raises(InputError, match=r"onnx has no operation for Erfinv \(layer my_own\)") as caught:
        float_graph(odd)
    assert "--format" in caught.value.mend


def test_an_output_whose_shape_hangs_on_the_picture_is_refused(classifier: Any) -> None:
    import tensorflow as tf

    class Select(layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return tf.boolean_mask(x, tf.reduce_max(x, axis=-1) > 100)

        def compute_output_shape(self, shape: Any) -> Any:
            return (None, shape[-1])

    size = classifier.description.preprocess.width
    image = keras.Input((size, size, 3), name="image")
    with pytest.raises(InputError, match="'probabilities' has no fixed shape"):
        float_graph(KerasNetwork(keras.Model(image, {"probabilities": Select()(image)}), classifier.description))


def test_a_full_disk_is_an_error_of_the_system(classifier: Any, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "full.onnx").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        convert(Order(classifier, "fp32", None, tmp_path / "full", METADATA))


def test_nodes_are_called_alike_whatever_was_converted_before(classifier: Any) -> None:
    # Two networks of one model: the graph of each is made anew.
    first, second = (float_graph(KerasNetwork(classifier.model, classifier.description)).graph.node for _ in range(2))
    assert [node.name for node in first] == [node.name for node in second]
    assert any("__" in node.name for node in first)
