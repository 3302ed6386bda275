"""Tensors of a PyTorch checkpoint, read without PyTorch and without running what a pickle may carry.

Reads the layout of ``torch.save`` before version 1.6: three pickles of header, the pickled dictionary with a persistent
id for each storage, the list of storage keys, then for each its length and raw little-endian values
(``torch/serialization.py``, ``_legacy_save``).
"""

import math
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import InputError

__all__ = ["read_state_dict"]

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Storage(NamedTuple):
    dtype: np.dtype[Any]


class _View(NamedTuple):
    """A tensor: where its values lie in a storage, all counted in values."""

    storage: str
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _rebuild_tensor(
    storage: tuple[str, np.dtype[Any]], offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> _View:
    return _View(storage[0], storage[1], offset, shape, stride)


class _StateDictUnpickler(pickle.Unpickler):
    """Knows tensors and ordered dictionaries, nothing else: no other name in the pickle is ever looked up."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _DTYPES:
            return _Storage(_DTYPES[name])
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a table of tensors")

    def persistent_load(self, pid: Any) -> tuple[str, np.dtype[Any]]:
        kind, storage, key, *_ = pid
        if kind != "storage" or not isinstance(storage, _Storage):
            raise pickle.UnpicklingError(f"unknown reference {kind!r}")
        return str(key), storage.dtype


def read_state_dict(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors by name.

    Raises
    ------
    InputError
        The file is missing, truncated, or no such checkpoint.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except (pickle.UnpicklingError, EOFError, struct.error, ValueError, TypeError, KeyError, IndexError) as error:
        raise InputError(
            f"{path} is not a whole PyTorch checkpoint of tensors: {error}", "get the file again"
        ) from None


def _read(file: IO[bytes]) -> dict[str, NDArray[Any]]:
    header = [_StateDictUnpickler(file).load() for _ in range(3)]
    if header[:2] != [_MAGIC, _PROTOCOL]:
        raise ValueError("the header is another")
    views: dict[str, _View] = _StateDictUnpickler(file).load()
    dtypes = {view.storage: view.dtype for view in views.values()}
    storages = {key: _values(file, dtypes[key]) for key in _StateDictUnpickler(file).load()}
    return {name: _tensor(storages[view.storage], view) for name, view in views.items()}


def _values(file: IO[bytes], dtype: np.dtype[Any]) -> NDArray[Any]:
    (count,) = struct.unpack("<q", file.read(8))
    # A false count must neither fill the memory nor mean "all there is", as a negative one does.
    if not 0 <= count * dtype.itemsize <= os.fstat(file.fileno()).st_size:
        raise ValueError("a storage is longer than the file")
    return np.frombuffer(file.read(count * dtype.itemsize), dtype, count)


def _tensor(values: NDArray[Any], view: _View) -> NDArray[Any]:
    reach = view.offset + sum((side - 1) * step for side, step in zip(view.shape, view.stride, strict=True))
    inside = view.offset >= 0 and min(view.stride, default=0) >= 0 and reach < len(values)
    # Steps of 0 repeat values without end.
    if not inside or math.prod(view.shape) > len(values):
        raise ValueError("a tensor does not lie within its storage")
    strides = tuple(step * values.itemsize for step in view.stride)
    return np.lib.stride_tricks.as_strided(values[view.offset :], view.shape, strides, writeable=False).copy()
