"""Layers in all three formats, on a network of which it is known which layer is at fault."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.benchmarks.layers import LayerError, layer_errors, layers_to_keep
from edgegal.bundle.manifest import ClassifierDescription
from edgegal.errors import GateFailedError, InputError, MissingPartError
from edgegal.metrics.signal import compare
from edgegal.preprocess import Preprocess, network_input
from edgegal.runtimes import RUNTIMES, load

pytestmark = pytest.mark.host

SIZE = 24
FORMATS = {"tflite": "litert", "onnx": "onnxruntime", "openvino": "openvino"}
GAIN = 400.0
"""How much larger one channel that convolution "three" reads is than the others."""


def _pictures(count: int, seed: int) -> np.ndarray:
    """Blobs of random place, colour and width on a dim ground."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    pictures = []
    for _ in range(count):
        x, y = rng.uniform(4, SIZE - 4, 2)
        light = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / rng.uniform(4, 60))
        picture = light[..., None] * rng.uniform(60, 230, 3) + rng.uniform(0, 20, (SIZE, SIZE, 3))
        pictures.append(picture.astype(np.uint8))
    return np.stack(pictures)


def _network() -> Any:
    """Four convolutions and a dense layer, of which the third reads a channel `GAIN` times as large as the rest."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Rescaling(1 / 255)(image)
    for name, filters, stride in (("one", 8, 2), ("two", 8, 1), ("three", 12, 2), ("four", 12, 1)):
        x = layers.Conv2D(filters, 3, strides=stride, padding="same", activation="relu", name=name)(x)
    bias = keras.initializers.RandomNormal(stddev=0.2, seed=4)
    x = layers.Dense(4, bias_initializer=bias, name="logits")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, {"probabilities": layers.Softmax(name="probabilities")(x)})
    # The function stays the same: what one layer multiplies, the next divides.
    (kernel, bias), (next_kernel, next_bias) = (model.get_layer(name).get_weights() for name in ("two", "three"))
    model.get_layer("two").set_weights([kernel * np.r_[GAIN, np.ones(7)], bias])
    next_kernel[:, :, 0] /= GAIN
    model.get_layer("three").set_weights([next_kernel, next_bias])
    return model


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """What to export: the network in fp32 and in int8."""
    from datetime import datetime, timezone

    from edgegal.bundle.manifest import Provenance
    from edgegal.export import Calibration, KerasNetwork
    from edgegal.export.registry import Order

    description = ClassifierDescription(
        labels=("a", "b", "c", "d"),
        scheme="abcd",
        preprocess=Preprocess(SIZE, SIZE),
        provenance=Provenance(
            architecture="uneven",
            parameters=1,
            datasets=("blobs",),
            dataset_sha256="0" * 64,
            seed=3,
            versions={"keras": "3"},
            trained=datetime(2026, 1, 1, tzinfo=timezone.utc),
        ),
    )
    folder = tmp_path_factory.mktemp("layers")
    real = Order(KerasNetwork(_network(), description), "fp32", None, folder / "fp32", json.dumps({}))
    ranges = Calibration(_pictures(32, 1), "blobs", "train", 1)
    return real, replace(real, precision="int8", calibration=ranges, target=folder / "int8")


def _convert(format: str, order: Any) -> Path:
    from edgegal.export.quiet import tools_quiet
    from edgegal.export.registry import exporter

    with tools_quiet():
        return exporter(format).load().convert(order).files[0]


@pytest.fixture(scope="module")
def files(orders: tuple[Any, Any]) -> dict[str, tuple[Path, Path]]:
    """Float and int8 file by format."""
    return {format: (_convert(format, orders[0]), _convert(format, orders[1])) for format in FORMATS}


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """None of them seen in calibration."""
    return _pictures(6, 2)


def _by_name(layers: Sequence[LayerError], part: str) -> LayerError:
    (found,) = (layer for layer in layers if f"/{part}_1/" in layer.name)
    return found


@pytest.mark.parametrize("format", FORMATS)
def test_the_layer_that_reads_one_huge_channel_is_named_first(format: Any, files: Any, pictures: np.ndarray) -> None:
    layers = layer_errors(format, *files[format], pictures)
    three = _by_name(layers, "three")
    assert layers_to_keep(layers, 1) == (three.name,)
    assert three.own_sqnr_db is not None
    assert three.own_sqnr_db < 5


@pytest.mark.parametrize("format", FORMATS)
def test_layers_behind_the_fault_show_its_error_but_none_of_their_own(
    format: Any, files: Any, pictures: np.ndarray
) -> None:
    four = _by_name(layer_errors(format, *files[format], pictures), "four")
    assert four.sqnr_db is not None
    assert four.own_sqnr_db is not None
    assert four.sqnr_db < 5
    assert four.own_sqnr_db > 30


@pytest.mark.parametrize("format", FORMATS)
def test_layers_come_in_the_order_they_run(format: Any, files: Any, pictures: np.ndarray) -> None:
    names = [layer.name for layer in layer_errors(format, *files[format], pictures[:1])]
    places = [next(i for i, n in enumerate(names) if f"/{part}_1/" in n) for part in ("one", "two", "three", "four")]
    assert places == sorted(places)
    assert len(set(names)) == len(names)


def _reverse_tflite(path: Path, out: Path, layer: str) -> None:
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    graph = model.subgraphs[0]
    (operator,) = (o for o in graph.operators if graph.tensors[o.outputs[0]].name.decode() == layer)
    buffer = model.buffers[graph.tensors[operator.inputs[1]].buffer]
    buffer.data = (-np.array(buffer.data, np.uint8).view(np.int8)).view(np.uint8)
    flatbuffer_utils.write_model(model, str(out))


def _reverse_onnx(path: Path, out: Path, layer: str) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    makers = {name: node for node in model.graph.node for name in node.output}
    (node,) = (n for n in model.graph.node if n.name == layer)
    scale_name = makers[node.input[1]].input[1]
    (scale,) = (i for i in model.graph.initializer if i.name == scale_name)
    scale.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(scale), scale_name))
    onnx.save(model, out)


def _reverse_openvino(path: Path, out: Path, layer: str) -> None:
    import openvino

    model = openvino.Core().read_model(path)
    (node,) = (n for n in model.get_ordered_ops() if n.get_friendly_name() == layer)
    weights = node.input_value(1).get_node()
    scale = weights.input_value(1)
    weights.input(1).replace_source_output(openvino.opset13.constant(-scale.get_node().data).output(0))
    openvino.save_model(model, out, compress_to_fp16=False)


_REVERSE = {"tflite": _reverse_tflite, "onnx": _reverse_onnx, "openvino": _reverse_openvino}


@pytest.mark.parametrize("format", FORMATS)
def test_weights_of_the_wrong_sign_are_found_in_the_layer_that_has_them(
    format: Any, files: Any, pictures: np.ndarray, tmp_path: Path
) -> None:
    real, integer = files[format]
    before = layer_errors(format, real, integer, pictures)
    name = _by_name(before, "two").name
    broken = tmp_path / f"broken{integer.suffix}"
    _REVERSE[format](integer, broken, name)
    after = layer_errors(format, real, broken, pictures)
    assert layers_to_keep(after, 1) == (name,)
    for old, new in zip(before, after, strict=True):
        if old.name != name:
            assert new.own_sqnr_db == old.own_sqnr_db


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_has_no_errors_against_itself(format: Any, files: Any, pictures: np.ndarray) -> None:
    real, _ = files[format]
    for layer in layer_errors(format, real, real, pictures[:2]):
        # Rounding may differ where kernels are fused otherwise.
        assert layer.sqnr_db is None or layer.sqnr_db > 110
        assert layer.own_sqnr_db is None or layer.own_sqnr_db > 110


@pytest.mark.parametrize("format", FORMATS)
def test_the_last_layer_tells_what_parity_tells(format: Any, files: Any, pictures: np.ndarray) -> None:
    answers = []
    for path in files[format]:
        adapter = load(RUNTIMES[FORMATS[format]], path)
        answers.append(np.concatenate([adapter.infer(network_input(p))["probabilities"] for p in pictures]))
    last = layer_errors(format, *files[format], pictures)[-1]
    assert last.sqnr_db == pytest.approx(compare(*answers).sqnr_db, abs=0.5)


def test_accumulated_errors_are_those_of_onnxruntimes_own_tool(
    files: Any, pictures: np.ndarray, tmp_path: Path
) -> None:
    from onnxruntime.quantization import CalibrationDataReader, qdq_loss_debug
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter([{"image": network_input(p)} for p in pictures])

        def get_next(self) -> Any:
            return next(self.rest, None)

    real, integer = files["onnx"]
    prepared = tmp_path / "prepared.onnx"
    quant_pre_process(str(real), str(prepared), skip_symbolic_shape=True)
    collected = []
    for path in (prepared, integer):
        whole = tmp_path / f"whole-{path.name}"
        qdq_loss_debug.modify_model_output_intermediate_tensors(str(path), str(whole))
        collected.append(qdq_loss_debug.collect_activations(str(whole), Reader()))
    matched = qdq_loss_debug.create_activation_matching(*reversed(collected))
    theirs = qdq_loss_debug.compute_activation_error(matched)
    ours = layer_errors("onnx", real, integer, pictures)
    (tensor,) = (name for name in theirs if "/three_1/Relu" in name)
    # They mean the decibels of single pictures; the layers' sums weigh pictures by their light.
    assert _by_name(ours, "three").sqnr_db == pytest.approx(theirs[tensor]["xmodel_err"], abs=1.0)
    (tensor,) = (name for name in theirs if "/one_1/Relu" in name)
    assert _by_name(ours, "one").sqnr_db == pytest.approx(theirs[tensor]["xmodel_err"], abs=1.0)


def test_a_dense_layers_own_error_is_that_of_integer_arithmetic_by_hand(files: Any, pictures: np.ndarray) -> None:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    def opened(path: Path) -> tuple[Any, list[Any]]:
        interpreter = Interpreter(
            str(path),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
        (node,) = (n for n in interpreter._get_ops_details() if n["op_name"] == "FULLY_CONNECTED")
        return interpreter, [*node["inputs"], *node["outputs"]]

    real, (x, _, _, y) = opened(files["tflite"][0])
    integer, tensors = opened(files["tflite"][1])
    details = {d["index"]: d["quantization_parameters"] for d in integer.get_tensor_details()}
    (scale_x, scale_w, _, scale_y) = (details[t]["scales"].astype(np.float64) for t in tensors)
    (zero_x, _, _, zero_y) = (details[t]["zero_points"].astype(int) for t in tensors)
    weights, bias = (integer.get_tensor(t).astype(int) for t in tensors[1:3])
    signal = noise = 0.0
    for picture in pictures:
        real.set_tensor(real.get_input_details()[0]["index"], network_input(picture))
        real.invoke()
        stored = np.clip(np.rint(real.get_tensor(x) / scale_x) + zero_x, -128, 127).astype(int)
        sums = (stored - zero_x) @ weights.T + bias
        answer = (np.clip(np.rint(sums * scale_x * scale_w / scale_y) + zero_y, -128, 127) - zero_y) * scale_y
        expected = real.get_tensor(y).astype(np.float64)
        signal += (expected**2).sum()
        noise += ((answer - expected) ** 2).sum()
    logits = _by_name(layer_errors("tflite", *files["tflite"], pictures), "logits")
    # A kernel rounds its multiplier; a value half-way may fall to the other side.
    assert logits.own_sqnr_db == pytest.approx(10 * np.log10(signal / noise), abs=0.5)


@pytest.mark.parametrize("format", FORMATS)
def test_keeping_the_named_layers_in_float_wins_back_what_they_lost(
    format: Any, orders: Any, files: Any, pictures: np.ndarray
) -> None:
    real, integer = files[format]
    before = layer_errors(format, real, integer, pictures)
    kept = layers_to_keep(before, 2)
    order = replace(orders[1], keep_float=kept, target=orders[1].target.with_name(f"kept-{format}"))
    after = layer_errors(format, real, _convert(format, order), pictures)
    assert after[-2].sqnr_db > before[-2].sqnr_db + 10  # type: ignore[operator]


def test_files_of_two_networks_are_refused(files: Any, pictures: np.ndarray, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, SIZE, SIZE, 3))
    out = helper.make_tensor_value_info("other", TensorProto.FLOAT, (1, 3))
    node = helper.make_node("ReduceMean", ["image"], ["other"], axes=[1, 2], keepdims=0)
    graph = helper.make_graph([node], "other", [image], [out])
    other = tmp_path / "other.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), other)
    with pytest.raises(InputError, match=r"other\.onnx is not a quantised form of"):
        layer_errors("onnx", files["onnx"][0], other, pictures)


@pytest.mark.parametrize("format", FORMATS)
def test_a_damaged_file_is_refused_by_name(format: Any, files: Any, pictures: np.ndarray, tmp_path: Path) -> None:
    real, integer = files[format]
    damaged = tmp_path / f"damaged{integer.suffix}"
    damaged.write_bytes(integer.read_bytes()[: integer.stat().st_size // 3])
    with pytest.raises(InputError, match="damaged"):
        layer_errors(format, real, damaged, pictures)


def test_values_that_are_not_finite_name_the_layer_they_begin_in(
    files: Any, pictures: np.ndarray, tmp_path: Path
) -> None:
    import onnx
    from onnx import numpy_helper

    real, _ = files["onnx"]
    model = onnx.load(real)
    (node,) = (n for n in model.graph.node if "/three_1/" in n.name and n.op_type == "Conv")
    (weights,) = (i for i in model.graph.initializer if i.name == node.input[1])
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32("nan"), weights.name))
    bad = tmp_path / "nan.onnx"
    onnx.save(model, bad)
    with pytest.raises(GateFailedError, match=r"nan\.onnx: values that are not finite, first in layer .*/three_1/"):
        layer_errors("onnx", real, bad, pictures)


def test_pictures_of_another_size_are_refused(files: Any) -> None:
    with pytest.raises(InputError, match=r"takes pictures of shape \(24, 24, 3\), not \(8, 8, 3\)"):
        layer_errors("onnx", *files["onnx"], np.zeros((2, 8, 8, 3), np.uint8))


def test_no_pictures_are_refused(files: Any, pictures: np.ndarray) -> None:
    with pytest.raises(InputError, match="no pictures"):
        layer_errors("onnx", *files["onnx"], pictures[:0])


def test_a_format_without_layers_to_look_at_is_refused(files: Any, pictures: np.ndarray) -> None:
    with pytest.raises(InputError, match="keras files cannot be opened layer by layer"):
        layer_errors("keras", *files["onnx"], pictures)  # type: ignore[arg-type]


def test_a_missing_file_is_named(files: Any, pictures: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.onnx"):
        layer_errors("onnx", files["onnx"][0], tmp_path / "absent.onnx", pictures)


def test_a_package_that_is_absent_comes_with_the_way_to_get_it(
    files: Any, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "edgegal.benchmarks.layers.onnx", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingPartError, match="onnx") as caught:
        layer_errors("onnx", *files["onnx"], pictures)
    assert "pip install" in caught.value.mend


_DECIBELS = st.none() | st.floats(-20, 90)
_LAYERS = st.lists(
    st.builds(LayerError, st.uuids().map(str), st.sampled_from(["Conv", "Add", "Reshape"]), _DECIBELS, _DECIBELS)
)


@given(layers=_LAYERS, count=st.integers(0, 8))
def test_layers_to_keep_are_the_worst_of_those_that_lose(layers: list[LayerError], count: int) -> None:
    kept = layers_to_keep(layers, count)
    own = {layer.name: layer.own_sqnr_db for layer in layers if layer.kind != "Reshape"}
    losing = {name: value for name, value in own.items() if value is not None}
    assert len(kept) == min(count, len(losing))
    ratios = [losing[name] for name in kept]
    assert ratios == sorted(ratios)
    assert all(value >= max(ratios) for name, value in losing.items() if ratios and name not in kept)
