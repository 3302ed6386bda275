"""Keras models: the float reference the other runtimes are compared with. Host only; imports its backend."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import InputError, MissingPartError
from edgegal.runtimes.base import RuntimeAdapter, TensorInfo

__all__ = ["KerasAdapter"]


def _tensor(name: str, tensor: Any) -> TensorInfo:
    return TensorInfo(name, tuple(-1 if side is None else side for side in tensor.shape), str(tensor.dtype))


class KerasAdapter(RuntimeAdapter):
    """A ``.keras`` file. The backend chooses its own thread count."""

    name = "keras"

    def __init__(self, path: Path, threads: int) -> None:
        super().__init__(path, threads)
        try:
            import keras
        except ImportError as error:
            raise MissingPartError(
                f"runtime keras does not work here: {error}", "pip install 'edgegal[train]'"
            ) from error
        self._keras: Any = keras
        try:
            self._model: Any = keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # Keras lets through whatever a damaged file provokes.
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"{path} is not a Keras model: {reason}") from error
        self._outputs = tuple(_tensor(name, tensor) for name, tensor in self._named_outputs())

    def _named_outputs(self) -> list[tuple[str, Any]]:
        outputs = self._model.output
        if isinstance(outputs, dict):
            return list(outputs.items())
        tensors = outputs if isinstance(outputs, list) else [outputs]
        return list(zip(self._model.output_names, tensors, strict=True))

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return tuple(_tensor(tensor.name, tensor) for tensor in self._model.inputs)

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._outputs

    @property
    def provider(self) -> str:
        return str(self._keras.backend.backend())

    @property
    def version(self) -> str:
        return str(self._keras.__version__)

    def executed_precision(self) -> str:
        return "fp32"

    def _run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        outputs = self._model(batch, training=False)
        if not isinstance(outputs, dict):
            values = outputs if isinstance(outputs, list | tuple) else [outputs]
            outputs = dict(zip((o.name for o in self._outputs), values, strict=True))
        return self._named({k: self._keras.ops.convert_to_numpy(v) for k, v in outputs.items()})
