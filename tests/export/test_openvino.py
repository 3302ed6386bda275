"""OpenVINO files: each precision beside Keras, what is quantised and what not, and what they say of themselves."""

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
openvino = pytest.importorskip("openvino")

from keras import layers  # noqa: E402

from edgegal.export import Calibration, KerasNetwork  # noqa: E402
from edgegal.export.openvino import convert  # noqa: E402
from edgegal.export.registry import Order  # noqa: E402

METADATA = '{"stage": "classifier", "note": "spiralé"}'
# A processor with bf16 computes files of less than full floats in it.
LEAST_SQNR = {"fp32": 100, "fp16": 25, "dynamic": 20, "int8": 15}


@pytest.fixture(scope="module")
def write(classifier: Any, make_sky: Callable[[int, int], np.ndarray], tmp_path_factory: Any) -> Callable[..., Path]:
    """Writes the classifier in a precision; each choice once."""
    calibration = Calibration(make_sky(16, 3), "sky", "train", 3)
    done: dict[Any, Path] = {}

    def written(precision: str, keep_float: tuple[str, ...] = ()) -> Path:
        if (precision, keep_float) not in done:
            target = tmp_path_factory.mktemp("openvino") / precision
            order = Order(classifier, precision, calibration, target, METADATA, keep_float)
            done[precision, keep_float] = convert(order).files[0]
        return done[precision, keep_float]

    return written


def read(path: Path) -> dict[str, Any]:
    """The operations of a file by name."""
    return {o.get_friendly_name(): o for o in openvino.Core().read_model(path).get_ordered_ops()}


def convolutions(path: Path) -> list[str]:
    return [name for name, o in read(path).items() if o.get_type_name() in ("Convolution", "GroupConvolution")]


def weights_of(operation: Any) -> Any:
    """The constant behind the weights of a convolution, and the kinds of operation between."""
    node, between = operation.input_value(1).get_node(), []
    while node.get_type_name() != "Constant":
        between.append(node.get_type_name())
        node = node.input_value(0).get_node()
    return node.get_element_type().get_type_name(), between


@pytest.mark.parametrize("precision", LEAST_SQNR)
def test_each_precision_answers_as_keras(
    precision: str, classifier: Any, write: Callable[..., Path], make_sky: Callable[[int, int], np.ndarray]
) -> None:
    pictures = make_sky(6, 4)
    adapter = runtimes.load(runtimes.choose({"openvino"}), write(precision))
    found = np.concatenate([adapter.infer(network_input(p))["probabilities"] for p in pictures])
    ratio = compare(classifier(pictures)["probabilities"], found).sqnr_db
    assert ratio is not None
    assert ratio > LEAST_SQNR[precision]


@pytest.mark.parametrize("precision", LEAST_SQNR)
def test_each_file_says_what_it_is(precision: str, write: Callable[..., Path]) -> None:
    model = openvino.Core().read_model(write(precision))
    assert model.get_rt_info(["model_info", "edgegal"]).astype(str) == METADATA


@pytest.mark.parametrize(("precision", "stored"), [("fp32", "f32"), ("fp16", "f16"), ("dynamic", "i8"), ("int8", "i8")])
def test_weights_are_stored_in_the_precision_asked_for(precision: str, stored: str, write: Callable[..., Path]) -> None:
    path = write(precision)
    assert {weights_of(read(path)[name])[0] for name in convolutions(path)} == {stored}


def test_a_dynamic_file_leaves_activations_in_float(write: Callable[..., Path]) -> None:
    kinds = {o.get_type_name() for o in read(write("dynamic")).values()}
    assert "FakeQuantize" not in kinds
    assert "FakeQuantize" in {o.get_type_name() for o in read(write("int8")).values()}


@pytest.mark.parametrize("precision", ["int8", "dynamic"])
def test_an_operation_is_kept_in_float_by_its_name_in_the_float_file(
    precision: str, write: Callable[..., Path]
) -> None:
    name = convolutions(write("fp32"))[2]
    operations = read(write(precision, (name,)))
    assert weights_of(operations[name])[0] == "f32"
    others = [n for n in convolutions(write("fp32")) if n != name]
    assert {weights_of(operations[n])[0] for n in others} == {"i8"}


def test_a_name_that_no_operation_has_is_answered_with_close_ones(write: Callable[..., Path]) -> None:
    name = convolutions(write("fp32"))[0]
    with pytest.raises(InputError, match="no operation") as caught:
        write("int8", (name[1:] + "x",))
    assert name in caught.value.mend


def test_an_operation_that_openvino_alone_lacks_is_named_with_its_layer(classifier: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    class Own(layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x + tf.linalg.det(x[:, :3, :3, 0])[:, None, None, None]

    size = classifier.description.preprocess.width
    image = keras.Input((size, size, 3), name="image")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(5, 3)(Own(name="my_own")(image)))
    network = KerasNetwork(keras.Model(image, {"probabilities": layers.Softmax()(x)}), classifier.description)
    with pytest.raises(InputError, match=r"openvino has no operation for Det \(layer my_own\)") as caught:
        convert(Order(network, "fp32", None, tmp_path / "odd", METADATA))
    assert "--format" in caught.value.mend


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_a_full_disk_is_an_error_of_the_system(suffix: str, classifier: Any, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / f"full{suffix}").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        convert(Order(classifier, "fp32", None, tmp_path / "full", METADATA))
