from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgegal.data import Leak, PictureSet, leaks, without_leaks
from edgegal.data.leakage import comparable
from edgegal.data.stores import FolderStore
from edgegal.labels import SCHEMES

pytestmark = pytest.mark.host


def rows(name: str, *entries: tuple[str, str, str]) -> PictureSet:
    """A set of ids with splits and duplicates; nobody reads its pictures."""
    ids, splits, duplicates = zip(*entries, strict=True)
    return PictureSet(
        name,
        SCHEMES["h4"],
        ids,
        np.zeros(len(ids), np.int32),
        np.array(splits),
        duplicates,
        ids,
        FolderStore(Path(name)),
    )


A = rows("a", ("1", "train", "x1"), ("2", "train", ""), ("3", "val", "x3"), ("4", "test", "x4"), ("5", "train", "x5"))
X = rows("x", ("x1", "test", ""), ("x2", "test", "2"), ("x3", "test", "3"), ("x4", "train", ""), ("x5", "train", ""))


def test_a_leak_is_found_from_the_id_on_either_side() -> None:
    assert set(leaks([A], [X])) == {Leak("a", "1", "x", "x1"), Leak("a", "2", "x", "x2")}


def test_leaks_have_a_direction() -> None:
    assert leaks([X], [A]) == (Leak("x", "x4", "a", "4"),)
    assert len(leaks([A, X], [A, X])) == 3


def test_equal_ids_of_different_sets_are_different_galaxies() -> None:
    assert leaks([rows("a", ("1", "train", ""))], [rows("b", ("1", "test", ""))]) == ()


def test_sets_that_number_galaxies_alike_share_them() -> None:
    a = replace(rows("a", ("1", "train", ""), ("2", "train", "")), id_space="survey")
    b = replace(rows("b", ("1", "test", "")), id_space="survey")
    assert leaks([a], [b]) == (Leak("a", "1", "b", "1"),)
    assert leaks([a], [replace(b, id_space="another")]) == ()


def test_sets_without_ids_or_positions_in_common_cannot_be_compared() -> None:
    a, b = rows("a", ("1", "train", "")), rows("b", ("1", "test", ""))
    placed, nowhere = np.array([[10.0, 1.0]]), np.array([[np.nan, 1.0]])
    assert not comparable(a, b)
    assert comparable(A, X)
    assert comparable(replace(a, id_space="survey"), replace(b, id_space="survey"))
    assert not comparable(replace(a, id_space="survey"), replace(b, id_space="another"))
    assert comparable(replace(a, positions=placed), replace(b, positions=placed))
    assert not comparable(replace(a, positions=placed), b)
    assert not comparable(replace(a, positions=placed), replace(b, positions=nowhere))


def test_without_leaks_drops_training_pictures_only() -> None:
    a, x = without_leaks([A, X], [A, X])
    assert a.ids == ("3", "4", "5")
    assert x.ids == ("x1", "x2", "x3", "x5")
    assert leaks([a, x], [A, X]) == ()


def test_leaks_are_found_in_subsets() -> None:
    assert len(leaks([A.subset("train")], [X.subset("test")])) == 2
    assert leaks([A.subset("test")], [X]) == ()
