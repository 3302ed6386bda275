"""Galaxy10 SDSS and Galaxy10 DECaLS: one HDF5 file each."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal.data.pictures import PictureSet
from edgegal.data.positions import objects_by_position
from edgegal.data.splits import Shares
from edgegal.data.stores import Hdf5Store, hdf5_array, open_hdf5
from edgegal.data.tables import complete, unsplit
from edgegal.errors import DatasetError
from edgegal.labels import LabelScheme

__all__ = ["read_galaxy10"]

_MOST_PICTURES = 10_000_000


def read_galaxy10(path: Path, name: str, scheme: LabelScheme, shares: Shares | None = None) -> PictureSet:
    """A set from ``images`` ``(n, h, w, 3)`` uint8 RGB and ``ans`` ``(n,)``, class numbers.

    Where the file has ``ra`` and ``dec``, pictures of one place share their split. An id is the row's number.

    Raises
    ------
    DatasetError
        The file is absent, cut off, or has not these arrays.
    """
    with open_hdf5(path) as file:
        images, answers = hdf5_array(file, "images", 4), hdf5_array(file, "ans", 1)
        n, side = images.shape[0], int(min(images.shape[1:3]))
        if len(answers) != n or n > _MOST_PICTURES or answers.dtype.kind not in "iu":
            raise DatasetError(f"{path} has {n} pictures and {len(answers)} answers", "delete it and fetch it again")
        labels = _read(answers, path).astype(np.int64)
        positions = None
        if "ra" in file and "dec" in file:
            arrays = [hdf5_array(file, column, 1) for column in ("ra", "dec")]
            if any(len(array) != n for array in arrays):
                raise DatasetError(f"{path} has not one place for each picture", "delete it and fetch it again")
            positions = np.stack([_read(array, path).astype(np.float64) for array in arrays], axis=1)
    if labels.min(initial=0) < 0 or labels.max(initial=0) >= len(scheme.labels):
        raise DatasetError(f"{path} has classes that are not 0 to {len(scheme.labels) - 1}", "fetch it again")
    ids = tuple(f"{i:05d}" for i in range(n))
    table = PictureSet(
        name=name,
        scheme=scheme,
        ids=ids,
        labels=labels.astype(np.int32),
        splits=unsplit(n),
        duplicates=("",) * n,
        files=tuple(map(str, range(n))),
        store=Hdf5Store(path),
        side=side,
        objects=() if positions is None else objects_by_position(ids, positions),
        positions=positions,
    )
    return complete(table, shares)


def _read(array: Any, path: Path) -> NDArray[Any]:
    try:
        return np.asarray(array)
    except (OSError, RuntimeError) as error:
        raise DatasetError(f"{path} is damaged: {error}", "delete it and fetch it again") from None
