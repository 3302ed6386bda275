"""ONNX files, by tf2onnx and ONNX Runtime's quantisation.

Integers are unsigned for activations and weights alike. Signed weights saturate in 16-bit sums on x86 processors
without VNNI, signed activations leave nearly half of the detector's convolutions in float, and the kernel of dynamic
convolutions knows nothing but unsigned ones.
"""

import contextlib
import functools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from edgegal.export.calibration import Calibration
from edgegal.export.network import FloatNetwork, OnnxNetwork, keras_form
from edgegal.export.refusals import kept_operations, unfixed_output, unsupported
from edgegal.export.registry import Converted, Order

__all__ = [
    "METADATA_KEY",
    "PICTURE_CHANNELS",
    "convert",
    "float_graph",
    "half_graph",
    "integer_graph",
    "seen_channels",
    "source",
    "write",
]

OPSET = 17
METADATA_KEY = "edgegal"
"""Key of ``metadata_props`` that holds the JSON."""
PICTURE_CHANNELS = 3

_ORT = f"onnxruntime {onnxruntime.__version__}"


# OpenVINO's and TensorRT's roads lead through this graph too: make it once a network.
@functools.lru_cache(maxsize=2)
def float_graph(network: FloatNetwork) -> Any:
    """The network as an ONNX ``ModelProto`` with a static batch of one, inputs and outputs named by role.

    Batch norms and paddings are folded into their convolutions. Left out, those of depthwise convolutions stay as Mul
    and Add between the pairs of an integer graph.

    Raises
    ------
    InputError
        A layer is made of an operation that ONNX does not have, or an output has no fixed shape.
    """
    graph = _translated(network)
    _check_operations(graph)
    for output in graph.graph.output:
        if not all(axis.HasField("dim_value") for axis in output.type.tensor_type.shape.dim):
            raise unfixed_output("onnx", output.name)
    with _folder() as folder:
        unprepared, prepared = folder / "float.onnx", folder / "prepared.onnx"
        onnx.save(graph, unprepared)
        # All shapes are static: symbols have nothing to tell, and their inference leaves files behind where it fails.
        quant_pre_process(str(unprepared), str(prepared), skip_symbolic_shape=True)
        return onnx.load(prepared)


def _translated(network: FloatNetwork) -> Any:
    if isinstance(network, OnnxNetwork):
        return network.graph
    static = keras_form(network, "onnx").static
    function = tf.function(lambda image: static(image, training=False))
    signature = [tf.TensorSpec(network.input_shape, tf.float32, name="image")]
    graph, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    _renumber(graph)
    return graph


def _renumber(graph: Any) -> None:
    """Count nodes anew: tf2onnx counts over all networks of a process, and ``--keep-float`` names them in another."""
    found = [(node, node.name.rpartition("__")) for node in graph.graph.node]
    numbered = [(node, stem, int(number)) for node, (stem, mark, number) in found if mark and number.isdecimal()]
    places = {number: place for place, number in enumerate(sorted({number for *_, number in numbered}), 1)}
    for node, stem, number in numbered:
        node.name = f"{stem}__{places[number]}"


def _check_operations(graph: Any) -> None:
    """Refuse operations unknown to ONNX: tf2onnx passes on under their TensorFlow name what it cannot translate."""
    opset = _opset(graph)
    strange = []
    for node in graph.graph.node:
        if node.domain == "" and not onnx.defs.has(node.op_type, max_inclusive_version=opset):
            strange.append((node.op_type, node.name))
    if strange:
        raise unsupported("onnx", strange)


def _opset(graph: Any) -> int:
    return next(int(o.version) for o in graph.opset_import if o.domain in ("", "ai.onnx"))


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgegal-onnx-") as folder:
        yield Path(folder)


def source(network: FloatNetwork) -> str:
    """How `float_graph` came to be, for recipes."""
    if isinstance(network, OnnxNetwork):
        origin = f"ONNX model of opset {_opset(network.graph)}"
    else:
        origin = f"tf2onnx {tf2onnx.__version__} opset {OPSET}"
    return f"{origin}, quant_pre_process of {_ORT}"


