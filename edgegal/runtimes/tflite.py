"""TFLite files on LiteRT or on the older tflite-runtime: one interpreter interface, two packages."""

import contextlib
import importlib
import importlib.metadata
import logging
import lzma
import os
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import InputError, MissingPartError
from edgegal.runtimes.base import MAX_EMBEDDED_BYTES, RuntimeAdapter, TensorInfo, oversize

__all__ = ["LiteRTAdapter", "TFLiteRuntimeAdapter", "read_embedded"]

_METADATA = "edgegal.json"
# A damaged archive provokes any of these.
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError),
)

# Operators that do the work, by the types of their first input and of their weights. XNNPACK keeps these types.
_HEAVY_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL")
_PRECISION = {
    ("float32", "float32"): "fp32",
    ("float32", "int8"): "dynamic",
    ("int8", "int8"): "int8",
    ("uint8", "uint8"): "int8",
    ("int16", "int8"): "int16x8",
}

_log = logging.getLogger(__name__)


def read_embedded(path: Path) -> str | None:
    """The JSON in the zip behind the model, where the TFLite Metadata convention has associated files.

    It takes no runtime, so that a foreign file can be told before one runs it. Errors as `RuntimeAdapter.embedded`.
    """
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as zipped:
            if _METADATA not in zipped.namelist():
                return None
            if zipped.getinfo(_METADATA).file_size > MAX_EMBEDDED_BYTES:
                raise oversize(path)
            # zipfile reads no member beyond its declared size.
            return zipped.read(_METADATA).decode()
    except _UNREADABLE as error:
        raise InputError(f"the metadata in {path} cannot be read: {error}", "get the file again") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Turn what the library writes on the system's stderr, which no setting of its own stops, into log lines."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as words:
        os.dup2(words.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            words.seek(0)
            for line in words.read().decode(errors="replace").splitlines():
                _log.info("%s", line)


def _tensor(details: dict[str, Any]) -> TensorInfo:
    scale, zero_point = details["quantization"]
    quantised = scale != 0
    return TensorInfo(
        name=details["name"],
        shape=tuple(int(d) for d in details["shape"]),
        dtype=np.dtype(details["dtype"]).name,
        scale=float(scale) if quantised else None,
        zero_point=int(zero_point) if quantised else None,
    )


class _InterpreterAdapter(RuntimeAdapter):
    module: ClassVar[str]
    distribution: ClassVar[str]
    mend: ClassVar[str]

    def __init__(self, path: Path, threads: int) -> None:
        super().__init__(path, threads)
        try:
            interpreter_class = importlib.import_module(self.module).Interpreter
            # From bytes: the file may be replaced or its card pulled while the night runs on.
            with _quiet():
                self._interpreter = interpreter_class(model_content=path.read_bytes(), num_threads=threads)
                self._interpreter.allocate_tensors()
            inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        except (ImportError, SystemError, AttributeError) as error:
            raise MissingPartError(f"runtime {self.name} does not work here: {error}", self.mend) from error
        except (ValueError, RuntimeError, MemoryError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            if "vector::reserve" in reason or "_ARRAY_API" in reason:
                raise MissingPartError(f"runtime {self.name} does not work here: {reason}", self.mend) from error
            raise InputError(f"{path} is not a TFLite model that {self.name} can run: {reason}") from error
        self._inputs, self._outputs = tuple(map(_tensor, inputs)), tuple(map(_tensor, outputs))
        self._input_index = inputs[0]["index"]
        self._output_indices = [details["index"] for details in outputs]

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._outputs

    @property
    def provider(self) -> str:
        delegated = any(node["op_name"] == "DELEGATE" for node in self._nodes())
        return "XNNPACK" if delegated else "built-in kernels"

    @property
    def version(self) -> str:
        return importlib.metadata.version(self.distribution)

    def _embedded(self) -> str | None:
        return read_embedded(self.path)

    def executed_precision(self) -> str:
        types = {d["index"]: np.dtype(d["dtype"]).name for d in self._interpreter.get_tensor_details()}
        heavy = [node["inputs"] for node in self._nodes() if node["op_name"] in _HEAVY_OPERATORS]
        kinds = {(types.get(inputs[0], ""), types.get(inputs[1], "")) for inputs in heavy}
        return "+".join(sorted(_PRECISION.get(kind, "x".join(kind)) for kind in kinds)[::-1]) or "unknown"

    def _nodes(self) -> list[dict[str, Any]]:
        # Not public, but in both packages, and the only word on which kernels run.
        nodes: list[dict[str, Any]] = self._interpreter._get_ops_details()
        return nodes

    def _run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        info = self._inputs[0]
        self._interpreter.set_tensor(self._input_index, _quantise(batch, info))
        self._interpreter.invoke()
        values = {
            out.name: _dequantise(self._interpreter.get_tensor(index), out)
            for out, index in zip(self._outputs, self._output_indices, strict=True)
        }
        return self._named(values)


def _quantise(values: NDArray[np.float32], info: TensorInfo) -> NDArray[Any]:
    if info.scale is None or info.zero_point is None:
        return values
    limits = np.iinfo(info.dtype)
    stored = np.rint(values / np.float32(info.scale)) + info.zero_point
    return np.clip(stored, limits.min, limits.max).astype(info.dtype)


def _dequantise(stored: NDArray[Any], info: TensorInfo) -> NDArray[Any]:
    if info.scale is None or info.zero_point is None:
        return np.asarray(stored, np.float32)
    return (stored.astype(np.float32) - info.zero_point) * np.float32(info.scale)


class LiteRTAdapter(_InterpreterAdapter):
    """`ai-edge-litert`, the maintained TFLite runtime."""

    name = "litert"
    module = "ai_edge_litert.interpreter"
    distribution = "ai-edge-litert"
    mend = "pip install 'edgegal[tflite]'"


class TFLiteRuntimeAdapter(_InterpreterAdapter):
    """`tflite-runtime` 2.14, the last release: numpy 1 only, and never after TensorFlow in one process.

    It runs a file unchecked: a damaged one can end the process, so only the hashes of a bundle stand before it.
    """

    name = "tflite-runtime"
    module = "tflite_runtime.interpreter"
    distribution = "tflite-runtime"
    mend = "pip install 'edgegal[tflite-legacy]' in an environment with numpy below 2 and no TensorFlow"
