"""The one interface every inference runtime is driven through. An adapter knows tensors, never boxes or labels."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import InputError

__all__ = ["MAX_EMBEDDED_BYTES", "RuntimeAdapter", "TensorInfo", "oversize"]

MAX_EMBEDDED_BYTES = 2**20
"""What no metadata of a network comes near: more is not read."""


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a loaded file.

    Attributes
    ----------
    name
        The file's own name for it.
    shape
        Static shape, batch included; -1 where the file leaves a size open.
    dtype
        NumPy name of the element type in the file.
    scale, zero_point
        Quantisation of integer tensors: real = scale * (stored - zero_point); None for float.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None

    @property
    def single(self) -> tuple[int, ...]:
        """The shape with 1 for every open size: what one picture takes."""
        return tuple(max(side, 1) for side in self.shape)


class RuntimeAdapter(ABC):
    """A model file loaded into one runtime.

    Floats go in and come out whatever the file stores: an adapter quantises inputs and dequantises outputs. Adapters
    are not thread-safe; give each thread its own.
    """

    name: ClassVar[str]

    def __init__(self, path: Path, threads: int) -> None:
        self.path = path
        self.threads = threads

    @property
    @abstractmethod
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Inputs in file order."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Outputs in file order."""

    @property
    @abstractmethod
    def provider(self) -> str:
        """What executes the graph, e.g. ``CPUExecutionProvider`` or ``XNNPACK``."""

    @property
    @abstractmethod
    def version(self) -> str:
        """Version of the runtime package."""

    @property
    def embedded(self) -> str | None:
        """The JSON that ``edgegal export`` put into the file; None when there is none.

        Raises
        ------
        InputError
            It cannot be read, or there are more than `MAX_EMBEDDED_BYTES` of it.
        """
        text = self._embedded()
        if text is not None and len(text) > MAX_EMBEDDED_BYTES:
            raise oversize(self.path)
        return text

    def _embedded(self) -> str | None:
        """`embedded` of a format that has a place for it."""
        return None

    @abstractmethod
    def executed_precision(self) -> str:
        """Precision the kernels really run in, as the runtime tells: ``fp32``, ``int8``, or a mixture ``int8+fp32``."""

    def infer(self, batch: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Run the graph once.

        Parameters
        ----------
        batch
            float32, of the input's shape.

        Returns
        -------
        dict
            Output name to float32 array. The arrays are copies: they stay valid after the next call.

        Raises
        ------
        InputError
            The batch is not what the input takes.
        """
        wanted = self.inputs[0].shape
        fits = len(batch.shape) == len(wanted) and all(w in (-1, b) for w, b in zip(wanted, batch.shape, strict=True))
        if not fits or batch.dtype != np.float32:
            raise InputError(f"{self.path} takes float32 {_written(wanted)}, not {batch.dtype} {_written(batch.shape)}")
        return self._run(batch)

    @abstractmethod
    def _run(self, batch: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """`infer` of a batch that fits."""

    def _named(self, values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {info.name: values[info.name] for info in self.outputs}


def oversize(path: Path) -> InputError:
    """The error for metadata of more than `MAX_EMBEDDED_BYTES`."""
    return InputError(f"{path} carries more than {MAX_EMBEDDED_BYTES // 2**20} MiB of metadata: it is not read")


def _written(shape: tuple[int, ...]) -> str:
    return " x ".join("n" if side == -1 else str(side) for side in shape)
