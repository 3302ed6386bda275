"""OpenVINO IR files, converted from the ONNX graph and quantised by NNCF."""

import errno
import os
import re
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import nncf
import onnx
import openvino
from nncf.quantization.range_estimator import RangeEstimatorParametersSet
from openvino.frontend import OpConversionFailure

from edgegal.errors import InputError
from edgegal.export.network import FloatNetwork
from edgegal.export.onnx import float_graph, source
from edgegal.export.refusals import kept_operations, unsupported
from edgegal.export.registry import Converted, Order

__all__ = ["METADATA_PATH", "convert"]

METADATA_PATH = ("model_info", "edgegal")
"""Place in ``rt_info`` that holds the JSON."""

_VERSION = openvino.__version__.split("-")[0]
_NO_OPERATIONS = ("Parameter", "Constant", "Result")


def _float_model(network: FloatNetwork) -> Any:
    graph = float_graph(network)
    with tempfile.TemporaryDirectory(prefix="edgegal-openvino-") as folder:
        path = Path(folder) / "float.onnx"
        onnx.save(graph, path)
        try:
            return openvino.convert_model(path)
        except OpConversionFailure as error:
            raise _unconverted(graph, str(error)) from error


def _unconverted(graph: Any, message: str) -> InputError:
    """What OpenVINO says lacks a rule, such as ``Det-17`` for the operation and its opset, found in the graph."""
    kinds = set(re.findall(r"(\w+)-\d+", message))
    found = [(node.op_type, node.name) for node in graph.graph.node if node.op_type in kinds]
    return unsupported("openvino", found or [(kind, "") for kind in sorted(kinds)])


def _quantised(model: Any, order: Order, ignored: Any) -> Any:
    return nncf.quantize(
        model,
        nncf.Dataset(order.ranges.batches()),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(order.ranges),
        ignored_scope=ignored,
        # The fast way corrects each layer as if those before it were still float; separable layers need better.
        fast_bias_correction=False,
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            # Half the weight range everywhere: 16-bit sums of the full range saturate on x86 without VNNI.
            overflow_fix=nncf.OverflowFix.ENABLE,
            # The default averages the extremes of the pictures, which clips the few bright galaxies of a dark sky.
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        ),
    )


def _operations(model: Any) -> Collection[str]:
    return [o.get_friendly_name() for o in model.get_ops() if o.get_type_name() not in _NO_OPERATIONS]


def _write(model: Any, path: Path, half: bool) -> None:
    try:
        openvino.save_model(model, path, compress_to_fp16=half)
    except RuntimeError as error:
        # A stream of C++ does not say why: a file that opens and cannot be filled has no room.
        if "iostream" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def convert(order: Order) -> Converted:
    """Write ``TARGET.xml`` and ``TARGET.bin``.

    A dynamic file stores integer weights, and the runtime decides for each processor and layer what it computes in.

    Raises
    ------
    InputError
        The network has an operation that ONNX or OpenVINO has not, or `order` keeps one in float that the network has
        not.
    """
    recipe = f"{source(order.network)}, openvino.convert_model {_VERSION}"
    model = _float_model(order.network)
    ignored = nncf.IgnoredScope(names=kept_operations(order, "openvino", _operations(model)))
    if order.precision == "int8":
        model = _quantised(model, order, ignored)
        recipe += (
            f"; nncf.quantize {nncf.__version__}: preset MIXED, overflow_fix ENABLE, full bias correction, "
            "ranges by minimum and maximum"
        )
    if order.precision == "dynamic":
        model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=ignored)
        recipe += f"; nncf.compress_weights {nncf.__version__}: weights int8 per channel, symmetric"
    if order.precision == "fp16":
        recipe += "; weights compressed to fp16"
    model.set_rt_info(order.metadata, list(METADATA_PATH))
    path = order.target.with_suffix(".xml")
    _write(model, path, half=order.precision == "fp16")
    return Converted((path, path.with_suffix(".bin")), recipe)
