"""Galaxies that stand in two sets, and those in the training part of one and in the test part of another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.data.picture_match import matched_pictures
from edgegal.data.pictures import PictureSet
from edgegal.data.positions import matched_positions

__all__ = ["Leak", "Match", "comparable", "leaks", "learned_from", "same_galaxies", "without_leaks"]


@dataclass(frozen=True)
class Match:
    """One galaxy under the id each of two sets gives it, and what says so: named, position or picture."""

    first_id: str
    second_id: str
    how: str


@dataclass(frozen=True)
class Leak:
    """One galaxy seen in training and asked for in the test, under the id each set gives it, and what says so."""

    train_set: str
    train_id: str
    test_set: str
    test_id: str
    how: str = "named"


def same_galaxies(first: PictureSet, second: PictureSet, by_picture: bool = False) -> tuple[Match, ...]:
    """Galaxies that two sets share.

    Two pictures show the same galaxy when either set's `duplicates` names the other's id, or both sets number galaxies
    alike (`PictureSet.id_space`) and the ids are equal; when both are one file, as in a set split in two ways; when
    both stand within a few arcseconds, where both sets know positions; and, when asked, when the pictures themselves
    agree. Each pair is given once, by the first of these.
    """
    pairs = dict.fromkeys(_named(first, second), "named")
    rows: list[tuple[str, NDArray[np.int64]]] = []
    if first.positions is not None and second.positions is not None:
        rows.append(("position", matched_positions(first.positions, second.positions)))
    if by_picture:
        rows.append(("picture", matched_pictures(first, second)))
    for how, found in rows:
        for i, j in found:
            pairs.setdefault((first.ids[i], second.ids[j]), how)
    return tuple(Match(one, other, how) for (one, other), how in pairs.items())


def _named(first: PictureSet, second: PictureSet) -> list[tuple[str, str]]:
    known, others = set(first.ids), set(second.ids)
    alike = [i for i in first.ids if i in others] if first.id_space and first.id_space == second.id_space else []
    return [
        *((i, i) for i in alike),
        *_of_one_file(first, second),
        *((one, other) for one, other in zip(first.ids, first.duplicates, strict=True) if other in others),
        *((one, other) for other, one in zip(second.ids, second.duplicates, strict=True) if one in known),
    ]


def _of_one_file(first: PictureSet, second: PictureSet) -> list[tuple[str, str]]:
    if first.store.path.resolve() != second.store.path.resolve():
        return []
    known = dict(zip(second.files, second.ids, strict=True))
    return [(one, known[file]) for one, file in zip(first.ids, first.files, strict=True) if file in known]


def comparable(first: PictureSet, second: PictureSet) -> bool:
    """Whether `same_galaxies` can find anything without looking at the pictures.

    It can where both sets number galaxies alike, one names an id of the other as a duplicate, or both know positions.
    """
    placed = all(s.positions is not None and bool(np.isfinite(s.positions).all(axis=1).any()) for s in (first, second))
    return placed or bool(first.id_space and first.id_space == second.id_space) or bool(_named(first, second))


def learned_from(sources: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Of what a provenance names as training data, the names of sets and what of them, each once and in order."""
    parts = (source.rpartition(" (") for source in sources)
    return tuple(dict.fromkeys((name, what.rstrip(")")) for name, _, what in parts if name))


def leaks(
    train_sets: Sequence[PictureSet], test_sets: Sequence[PictureSet], by_picture: bool = False
) -> tuple[Leak, ...]:
    """Galaxies in the split ``train`` of one of `train_sets` and in the split ``test`` of another of `test_sets`.

    What makes two pictures one galaxy: see `same_galaxies`. Within one set ids are unique and splits by object.
    """
    return tuple(
        Leak(train_set.name, match.first_id, test_set.name, match.second_id, match.how)
        for train_set in train_sets
        for test_set in test_sets
        if train_set.name != test_set.name
        for match in same_galaxies(
            train_set.subset("train", labelled=False), test_set.subset("test", labelled=False), by_picture
        )
    )


def without_leaks(train_sets: Sequence[PictureSet], test_sets: Sequence[PictureSet]) -> tuple[PictureSet, ...]:
    """`train_sets` without the training pictures of galaxies that `test_sets` test on."""
    found = {(leak.train_set, leak.train_id) for leak in leaks(train_sets, test_sets)}
    return tuple(
        s.select(
            np.array([split != "train" or (s.name, i) not in found for i, split in zip(s.ids, s.splits, strict=True)])
        )
        for s in train_sets
    )
