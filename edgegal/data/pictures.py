"""A table of pictures with labels; the pixels stay in their file until asked for."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal.data.splits import SPLITS
from edgegal.data.stores import Store
from edgegal.data.t_types import hubble_labels
from edgegal.data.votes import LabelRules, labels_from_votes, second_level_targets, vote_schemes
from edgegal.errors import DatasetError
from edgegal.frames import View
from edgegal.labels import UNLABELLED, LabelScheme, relabel
from edgegal.preprocess import resize

__all__ = ["PictureSet", "Skip", "refuse_if_most"]

_LOG = logging.getLogger(__name__)

_LARGEST_BROKEN_SHARE = 0.5
_NAMED = 5


@dataclass(frozen=True)
class Skip:
    """What was left out of a set.

    Attributes
    ----------
    reason
        What they are, in the plural.
    names
        All of them.
    """

    reason: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        more = f" and {len(self.names) - _NAMED} more" if len(self.names) > _NAMED else ""
        return f"{len(self.names)} {self.reason}: {', '.join(self.names[:_NAMED])}{more}"


def refuse_if_most(name: str, skip: Skip, total: int, mend: str) -> None:
    """Say what is left out of the set `name`.

    Raises
    ------
    DatasetError
        That is more than half of `total`: the set is damaged, not blemished.
    """
    if not skip.names:
        return
    if len(skip.names) > _LARGEST_BROKEN_SHARE * total:
        raise DatasetError(f"{name}: of {total} pictures, {skip}", mend)
    _LOG.warning("%s: left out of %d, %s", name, total, skip)


@dataclass(frozen=True, eq=False)
class PictureSet:
    """A table of pictures.

    Attributes
    ----------
    name
        What it was opened as.
    scheme
        What the labels mean.
    ids
        One id a picture, unique.
    labels
        ``(n,)`` int32, indices into ``scheme.labels``, `UNLABELLED` where there is none.
    splits
        ``(n,)`` strings, each of `SPLITS`.
    duplicates
        Id of the same galaxy in another set, empty where none is known.
    files
        Names in `store`.
    store
        Where the files lie.
    side
        Side in pixels that `pictures` gives unless told.
    objects
        Which object is on each picture, where several can show the same; empty when the ids say it.
    votes
        ``(n, k)`` float32 vote fractions, NaN where not asked.
    vote_names
        Names of the columns of `votes`.
    t_types
        ``(n,)`` float32 T-types, NaN where unknown.
    positions
        ``(n, 2)`` float64 right ascension and declination, degrees.
    id_space
        Who numbers the galaxies: sets of one space give a galaxy the same id. Empty when the ids are the set's own.
    skipped
        What was left out when the set was opened or read.
    """

    name: str
    scheme: LabelScheme
    ids: tuple[str, ...]
    labels: NDArray[np.int32]
    splits: NDArray[np.str_]
    duplicates: tuple[str, ...]
    files: tuple[str, ...]
    store: Store
    side: int = 128
    objects: tuple[str, ...] = ()
    votes: NDArray[np.float32] | None = None
    vote_names: tuple[str, ...] = ()
    t_types: NDArray[np.float32] | None = None
    positions: NDArray[np.float64] | None = None
    id_space: str = ""
    skipped: tuple[Skip, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.integer]) -> "PictureSet":
        """The pictures a mask or index array picks, in its order."""
        rows = np.arange(len(self))[keep]
        texts = {column: getattr(self, column) for column in ("ids", "duplicates", "files", "objects")}
        arrays = {column: getattr(self, column) for column in ("labels", "splits", "votes", "t_types", "positions")}
        picked: dict[str, Any] = {name: tuple(column[i] for i in rows) for name, column in texts.items() if column}
        picked.update({name: column[rows] for name, column in arrays.items() if column is not None})
        return replace(self, **picked)

    def subset(self, split: str | None = None, labelled: bool = True) -> "PictureSet":
        """The pictures of one split (all when None), by default without the unlabelled ones.

        Raises
        ------
        DatasetError
            `split` is none of `SPLITS`.
        """
        if split is not None and split not in SPLITS:
            raise DatasetError(f"no split {split!r}", f"use one of: {', '.join(SPLITS)}")
        keep = np.ones(len(self), np.bool_)
        if split is not None:
            keep &= self.splits == split
        if labelled:
            keep &= self.labels != UNLABELLED
        return self.select(keep)

    def relabelled(self, target: LabelScheme, rules: LabelRules = LabelRules()) -> "PictureSet":
        """The same pictures with labels of another scheme: by votes or T-types where they decide, else by the map.

        In the schemes of the second level `votes` become the fractions to regress on, named as the classes.

        Raises
        ------
        InputError
            Neither votes nor T-types give such labels, and there is no map.
        """
        if target.name == "hubble3" and self.t_types is not None:
            return replace(self, scheme=target, labels=hubble_labels(self.t_types, rules.spiral_from))
        if self.votes is None or target.name not in vote_schemes() or self.vote_names == self.scheme.labels:
            return replace(self, scheme=target, labels=relabel(self.labels, self.scheme, target))
        votes: Mapping[str, NDArray[np.float32]] = dict(zip(self.vote_names, self.votes.T, strict=True))
        labelled = replace(self, scheme=target, labels=labels_from_votes(votes, target.name, rules))
        if not target.name.startswith("gz-second-level"):
            return labelled
        targets = second_level_targets(votes, four=len(target.labels) == 4)
        return replace(labelled, votes=targets, vote_names=target.labels)

    def with_splits(self, splits: NDArray[np.str_]) -> "PictureSet":
        """The same pictures, split otherwise; ``(n,)`` strings, each of `SPLITS`."""
        return replace(self, splits=splits)

    def read(self, size: int | None = None) -> tuple["PictureSet", View]:
        """Read the pixels and leave out what cannot be read.

        A picture of another shape is cut to its central square, then resized once, from the file's own pixels.

        Parameters
        ----------
        size
            Side of the result in pixels; `side` when None.

        Returns
        -------
        tuple
            The set of the readable pictures, in order, and their pixels ``(n, size, size, 3)`` uint8 RGB. What was
            left out is named in a warning and in `skipped`.

        Raises
        ------
        DatasetError
            More than half cannot be read.
        """
        pictures, readable = self._pixels(size or self.side)
        if readable.all():
            return self, pictures
        skip = Skip("unreadable pictures", tuple(self.files[i] for i in np.flatnonzero(~readable)))
        refuse_if_most(self.name, skip, len(self), f"replace the damaged files in {self.store.path}")
        return replace(self.select(readable), skipped=(*self.skipped, skip)), pictures[readable]

    def pictures(self, size: int | None = None) -> View:
        """Read the pixels of all pictures: as `read`, for callers that cannot do without one.

        Raises
        ------
        DatasetError
            Pictures that cannot be read: how many, and the names of some.
        """
        pictures, readable = self._pixels(size or self.side)
        if not readable.all():
            skip = Skip("cannot be read", tuple(self.files[i] for i in np.flatnonzero(~readable)))
            raise DatasetError(
                f"{self.name}: of {len(self)} pictures in {self.store.path}, {skip}",
                "replace or remove the damaged files",
            )
        return pictures

    def _pixels(self, size: int) -> tuple[View, NDArray[np.bool_]]:
        """Pixels ``(n, size, size, 3)`` and which of them could be read."""
        result = np.empty((len(self), size, size, 3), np.uint8)
        readable = np.zeros(len(self), np.bool_)
        for i, picture in self.store.pixels(self.files):
            if picture is not None:
                result[i] = _squared(picture, size)
                readable[i] = True
        return result, readable

    def digest(self) -> str:
        """sha256 of class names, ids, labels, splits and the CRC-32 of every file, in order."""
        total = hashlib.sha256("\0".join(self.scheme.labels).encode())
        rows = zip(self.ids, self.labels, self.splits, self.store.checksums(self.files), strict=True)
        for row in rows:
            total.update("\0".join(map(str, row)).encode(errors="surrogatepass") + b"\n")
        return total.hexdigest()


def _squared(picture: View, size: int) -> View:
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    return square if side == size else resize(square, size, size)
