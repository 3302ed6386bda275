"""Galaxies that stand in the training part of one set and in the test part of another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgegal.data.pictures import PictureSet

__all__ = ["Leak", "leaks", "without_leaks"]


@dataclass(frozen=True)
class Leak:
    """One galaxy seen in training and asked for in the test, under the id each set gives it."""

    train_set: str
    train_id: str
    test_set: str
    test_id: str


def leaks(train_sets: Sequence[PictureSet], test_sets: Sequence[PictureSet]) -> tuple[Leak, ...]:
    """Galaxies in the split ``train`` of one of `train_sets` and in the split ``test`` of another of `test_sets`.

    Two pictures show the same galaxy when either set's `duplicates` names the other's id; ids alone mean nothing
    across sets, and within one set they are unique.
    """
    return tuple(
        leak
        for train_set in train_sets
        for test_set in test_sets
        if train_set.name != test_set.name
        for leak in _between(train_set, test_set)
    )


def _between(train_set: PictureSet, test_set: PictureSet) -> list[Leak]:
    train = train_set.subset("train", labelled=False)
    test = test_set.subset("test", labelled=False)
    named_by_train = {other: i for i, other in zip(train.ids, train.duplicates, strict=True) if other}
    train_ids = set(train.ids)
    found = []
    for test_id, other in zip(test.ids, test.duplicates, strict=True):
        train_id = other if other in train_ids else named_by_train.get(test_id)
        if train_id is not None:
            found.append(Leak(train_set.name, train_id, test_set.name, test_id))
    return found


def without_leaks(train_sets: Sequence[PictureSet], test_sets: Sequence[PictureSet]) -> tuple[PictureSet, ...]:
    """`train_sets` without the training pictures of galaxies that `test_sets` test on."""
    found = {(leak.train_set, leak.train_id) for leak in leaks(train_sets, test_sets)}
    return tuple(
        s.select(
            np.array([split != "train" or (s.name, i) not in found for i, split in zip(s.ids, s.splits, strict=True)])
        )
        for s in train_sets
    )
