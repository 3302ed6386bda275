"""OpenVINO IR files, converted from the ONNX graph and quantised by NNCF."""

import tempfile
from pathlib import Path
from typing import Any

import nncf
import onnx
import openvino
from nncf.quantization.range_estimator import RangeEstimatorParametersSet

from edgegal.export.calibration import Calibration
from edgegal.export.network import FloatNetwork
from edgegal.export.onnx import OPSET, float_graph
from edgegal.export.registry import Converted, Order

__all__ = ["METADATA_PATH", "convert"]

METADATA_PATH = ("model_info", "edgegal")
"""Place in ``rt_info`` that holds the JSON."""


def _float_model(network: FloatNetwork) -> Any:
    with tempfile.TemporaryDirectory(prefix="edgegal-openvino-") as folder:
        source = Path(folder) / "float.onnx"
        onnx.save(float_graph(network), source)
        return openvino.convert_model(source)


def _quantised(model: Any, calibration: Calibration) -> Any:
    return nncf.quantize(
        model,
        nncf.Dataset(calibration.batches()),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(calibration),
        # The fast way corrects each layer as if those before it were still float; separable layers need better.
        fast_bias_correction=False,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            # Half the weight range everywhere: 16-bit sums of the full range saturate on x86 without VNNI.
            overflow_fix=nncf.OverflowFix.ENABLE,
            # The default averages the extremes of the pictures, which clips the few bright galaxies of a dark sky.
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        ),
    )


def convert(order: Order) -> Converted:
    """Write ``TARGET.xml`` and ``TARGET.bin``."""
    version = openvino.__version__.split("-")[0]
    recipe = f"tf2onnx opset {OPSET}, openvino.convert_model {version}"
    model = _float_model(order.network)
    if order.precision == "int8":
        model = _quantised(model, order.ranges)
        recipe += (
            f"; nncf.quantize {nncf.__version__}: preset MIXED, overflow_fix ENABLE, full bias correction, "
            "ranges by minimum and maximum"
        )
    if order.precision == "fp16":
        recipe += "; weights compressed to fp16"
    model.set_rt_info(order.metadata, list(METADATA_PATH))
    path = order.target.with_suffix(".xml")
    openvino.save_model(model, path, compress_to_fp16=order.precision == "fp16")
    return Converted((path, path.with_suffix(".bin")), recipe)
