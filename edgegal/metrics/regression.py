"""How near predicted numbers come, such as vote fractions: ``(n, k)`` arrays, a column an answer."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["mean_squared_error", "r2_score", "squared_errors"]


def _check(truth: NDArray[np.floating], predicted: NDArray[np.floating]) -> None:
    if truth.shape != predicted.shape or truth.ndim != 2 or not truth.size:
        raise ValueError(f"truth {truth.shape} and predicted {predicted.shape} must be equal, (n, k) and not empty")


def squared_errors(truth: NDArray[np.floating], predicted: NDArray[np.floating]) -> NDArray[np.float64]:
    """Squared error of each picture ``(n,)``, averaged over the columns."""
    _check(truth, predicted)
    return ((truth.astype(np.float64) - predicted) ** 2).mean(axis=1)


def mean_squared_error(truth: NDArray[np.floating], predicted: NDArray[np.floating]) -> float:
    """Mean over pictures and columns."""
    return float(squared_errors(truth, predicted).mean())


def r2_score(
    truth: NDArray[np.floating], predicted: NDArray[np.floating], weights: NDArray[np.floating] | None = None
) -> NDArray[np.float64]:
    """Coefficient of determination ``(..., k)`` of each column, ``1 - residual / total``; NaN where truth is constant.

    Parameters
    ----------
    truth, predicted
        ``(n, k)``.
    weights
        ``(..., n)`` of the pictures; 1 each when None.
    """
    _check(truth, predicted)
    weights = np.ones(len(truth)) if weights is None else weights
    # About the mean of all: the sums below would otherwise lose digits to it.
    centred = truth.astype(np.float64) - truth.mean(axis=0, dtype=np.float64)
    residual = weights @ (truth.astype(np.float64) - predicted) ** 2
    sums = weights.sum(axis=-1)[..., None]
    total = weights @ centred**2 - (weights @ centred) ** 2 / sums
    share = np.full(total.shape, np.nan)
    # What a constant column keeps is rounding: 1e-16 of its squares.
    varies = total > 1e-13 * sums * (truth.astype(np.float64) ** 2).max(axis=0)
    np.divide(residual, total, out=share, where=varies)
    return 1 - share
