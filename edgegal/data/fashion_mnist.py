"""Fashion-MNIST: 70,000 grey pictures of clothes, 28 pixels a side, in four idx files."""

from pathlib import Path

import numpy as np

from edgegal.data.idx import read_idx
from edgegal.data.pictures import PictureSet
from edgegal.data.splits import Shares, assign_splits
from edgegal.data.stores import ArrayStore
from edgegal.data.tables import complete, unsplit
from edgegal.errors import DatasetError
from edgegal.labels import SCHEMES

__all__ = ["read_fashion_mnist"]

_PARTS = ("train", "t10k")


def read_fashion_mnist(folder: Path, name: str, shares: Shares | None = None) -> PictureSet:
    """The pictures in order, ids ``train-00000`` and so on.

    The published test pictures stay the test split; the others are split between training and validation in the
    proportion of `shares`.

    Raises
    ------
    DatasetError
        A file is absent or damaged, or labels and pictures do not fit.
    """
    scheme = SCHEMES["fashion-mnist"]
    pictures, labels, ids = [], [], []
    for part in _PARTS:
        drawn = read_idx(folder / f"{part}-images-idx3-ubyte.gz", 3)
        classes = read_idx(folder / f"{part}-labels-idx1-ubyte.gz", 1)
        if len(drawn) != len(classes) or classes.max(initial=0) >= len(scheme.labels):
            raise DatasetError(f"{folder}: labels and pictures of {part} do not fit", "fetch the set again")
        pictures.append(drawn)
        labels.append(classes.astype(np.int32))
        ids += [f"{part}-{i:05d}" for i in range(len(drawn))]
    if pictures[0].shape[1:] != pictures[1].shape[1:]:
        raise DatasetError(f"{folder}: pictures of two sizes", "fetch the set again")
    first = len(labels[0])
    shares = shares or Shares()
    inner = assign_splits(ids[:first], labels[0], Shares(shares.train, shares.val, 0))
    table = PictureSet(
        name=name,
        scheme=scheme,
        ids=tuple(ids),
        labels=np.concatenate(labels),
        splits=unsplit(len(ids)),
        duplicates=("",) * len(ids),
        files=tuple(map(str, range(len(ids)))),
        store=ArrayStore(folder, np.concatenate(pictures)),
        side=int(pictures[0].shape[1]),
    )
    return complete(table, given=[*inner.tolist(), *["test"] * (len(ids) - first)])
