"""Folds and the signed-rank test, against scikit-learn's promise and SciPy's tables."""

import numpy as np
import pytest

pytestmark = pytest.mark.host

stats = pytest.importorskip("scipy.stats", reason="training needs the host environment")

from edgegal.errors import DatasetError  # noqa: E402
from edgegal.training.crossval import fold_splits, signed_rank  # noqa: E402

LABELS = np.repeat([0, 1, 2], [50, 30, 20])


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_every_picture_is_tested_once(folds: int) -> None:
    splits = fold_splits(LABELS, folds, seed=3)
    tested = np.stack([s == "test" for s in splits])
    assert (tested.sum(axis=0) == 1).all()
    for split in splits:
        assert set(split) == {"train", "val", "test"}


def test_folds_keep_the_shares_of_classes() -> None:
    for split in fold_splits(LABELS, 5, seed=0):
        for part, share in (("test", 0.2), ("val", 0.2), ("train", 0.6)):
            np.testing.assert_array_equal(np.bincount(LABELS[split == part]), share * np.array([50, 30, 20]))


def test_another_seed_makes_other_folds() -> None:
    first, second = (fold_splits(LABELS, 5, seed)[0] for seed in (0, 1))
    assert (first != second).any()


def test_a_class_smaller_than_the_folds_is_refused() -> None:
    with pytest.raises(DatasetError, match="4 pictures, too few for 5 folds"):
        fold_splits(np.repeat([0, 1], [20, 4]), 5, seed=0)


@pytest.mark.parametrize("folds", [2, 5])
def test_pictures_of_one_object_are_in_one_split(folds: int) -> None:
    objects = [f"galaxy {i // 2}" for i in range(len(LABELS))]
    splits = fold_splits(LABELS, folds, 0, objects)
    assert (np.stack([s == "test" for s in splits]).sum(axis=0) == 1).all()
    for split in splits:
        np.testing.assert_array_equal(split[::2], split[1::2])
        assert set(split) == {"train", "val", "test"}
        assert set(LABELS[split == "train"]) == {0, 1, 2}


def test_objects_with_one_picture_each_change_nothing() -> None:
    objects = [f"galaxy {i}" for i in range(len(LABELS))]
    np.testing.assert_array_equal(fold_splits(LABELS, 5, 0, objects), fold_splits(LABELS, 5, 0))


def test_a_class_of_few_objects_is_refused() -> None:
    with pytest.raises(DatasetError, match="a class has 2 objects, too few for 5 folds"):
        fold_splits(LABELS, 5, 0, [f"galaxy {i // 10}" for i in range(100)])


def test_signed_ranks_without_ties_are_those_of_the_tables() -> None:
    rng = np.random.default_rng(0)
    for n in (5, 8, 12):
        first, second = rng.normal(size=(2, n))
        found = signed_rank(first.tolist(), second.tolist())
        wanted = stats.wilcoxon(first, second, method="exact")
        assert (found.statistic, found.p) == (wanted.statistic, pytest.approx(wanted.pvalue))


def test_five_folds_cannot_reach_the_usual_level() -> None:
    found = signed_rank([0.9, 0.91, 0.92, 0.93, 0.94], [0.1, 0.12, 0.14, 0.13, 0.1])
    assert found.p == found.least == 0.0625


def test_ties_and_equal_pairs_are_counted_exactly() -> None:
    """By hand: ranks 1.5, 1.5 and 3, one of the first negative; 6 of 8 sign patterns are as uneven as 4.5 to 1.5."""
    assert signed_rank([2, 2, 3], [1, 3, 1]).p == pytest.approx(6 / 8)
    assert signed_rank([0.5, 0.5], [0.5, 0.5]).p == 1
