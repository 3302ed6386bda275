"""Receiver operating characteristic of one class against the rest."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["RocCurve", "area", "roc_auc", "roc_curve", "true_positive_rates"]


@dataclass(frozen=True)
class RocCurve:
    """Corners of the curve, from (0, 0) to (1, 1); leading axes as the weights have.

    Attributes
    ----------
    false_positive, true_positive
        ``(..., m + 1)`` rates at the m distinct scores, the highest first, after a 0; NaN where the class, or the rest,
        has no picture.
    scores
        ``(m + 1,)``: pictures with at least this score are called positive; infinity first.
    """

    false_positive: NDArray[np.float64]
    true_positive: NDArray[np.float64]
    scores: NDArray[np.float64]


def roc_curve(
    positive: NDArray[np.bool_], scores: NDArray[np.floating], weights: NDArray[np.floating] | None = None
) -> RocCurve:
    """The curve of a score; pictures of equal score are called together, so ties are straight lines.

    Parameters
    ----------
    positive
        ``(n,)`` bool: whether each picture is of the class.
    scores
        ``(n,)``: how strongly it is taken for one.
    weights
        ``(..., n)`` of the pictures; 1 each when None.

    Raises
    ------
    ValueError
        The arrays differ in length, are empty, or a score is not a number.
    """
    if positive.shape != scores.shape or positive.ndim != 1 or not len(positive):
        raise ValueError(f"truth {positive.shape} and scores {scores.shape} must be equal, flat and not empty")
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are not numbers")
    order = np.argsort(-scores, kind="stable")
    ordered, hit = scores[order], positive[order]
    # The last picture of each distinct score.
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    weights = (np.ones(len(scores)) if weights is None else weights)[..., order]
    return RocCurve(
        _rates(weights * ~hit, last),
        _rates(weights * hit, last),
        np.concatenate([[np.inf], ordered[last].astype(np.float64)]),
    )


def _rates(weights: NDArray[np.floating], last: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cumulative share at `last`, after a 0."""
    sums = np.cumsum(weights, axis=-1)
    total = sums[..., -1:]
    share = np.full((*sums.shape[:-1], len(last)), np.nan)
    np.divide(sums[..., last], total, out=share, where=total > 0)
    return np.concatenate([share[..., :1] * 0, share], axis=-1)


def roc_auc(
    positive: NDArray[np.bool_], scores: NDArray[np.floating], weights: NDArray[np.floating] | None = None
) -> NDArray[np.float64]:
    """Area under the curve ``(...)``: the chance that a picture of the class scores above one of the rest, ties half.

    NaN where the class, or the rest, has no picture. Parameters and errors as `roc_curve`.
    """
    return area(roc_curve(positive, scores, weights))


def area(curve: RocCurve) -> NDArray[np.float64]:
    """Area ``(...)`` under a curve, by trapezes."""
    width = np.diff(curve.false_positive, axis=-1)
    height = (curve.true_positive[..., 1:] + curve.true_positive[..., :-1]) / 2
    return (width * height).sum(axis=-1)


def true_positive_rates(curve: RocCurve, at: NDArray[np.floating]) -> NDArray[np.float64]:
    """The curve's height ``(..., len(at))`` at the false-positive rates `at`, rising; the top of an upright stretch."""
    shape = curve.true_positive.shape
    fpr, tpr = (v.reshape(-1, shape[-1]) for v in (curve.false_positive, curve.true_positive))
    heights = np.stack([_height(f, t, at) for f, t in zip(fpr, tpr, strict=True)])
    return heights.reshape(*shape[:-1], len(at))


def _height(fpr: NDArray[np.float64], tpr: NDArray[np.float64], at: NDArray[np.floating]) -> NDArray[np.float64]:
    if np.isnan(fpr[-1]) or np.isnan(tpr[-1]):
        return np.full(len(at), np.nan)
    # From the last corner at or before each rate: the top of an upright stretch.
    before = np.searchsorted(fpr, at, side="right") - 1
    after = np.minimum(before + 1, len(fpr) - 1)
    width = fpr[after] - fpr[before]
    part = np.divide(at - fpr[before], width, out=np.zeros(len(at)), where=width > 0)
    return tpr[before] + part * (tpr[after] - tpr[before])
