"""Cross-validation: stratified folds, and what a signed-rank test can say about so few figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from edgegal.errors import DatasetError

__all__ = ["SignedRank", "fold_splits", "signed_rank"]


def fold_splits(
    labels: NDArray[np.integer], folds: int, seed: int, objects: Sequence[str] = ()
) -> list[NDArray[np.str_]]:
    """The splits of each fold: every picture is tested in one fold, validated in the next, trained with in the others.

    Parameters
    ----------
    labels
        ``(n,)`` class indices; every fold has each class in proportion, as nearly as objects allow.
    folds
        How many, at least 2; with 2 there would be nothing to train with, so a quarter of the rest validates then.
    seed
        Seed of the shuffling.
    objects
        Which object is on each picture, where several can show the same: its pictures are never in two splits of one
        fold. Empty when each picture shows its own.

    Returns
    -------
    list
        For each fold ``(n,)`` strings, ``train``, ``val`` and ``test``.

    Raises
    ------
    DatasetError
        A class has fewer pictures, or objects, than there are folds, or a split of a fold would be empty.
    """
    groups = np.unique(np.array(objects), return_inverse=True)[1] if objects else np.arange(len(labels))
    _check_counts(labels, groups, folds)
    parts = _fold_of(labels, groups, folds, seed)
    found = [_splits(labels, groups, parts == k, parts == (k + 1) % folds, folds, seed) for k in range(folds)]
    if any(len(np.unique(splits)) < 3 for splits in found):
        raise DatasetError(f"the pictures show too few objects for {folds} folds", "take fewer folds, or more objects")
    return found


def _check_counts(labels: NDArray[np.integer], groups: NDArray[np.integer], folds: int) -> None:
    """Refuse a class that cannot be in every fold."""
    rare = min(len(np.unique(groups[labels == label])) for label in np.unique(labels))
    if rare < folds:
        what = "pictures" if _each_its_own(groups) else "objects"
        raise DatasetError(f"a class has {rare} {what}, too few for {folds} folds", "leave it out, or take fewer folds")


def _each_its_own(groups: NDArray[np.integer]) -> bool:
    return len(np.unique(groups)) == len(groups)


def _splits(
    labels: NDArray[np.integer],
    groups: NDArray[np.integer],
    test: NDArray[np.bool_],
    following: NDArray[np.bool_],
    folds: int,
    seed: int,
) -> NDArray[np.str_]:
    if folds == 2:
        rest = np.flatnonzero(~test)
        following = np.zeros(len(labels), np.bool_)
        following[rest[_fold_of(labels[rest], groups[rest], 4, seed) == 0]] = True
    return np.where(test, "test", np.where(following, "val", "train"))


def _fold_of(labels: NDArray[np.integer], groups: NDArray[np.integer], folds: int, seed: int) -> NDArray[np.int64]:
    """The fold ``(n,)`` each picture is held out in, with all of its group."""
    found = np.empty(len(labels), np.int64)
    # Without groups the shares of the classes can be kept to the picture.
    kind = StratifiedKFold if _each_its_own(groups) else StratifiedGroupKFold
    splitter = kind(folds, shuffle=True, random_state=seed)
    for k, (_, held) in enumerate(splitter.split(np.zeros(len(labels)), labels, groups)):
        found[held] = k
    return found


@dataclass(frozen=True)
class SignedRank:
    """Wilcoxon's signed-rank test of paired figures.

    Attributes
    ----------
    statistic
        Sum of ranks of the lesser sign.
    p
        Exact two-sided p-value; 1 when all pairs are equal.
    least
        The smallest p-value that so many pairs can give, ``2 / 2**n``: .0625 for five folds, so that five folds cannot
        show a difference at the level .05 on both sides, however clear it is.
    """

    statistic: float
    p: float
    least: float


def signed_rank(first: Sequence[float], second: Sequence[float]) -> SignedRank:
    """Wilcoxon's signed-rank test (1945, Biometrics Bulletin 1, 80), exact, ties included.

    Parameters
    ----------
    first, second
        A figure of each of two networks on the same folds, 2 to 20 of them.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    n = len(difference)
    if not 2 <= n <= 20:
        raise ValueError(f"the exact test takes 2 to 20 pairs, not {n}")
    least = min(1.0, 2 / 2**n)
    if not difference.any():
        return SignedRank(0.0, 1.0, least)
    # All signs are tried: the tabulated law holds without ties and zeros only, which few small folds often have.
    result = stats.wilcoxon(difference, zero_method="zsplit", method=stats.PermutationMethod(n_resamples=float("inf")))
    return SignedRank(float(result.statistic), float(result.pvalue), least)