def _copy_of_float(network: FloatNetwork) -> Any:
    graph = onnx.ModelProto()
    graph.CopyFrom(float_graph(network))
    return graph


def half_graph(network: FloatNetwork) -> Any:
    """The network in half floats, but for its input and outputs."""
    half = ONNXModel(convert_float_to_float16(_copy_of_float(network), keep_io_types=True))
    # The cast of the input comes last, which runtimes put up with and the standard does not.
    half.topological_sort()
    return half.model


class _Pictures(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, calibration: Calibration, name: str) -> None:
        self._rest = iter([{name: batch} for batch in calibration.batches()])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._rest, None)


def integer_graph(order: Order, format: str, in_float: Sequence[str] = (), **options: Any) -> Any:
    """The network between pairs of QuantizeLinear and DequantizeLinear, weights per channel.

    Parameters
    ----------
    order
        With calibration, and operations to leave in float.
    format
        What the graph is for.
    in_float
        Further operations that the format does better in float.
    **options
        Types of integers and whatever else `quantize_static` takes.
    """
    graph = float_graph(order.network)
    kept = kept_operations(order, format, _names(graph))
    with _folder() as folder:
        prepared, result = folder / "float.onnx", folder / "int8.onnx"
        onnx.save(graph, prepared)
        quantize_static(
            str(prepared),
            str(result),
            _Pictures(order.ranges, graph.graph.input[0].name),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            nodes_to_exclude=[*kept, *in_float],
            **options,
        )
        return onnx.load(result)


def _names(graph: Any) -> list[str]:
    return [node.name for node in graph.graph.node]


def _dynamic_graph(order: Order) -> Any:
    graph = float_graph(order.network)
    kept = kept_operations(order, "onnx", _names(graph))
    # They have next to no weights, and lose most by one scale for all of them.
    narrow = [name for name, channels in seen_channels(graph).items() if channels <= PICTURE_CHANNELS]
    with _folder() as folder:
        prepared, result = folder / "float.onnx", folder / "dynamic.onnx"
        onnx.save(graph, prepared)
        quantize_dynamic(str(prepared), str(result), weight_type=QuantType.QUInt8, nodes_to_exclude=[*kept, *narrow])
        return onnx.load(result)


def seen_channels(graph: Any) -> dict[str, int]:
    """By node, how many channels the kernels of a convolution see: 1 of depthwise ones, 3 of that of the picture."""
    shapes = {weights.name: weights.dims for weights in graph.graph.initializer}
    # Weights that are no constant are none of a layer.
    convolutions = [n for n in graph.graph.node if n.op_type == "Conv" and n.input[1] in shapes]
    return {node.name: int(shapes[node.input[1]][1]) for node in convolutions}


def write(graph: Any, path: Path, metadata: str) -> None:
    """Write a graph with its metadata."""
    onnx.helper.set_model_props(graph, {METADATA_KEY: metadata})
    onnx.save(graph, path)


def convert(order: Order) -> Converted:
    """Write ``TARGET.onnx``.

    Half floats are how an fp16 file stores its weights: ONNX Runtime computes in them where it has kernels for the
    processor, and elsewhere makes floats of them when it loads the file.

    Raises
    ------
    InputError
        The network has an operation that ONNX has not, or `order` keeps one in float that the network has not.
    """
    recipe = source(order.network)
    if order.precision == "fp16":
        graph = half_graph(order.network)
        recipe += f"; convert_float_to_float16 of {_ORT}, float input and output"
    elif order.precision == "dynamic":
        graph = _dynamic_graph(order)
        recipe += (
            f"; quantize_dynamic of {_ORT}: weights uint8 per tensor, activations uint8 in the range of each picture, "
            "depthwise convolutions and that of the picture in float"
        )
    elif order.precision == "int8":
        unsigned = QuantType.QUInt8
        graph = integer_graph(order, "onnx", activation_type=unsigned, weight_type=unsigned)
        recipe += (
            f"; quantize_static of {_ORT}: QDQ, weights uint8 per channel, activations uint8 per tensor, "
            "ranges by minimum and maximum"
        )
    else:
        graph = _copy_of_float(order.network)
    path = order.target.with_suffix(".onnx")
    write(graph, path, order.metadata)
    return Converted((path,), recipe)
