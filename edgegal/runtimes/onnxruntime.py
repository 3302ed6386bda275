"""ONNX files on ONNX Runtime."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import InputError, MissingPartError
from edgegal.runtimes.base import RuntimeAdapter, TensorInfo

__all__ = ["OnnxRuntimeAdapter"]

_INT8_KERNELS = ("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "QLinearAdd")
_FLOAT_KERNELS = ("Conv", "FusedConv", "MatMul", "Gemm", "FusedMatMul", "FusedGemm")


class OnnxRuntimeAdapter(RuntimeAdapter):
    """CPU execution of one static-shape, single-input ONNX graph."""

    name = "onnxruntime"

    def __init__(self, path: Path, threads: int) -> None:
        super().__init__(path, threads)
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingPartError(
                f"runtime onnxruntime does not work here: {error}", "pip install 'edgegal[onnx]'"
            ) from error
        self._ort: Any = onnxruntime
        self._session = self._open(self._options())
        self._inputs = tuple(self._tensor(v) for v in self._session.get_inputs())
        self._outputs = tuple(self._tensor(v) for v in self._session.get_outputs())

    def _options(self) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return options

    def _open(self, options: Any) -> Any:
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        # A damaged name is a UnicodeDecodeError, a ValueError; damaged weights may be a RuntimeError.
        invalid = (
            state.InvalidProtobuf,
            state.InvalidGraph,
            state.InvalidArgument,
            state.Fail,
            state.NoModel,
            state.NotFound,
            state.NotImplemented,
            state.RuntimeException,
            RuntimeError,
            ValueError,
        )
        try:
            # The fallback tries the same again, and prints on stdout that it does.
            return self._ort.InferenceSession(
                str(self.path), sess_options=options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except invalid as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"{self.path} is not an ONNX model that onnxruntime can run: {reason}") from error

    @staticmethod
    def _tensor(value: Any) -> TensorInfo:
        dtype = value.type.removeprefix("tensor(").removesuffix(")")
        shape = tuple(d if isinstance(d, int) else -1 for d in value.shape)
        return TensorInfo(value.name, shape, "float32" if dtype == "float" else dtype)

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._outputs

    @property
    def provider(self) -> str:
        return str(self._session.get_providers()[0])

    @property
    def version(self) -> str:
        return str(self._ort.__version__)

    def _embedded(self) -> str | None:
        text: str | None = self._session.get_modelmeta().custom_metadata_map.get("edgegal")
        return text

    def executed_precision(self) -> str:
        # The file's node types are not what runs: the optimiser fuses QDQ pairs or leaves them. Profile one inference.
        with tempfile.TemporaryDirectory() as folder:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = self._open(options)
            info = self._inputs[0]
            session.run(None, {info.name: np.zeros(info.single, np.float32)})
            events = json.loads(Path(session.end_profiling()).read_text())
        kernels = [e["args"] for e in events if "op_name" in e.get("args", {})]
        found = {"int8" for k in kernels if k["op_name"] in _INT8_KERNELS}
        found |= {_float_type(k) for k in kernels if k["op_name"] in _FLOAT_KERNELS}
        return "+".join(p for p in ("int8", "fp16", "fp32") if p in found) or "unknown"

    def _run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        values = self._session.run(None, {self._inputs[0].name: batch})
        return self._named(dict(zip((o.name for o in self._outputs), values, strict=True)))


def _float_type(kernel: dict[str, Any]) -> str:
    """Precision of a profiled float kernel, by the type of its first input."""
    types = [name for tensor in kernel.get("input_type_shape", ()) for name in tensor]
    return "fp16" if types[:1] == ["float16"] else "fp32"
