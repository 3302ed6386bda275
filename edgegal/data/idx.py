"""The idx format of MNIST and its kin: a four-byte magic, big-endian sizes, then the values."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import DatasetError

__all__ = ["read_idx"]

_UNSIGNED_BYTE = 8
# Ten times fashion-MNIST; a header that claims more is damaged or means harm.
_MOST_BYTES = 512 << 20


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """An array of unsigned bytes from a gzipped idx file.

    Parameters
    ----------
    path
        The ``.gz``.
    dimensions
        How many it must have: 3 for pictures, 1 for labels.

    Raises
    ------
    DatasetError
        The file is absent, cut off, longer than its header says, or not of unsigned bytes in so many dimensions.
    """
    try:
        with gzip.open(path) as file:
            magic = file.read(4)
            if magic != bytes([0, 0, _UNSIGNED_BYTE, dimensions]):
                raise DatasetError(f"{path} is no idx file of bytes in {dimensions} dimensions", "fetch it again")
            sizes = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
            wanted = math.prod(sizes)
            if wanted > _MOST_BYTES:
                raise DatasetError(f"{path} claims {sizes} values, more than any such file holds", "fetch it again")
            values = file.read(wanted)
            if len(values) != wanted or file.read(1):
                raise DatasetError(f"{path} does not hold the {sizes} values that it claims", "fetch it again")
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing", "fetch the set again") from None
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DatasetError(f"{path} is not a whole gzip file: {error}", "fetch it again") from None
    return np.frombuffer(values, np.uint8).reshape(sizes)
