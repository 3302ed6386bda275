"""OpenVINO IR files on OpenVINO."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import InputError, MissingPartError
from edgegal.runtimes.base import RuntimeAdapter, TensorInfo

__all__ = ["OpenVINOAdapter", "shared_core"]

_METADATA_PATH = ["model_info", "edgegal"]
_HEAVY_KERNELS = ("Convolution", "FullyConnected", "MatMul", "GroupConvolution")
_PRECISION = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8"}


@cache
def shared_core() -> Any:
    """The one OpenVINO core of this process.

    On processors with AMX each core gives its thread a signal stack and takes it back when it goes. Cores that go in
    another order than they came leave a stack in use whose memory is gone, and the next signal (Ctrl-C, SIGTERM) kills
    the process.
    """
    import openvino

    return openvino.Core()


def _stores_full_floats(model: Any) -> bool:
    """Whether no weight is stored in half precision or as an integer.

    Left alone, OpenVINO runs such a file in bf16 or fp16 where the processor has it: no longer the fp32 that was
    exported and measured. Whoever wants half precision takes the fp16 file.
    """
    kinds = {op.get_element_type().get_type_name() for op in model.get_ops() if op.get_type_name() == "Constant"}
    return not kinds & {"f16", "bf16", "i8", "u8", "i4", "u4"}


def _metadata(model: Any) -> str | None:
    if not model.has_rt_info(_METADATA_PATH):
        return None
    return str(model.get_rt_info(_METADATA_PATH).astype(str))


class OpenVINOAdapter(RuntimeAdapter):
    """CPU execution of one static-shape, single-input IR: the ``.xml``, with its ``.bin`` beside it."""

    name = "openvino"

    def __init__(self, path: Path, threads: int) -> None:
        super().__init__(path, threads)
        try:
            import openvino
        except ImportError as error:
            raise MissingPartError(
                f"runtime openvino does not work here: {error}", "pip install 'edgegal[openvino]'"
            ) from error
        self._version = str(openvino.__version__).split("-")[0]
        settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        try:
            core = shared_core()
            model = core.read_model(path)
            if _stores_full_floats(model):
                settings["INFERENCE_PRECISION_HINT"] = "f32"
            self._metadata = _metadata(model)
            self._compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            reason = [line for line in str(error).splitlines() if line.strip()][-1].strip()
            raise InputError(
                f"{path} is not an OpenVINO model that can run: {reason}", "export it anew, or take another runtime"
            ) from error
        self._request = self._compiled.create_infer_request()
        # Not the compiled model's: compiling may swap an output's last operations, and their names then share a tensor.
        self._inputs = tuple(self._tensor(port) for port in model.inputs)
        self._outputs = tuple(self._tensor(port) for port in model.outputs)

    @staticmethod
    def _tensor(port: Any) -> TensorInfo:
        dtype = np.dtype(port.get_element_type().to_dtype()).name
        name = port.get_any_name() if port.get_names() else port.get_node().get_friendly_name()
        shape = tuple(side.get_length() if side.is_static else -1 for side in port.get_partial_shape())
        return TensorInfo(name, shape, dtype)

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._outputs

    @property
    def provider(self) -> str:
        return ", ".join(self._compiled.get_property("EXECUTION_DEVICES"))

    @property
    def version(self) -> str:
        return self._version

    def _embedded(self) -> str | None:
        return self._metadata

    def executed_precision(self) -> str:
        found = set()
        for node in self._compiled.get_runtime_model().get_ordered_ops():
            info = node.get_rt_info()
            if info["layerType"].astype(str) in _HEAVY_KERNELS:
                precision = info["runtimePrecision"].astype(str)
                found.add(_PRECISION.get(precision, precision))
        return "+".join(sorted(found, reverse=True)) or "unknown"

    def _run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        results = self._request.infer([batch], share_inputs=True, share_outputs=True)
        # share_outputs hands out the runtime's own buffers, overwritten by the next call.
        return self._named({o.name: np.array(results[i]) for i, o in enumerate(self._outputs)})
