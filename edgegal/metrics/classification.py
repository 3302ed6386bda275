"""How good class predictions are: hits, and how they are spread over classes.

Labels are class indices; pictures without a label have no place here and are left out by the caller.

Figures of a confusion matrix take matrices with any leading axes, ``(..., classes, classes)``: a bootstrap counts all
its resamples at once (`confusion_matrix` with weights) and needs no second version of them.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "accuracy",
    "balanced_accuracy",
    "confusion_matrix",
    "f1_scores",
    "macro_f1",
    "mean_over_seen",
    "precisions",
    "recalls",
    "weighted_confusion",
    "weighted_f1",
]


def confusion_matrix(truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Counts ``(classes, classes)``: row is the true class, column the predicted one.

    Raises
    ------
    ValueError
        The arrays differ in length, are empty, or hold an index outside ``0 .. classes - 1``.
    """
    return np.bincount(_pairs(truth, predicted, classes), minlength=classes * classes).reshape(classes, classes)


def weighted_confusion(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int, weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Sums of weights ``(..., classes, classes)`` in place of counts; errors as `confusion_matrix`.

    Parameters
    ----------
    truth, predicted
        ``(n,)`` class indices.
    classes
        Number of classes.
    weights
        ``(..., n)``, such as how often each resample of a bootstrap drew each picture.
    """
    pairs = _pairs(truth, predicted, classes)
    # Only pairs that occur cost a column: ten classes have a hundred, and most are empty.
    occurring, column = np.unique(pairs, return_inverse=True)
    membership = np.zeros((len(pairs), len(occurring)))
    membership[np.arange(len(pairs)), column] = 1
    counts = np.zeros((*weights.shape[:-1], classes * classes))
    counts[..., occurring] = weights @ membership
    return counts.reshape(*weights.shape[:-1], classes, classes)


def _pairs(truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    if truth.shape != predicted.shape or truth.ndim != 1 or not len(truth):
        raise ValueError(f"truth {truth.shape} and predicted {predicted.shape} must be equal, flat and not empty")
    lowest, highest = min(truth.min(), predicted.min()), max(truth.max(), predicted.max())
    if lowest < 0 or highest >= classes:
        raise ValueError(f"class indices {lowest} to {highest} do not fit {classes} classes")
    pairs: NDArray[np.int64] = truth.astype(np.int64) * classes + predicted
    return pairs


def accuracy(truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> float:
    """Share of equal labels."""
    if truth.shape != predicted.shape or not len(truth):
        raise ValueError(f"truth {truth.shape} and predicted {predicted.shape} must be equal and not empty")
    return float(np.mean(truth == predicted))


def _hits(confusion: NDArray[np.number]) -> NDArray[np.number]:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _share(part: NDArray[np.number], whole: NDArray[np.number]) -> NDArray[np.float64]:
    share = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share


def recalls(confusion: NDArray[np.number]) -> NDArray[np.float64]:
    """Share of each true class that was found ``(..., classes)``; NaN for a class without pictures."""
    return _share(_hits(confusion), confusion.sum(axis=-1))


def precisions(confusion: NDArray[np.number]) -> NDArray[np.float64]:
    """Share of right answers among those that named each class ``(..., classes)``; NaN for one never named."""
    return _share(_hits(confusion), confusion.sum(axis=-2))


def f1_scores(confusion: NDArray[np.number]) -> NDArray[np.float64]:
    """Harmonic mean of precision and recall, ``2 tp / (2 tp + fp + fn)``; NaN for a class neither true nor named."""
    return _share(2 * _hits(confusion), confusion.sum(axis=-1) + confusion.sum(axis=-2))


def mean_over_seen(per_class: NDArray[np.floating], confusion: NDArray[np.number]) -> NDArray[np.float64]:
    """Mean ``(...)`` over the classes that are true or named somewhere; a figure that is NaN there counts as 0.

    So a class that is true and never named pulls macro precision down and is not left out.
    """
    seen = confusion.sum(axis=-1) + confusion.sum(axis=-2) > 0
    return np.where(seen, np.nan_to_num(per_class), 0).sum(axis=-1) / seen.sum(axis=-1)


def balanced_accuracy(truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> float:
    """Mean recall over the classes that occur in `truth` (Brodersen et al. 2010, ICPR 3121)."""
    return float(np.nanmean(recalls(confusion_matrix(truth, predicted, classes))))


def macro_f1(truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> float:
    """Mean F1 over the classes that occur in `truth` or `predicted`.

    The averaged F1 of Opitz & Burst 2019 (arXiv:1911.03347).
    """
    counts = confusion_matrix(truth, predicted, classes)
    return float(mean_over_seen(f1_scores(counts), counts))


def weighted_f1(confusion: NDArray[np.number]) -> NDArray[np.float64]:
    """Mean F1 ``(...)``, each class weighted by its true pictures."""
    support = confusion.sum(axis=-1)
    return (np.nan_to_num(f1_scores(confusion)) * support).sum(axis=-1) / support.sum(axis=-1)
