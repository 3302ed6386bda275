"""Uneven classes: weights in the loss, pictures left out and repeated, or both in part."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import DatasetError

__all__ = ["balanced_counts", "class_weights", "rebalanced"]


def class_weights(labels: NDArray[np.int32], classes: int, balance: float) -> NDArray[np.float32]:
    """``(N / (C n_c)) ** balance`` for each class, scaled so that the mean weight of a picture is 1.

    Parameters
    ----------
    labels
        ``(n,)`` class indices.
    classes
        How many classes there are.
    balance
        0 weighs all pictures alike, 1 all classes.

    Returns
    -------
    NDArray
        ``(classes,)``; ``class_weights(...)[labels]`` are the weights of pictures, in training only.

    Raises
    ------
    DatasetError
        A class has no picture.
    """
    counts = _counts(labels, classes)
    weights = (len(labels) / (classes * counts)) ** balance
    return (weights / (weights * counts).sum() * len(labels)).astype(np.float32)


def balanced_counts(labels: NDArray[np.int32], classes: int, balance: float) -> NDArray[np.int64]:
    """How many pictures of each class to train with, as many as there are in all, for `rebalanced`.

    In part (0 < `balance` < 1) big classes stay bigger; `class_weights` of what was chosen can do the rest.

    Parameters
    ----------
    labels, classes
        As for `class_weights`.
    balance
        0 leaves classes as common as they are, 1 makes them equal.

    Returns
    -------
    NDArray
        ``(classes,)``, each at least 1.

    Raises
    ------
    DatasetError
        A class has no picture.
    """
    shares = _counts(labels, classes) ** (1 - balance)
    counts: NDArray[np.int64] = np.maximum(1, np.rint(shares / shares.sum() * len(labels))).astype(np.int64)
    return counts


def rebalanced(
    labels: NDArray[np.int32], counts: Sequence[int] | NDArray[np.int64] | int | Literal["equal"], seed: int
) -> NDArray[np.int64]:
    """Indices of pictures to train with: classes with more than wanted are thinned, those with fewer repeated.

    Every picture of a repeated class comes as often as any other of it, or once more; augmentation makes the copies
    differ.

    Parameters
    ----------
    labels
        ``(n,)`` class indices.
    counts
        Pictures wanted of each class, or one number for every class, or ``"equal"`` for the mean of what there is.
    seed
        Seed of the choice.

    Returns
    -------
    NDArray
        Indices into `labels`, sorted by class.

    Raises
    ------
    DatasetError
        A class of which pictures are wanted has none.
    """
    classes = int(labels.max(initial=-1)) + 1 if isinstance(counts, (int, str)) else len(counts)
    there = _counts(labels, classes, wanted=None if isinstance(counts, (int, str)) else np.asarray(counts))
    if isinstance(counts, str):
        wanted = np.full(classes, round(float(there.mean())))
    else:
        wanted = np.broadcast_to(np.asarray(counts, np.int64), classes)
    rng = np.random.default_rng(seed)
    return np.concatenate([_resampled(np.flatnonzero(labels == c), int(wanted[c]), rng) for c in range(classes)])


def _resampled(members: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if not count:
        return members[:0]
    whole, rest = divmod(count, len(members))
    return np.concatenate([np.tile(members, whole), rng.permutation(members)[:rest]])


def _counts(labels: NDArray[np.int32], classes: int, wanted: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    counts = np.bincount(labels, minlength=classes)
    missing = (counts == 0) & (True if wanted is None else wanted > 0)
    if missing.any():
        empty = ", ".join(str(i) for i in np.flatnonzero(missing))
        raise DatasetError(f"no training picture of class {empty}", "add pictures, or use a scheme without the class")
    return counts
