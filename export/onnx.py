"""ONNX files, by tf2onnx and ONNX Runtime's static quantisation.

Integers are unsigned for activations and weights alike. Signed weights saturate in 16-bit sums on x86 processors
without VNNI, and signed activations leave nearly half of the detector's convolutions in float.
"""

import functools
import tempfile
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgegal.export.calibration import Calibration
from edgegal.export.network import FloatNetwork, keras_form
from edgegal.export.registry import Converted, Order

__all__ = ["METADATA_KEY", "OPSET", "convert", "float_graph"]

OPSET = 17
METADATA_KEY = "edgegal"
"""Key of ``metadata_props`` that holds the JSON."""


# OpenVINO's road leads through this graph too: make it once a network.
@functools.lru_cache(maxsize=2)
def float_graph(network: FloatNetwork) -> Any:
    """The network as an ONNX ``ModelProto`` with a static batch of one, inputs and outputs named by role."""
    static = keras_form(network, "onnx").static
    function = tf.function(lambda image: static(image, training=False))
    signature = [tf.TensorSpec(network.input_shape, tf.float32, name="image")]
    graph, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    return graph


class _Pictures(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, calibration: Calibration, name: str) -> None:
        self._rest = iter([{name: batch} for batch in calibration.batches()])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._rest, None)


def _quantised(graph: Any, calibration: Calibration) -> Any:
    with tempfile.TemporaryDirectory(prefix="edgegal-onnx-") as folder:
        source, prepared, result = (Path(folder) / name for name in ("float.onnx", "prepared.onnx", "int8.onnx"))
        onnx.save(graph, source)
        # Folds depthwise batch norms into their convolutions; left out, they stay as Mul and Add between QDQ pairs.
        quant_pre_process(str(source), str(prepared))
        quantize_static(
            str(prepared),
            str(result),
            _Pictures(calibration, graph.graph.input[0].name),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QUInt8,
        )
        return onnx.load(result)


def convert(order: Order) -> Converted:
    """Write ``TARGET.onnx``."""
    recipe = f"tf2onnx {tf2onnx.__version__} opset {OPSET}"
    graph = onnx.ModelProto()
    graph.CopyFrom(float_graph(order.network))
    if order.precision == "int8":
        graph = _quantised(graph, order.ranges)
        recipe += (
            f"; quant_pre_process and quantize_static, onnxruntime {onnxruntime.__version__}: "
            "QDQ, weights uint8 per channel, activations uint8 per tensor, ranges by minimum and maximum"
        )
    onnx.helper.set_model_props(graph, {METADATA_KEY: order.metadata})
    path = order.target.with_suffix(".onnx")
    onnx.save(graph, path)
    return Converted((path,), recipe)
