"""Whether a probability means what it says: reliability bins, calibration error, and proper scores."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Binning",
    "Reliability",
    "brier_scores",
    "expected_calibration_error",
    "log_losses",
    "reliability",
]

Binning = Literal["equal-width", "equal-count"]
"""How confidences are binned: by equal steps from 0 to 1, or so that each bin holds as many pictures."""


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy, bin by bin; leading axes as the weights have.

    Attributes
    ----------
    edges
        ``(bins + 1,)``; bin m holds confidences above ``edges[m]`` up to and with ``edges[m + 1]``.
    counts
        ``(..., bins)`` pictures, or sums of their weights.
    confidence, accuracy
        ``(..., bins)`` means in each bin; NaN in an empty one.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.float64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> NDArray[np.float64]:
        """Mean gap ``(...)`` between the two, weighted by the pictures: the expected calibration error."""
        gap = np.nan_to_num(np.abs(self.confidence - self.accuracy))
        return (gap * self.counts).sum(axis=-1) / self.counts.sum(axis=-1)


def reliability(
    truth: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    bins: int = 15,
    binning: Binning = "equal-width",
    weights: NDArray[np.floating] | None = None,
) -> Reliability:
    """Bin pictures by the probability of their winning class.

    Parameters
    ----------
    truth
        ``(n,)`` class indices.
    probabilities
        ``(n, classes)``; the highest of a row is its confidence.
    bins
        Number of bins; 15 in Guo et al. 2017.
    binning
        ``equal-width`` (Guo et al.) or ``equal-count`` (adaptive, Nguyen & O'Connor 2015, arXiv:1508.05154); the
        edges of the latter are quantiles of all confidences, weights left aside, and fewer where confidences repeat.
    weights
        ``(..., n)`` of the pictures; 1 each when None.

    Raises
    ------
    ValueError
        `truth` and `probabilities` differ in length or are empty.
    """
    if len(truth) != len(probabilities) or not len(truth):
        raise ValueError(f"truth {truth.shape} and probabilities {probabilities.shape} must be as long, not empty")
    confidence = probabilities.max(axis=1).astype(np.float64)
    hit = probabilities.argmax(axis=1) == truth
    edges = _edges(confidence, bins, binning)
    which = np.searchsorted(edges[1:-1], confidence)
    membership = np.zeros((len(truth), len(edges) - 1))
    membership[np.arange(len(truth)), which] = 1
    weights = np.ones(len(truth)) if weights is None else weights
    counts = weights @ membership
    empty = np.full(counts.shape, np.nan)
    return Reliability(
        edges,
        counts,
        np.divide(weights @ (membership * confidence[:, None]), counts, out=empty.copy(), where=counts > 0),
        np.divide(weights @ (membership * hit[:, None]), counts, out=empty, where=counts > 0),
    )


def _edges(confidence: NDArray[np.float64], bins: int, binning: Binning) -> NDArray[np.float64]:
    if binning == "equal-width":
        return np.linspace(0, 1, bins + 1)
    # Observed confidences, not values between: bins then end with a picture and none is empty.
    ends = -(-len(confidence) * np.arange(1, bins) // bins) - 1
    inner = np.sort(confidence)[ends]
    return np.concatenate([[0.0], np.unique(inner[inner < confidence.max()]), [1.0]])


def expected_calibration_error(
    truth: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    bins: int = 15,
    binning: Binning = "equal-width",
) -> float:
    """Mean gap between confidence and accuracy over bins of confidence, weighted by their pictures.

    Guo et al. 2017 (ICML, arXiv:1706.04599), equation 3, when bins are of equal width; see `reliability`.
    """
    return float(reliability(truth, probabilities, bins, binning).error)


def log_losses(truth: NDArray[np.integer], probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Negative logarithm of the true class's probability, a picture each ``(n,)``; less than 1e-7 counts as that."""
    given = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return -np.log(np.clip(given, 1e-7, 1))


def brier_scores(truth: NDArray[np.integer], probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Squared distance of the probabilities from the truth, a picture each ``(n,)``, in 0-2.

    The score of Brier 1950 (Monthly Weather Review 78, 1), summed over classes.
    """
    certain = np.eye(probabilities.shape[1])[truth]
    return ((probabilities.astype(np.float64) - certain) ** 2).sum(axis=1)
