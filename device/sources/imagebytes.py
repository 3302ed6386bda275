"""ImageBytes: pictures as ASCOM Alpaca cameras send them.

The format is in "Alpaca API Reference", chapter 8: a header of 44 bytes, then the values with the last axis fastest.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import FrameError

__all__ = ["CONTENT_TYPE", "decode_imagebytes"]

_MEND = "look at the network and at the log of the camera's server"
CONTENT_TYPE = "application/imagebytes"

# Version, error, two transaction numbers, start of the data, type of the picture, type sent, rank, three lengths.
_HEADER = struct.Struct("<2i2I4i3i")
_TYPES = {1: "<i2", 2: "<i4", 3: "<f8", 4: "<f4", 5: "<u8", 6: "u1", 7: "<i8", 8: "<u2", 9: "<u4"}


def decode_imagebytes(raw: bytes, name: str) -> NDArray[Any]:
    """Read one picture.

    Parameters
    ----------
    raw
        The body of the answer.
    name
        Whose it is, for errors.

    Returns
    -------
    NDArray
        ``(height, width)`` or ``(height, width, planes)`` of the type that was sent, row 0 at the top.

    Raises
    ------
    FrameError
        The camera reports an error instead of a picture, or the answer is damaged.
    """
    if len(raw) < _HEADER.size:
        raise FrameError(f"{name} sent {len(raw)} bytes instead of a picture", _MEND)
    version, error, _, _, start, _, sent, rank, *lengths = _HEADER.unpack(raw[: _HEADER.size])
    if version != 1:
        raise FrameError(f"{name} sent ImageBytes of version {version}; 1 is read", _MEND)
    if not _HEADER.size <= start <= len(raw):
        raise FrameError(f"{name} sent a damaged picture: its data begin at byte {start} of {len(raw)}", _MEND)
    if error:
        words = raw[start:].decode("utf-8", "replace").strip()
        raise FrameError(f"{name} gave no picture: {words} (error {error:#x})", _MEND)
    if sent not in _TYPES or rank not in (2, 3):
        raise FrameError(f"{name} sent a damaged picture: values of type {sent} on {rank} axes", _MEND)
    shape, dtype = tuple(lengths[:rank]), np.dtype(_TYPES[sent])
    if min(shape) < 1:
        raise FrameError(f"{name} sent a damaged picture: its size is {shape}", _MEND)
    count = int(np.prod(shape, dtype=np.int64))
    if len(raw) - start < count * dtype.itemsize:
        raise FrameError(f"{name} sent {len(raw) - start} of {count * dtype.itemsize} bytes of a picture", _MEND)
    # The first axis is x.
    picture = np.frombuffer(raw, dtype, count, start).reshape(shape).swapaxes(0, 1)
    return np.ascontiguousarray(picture, dtype=dtype.newbyteorder("="))
