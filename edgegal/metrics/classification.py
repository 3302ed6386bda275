"""How good class predictions are: hits, their balance over classes, and whether confidence means anything.

Labels are class indices; pictures without a label have no place here and are left out by the caller.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "accuracy",
    "balanced_accuracy",
    "confusion_matrix",
    "expected_calibration_error",
    "macro_f1",
    "recalls",
]


def confusion_matrix(truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Counts ``(classes, classes)``: row is the true class, column the predicted one.

    Raises
    ------
    ValueError
        The arrays differ in length, are empty, or hold an index outside ``0 .. classes - 1``.
    """
    if truth.shape != predicted.shape or truth.ndim != 1 or not len(truth):
        raise ValueError(f"truth {truth.shape} and predicted {predicted.shape} must be equal, flat and not empty")
    lowest, highest = min(truth.min(), predicted.min()), max(truth.max(), predicted.max())
    if lowest < 0 or highest >= classes:
        raise ValueError(f"class indices {lowest} to {highest} do not fit {classes} classes")
    pairs = truth.astype(np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def accuracy(truth: NDArray[np.integer], predicted: NDArray[np.integer]) -> float:
    """Share of equal labels."""
    if truth.shape != predicted.shape or not len(truth):
        raise ValueError(f"truth {truth.shape} and predicted {predicted.shape} must be equal and not empty")
    return float(np.mean(truth == predicted))


def recalls(confusion: NDArray[np.integer]) -> NDArray[np.float64]:
    """Share of each true class that was found ``(classes,)``; NaN for a class without pictures."""
    support = confusion.sum(axis=1)
    share = np.full(len(confusion), np.nan)
    np.divide(np.diag(confusion), support, out=share, where=support > 0)
    return share


def balanced_accuracy(truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> float:
    """Mean recall over the classes that occur in `truth` (Brodersen et al. 2010, ICPR 3121)."""
    return float(np.nanmean(recalls(confusion_matrix(truth, predicted, classes))))


def macro_f1(truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> float:
    """Mean over classes of the harmonic mean of precision and recall, ``2 tp / (2 tp + fp + fn)``.

    The mean runs over classes that occur in `truth` or `predicted` (the averaged F1 of Opitz & Burst 2019,
    arXiv:1911.03347).
    """
    counts = confusion_matrix(truth, predicted, classes)
    either = counts.sum(axis=0) + counts.sum(axis=1)
    seen = either > 0
    return float(np.mean(2 * np.diag(counts)[seen] / either[seen]))


def expected_calibration_error(
    truth: NDArray[np.integer], probabilities: NDArray[np.floating], bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over equal bins of confidence, weighted by their pictures.

    Guo et al. 2017 (ICML, arXiv:1706.04599), equation 3: bin m holds confidences in ``((m - 1) / M, m / M]``.

    Parameters
    ----------
    truth
        ``(n,)`` class indices.
    probabilities
        ``(n, classes)``; the highest of a row is its confidence.
    bins
        M; 15 in the paper.
    """
    if len(truth) != len(probabilities) or not len(truth):
        raise ValueError(f"truth {truth.shape} and probabilities {probabilities.shape} must be as long, not empty")
    confidence = probabilities.max(axis=1).astype(np.float64)
    hit = probabilities.argmax(axis=1) == truth
    inner_edges = np.linspace(0, 1, bins + 1)[1:-1]
    which = np.searchsorted(inner_edges, confidence)
    gap = np.bincount(which, weights=hit - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(truth))
