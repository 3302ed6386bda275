"""What a detection threshold costs and gains: precision, recall, F1 and false detections against confidence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.metrics.detection import PictureMatch
from edgegal.metrics.intervals import RESAMPLES, Band, bootstrap_bands

__all__ = ["THRESHOLDS", "ConfidenceCurve", "confidence_bands", "confidence_curve", "square_degrees"]

THRESHOLDS: NDArray[np.float64] = np.round(np.arange(0.01, 1, 0.01), 2)
"""Scores that curves are given at: .01, .02 .. .99."""


@dataclass(frozen=True)
class ConfidenceCurve:
    """Counts of the detections that score at least a threshold; leading axes as the weights of the pictures have.

    Attributes
    ----------
    thresholds
        ``(k,)``, rising.
    hits, false
        ``(..., k)`` detections that took a true box, and those of nothing. What counts neither way is in neither.
    truths
        ``(...)`` true boxes.
    """

    thresholds: NDArray[np.float64]
    hits: NDArray[np.float64]
    false: NDArray[np.float64]
    truths: NDArray[np.float64]

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of the detections that took a true box ``(..., k)``; NaN where there is none."""
        return _share(self.hits, self.hits + self.false)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of the true boxes that were taken ``(..., k)``; NaN without any."""
        return _share(self.hits, np.broadcast_to(self.truths[..., None], self.hits.shape))

    @property
    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean of the two ``(..., k)``; NaN where there is neither a detection nor a true box."""
        return _share(2 * self.hits, self.hits + self.false + self.truths[..., None])

    @property
    def best(self) -> NDArray[np.intp]:
        """Index ``(...)`` of the threshold with the best F1, of equal ones the lowest."""
        return np.asarray(np.nan_to_num(self.f1).argmax(axis=-1))

    @property
    def best_threshold(self) -> NDArray[np.float64]:
        """The threshold ``(...)`` with the best F1, of equal ones the lowest."""
        return np.asarray(self.thresholds[self.best])


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def confidence_curve(
    matches: Sequence[PictureMatch],
    thresholds: NDArray[np.floating] = THRESHOLDS,
    column: int = 0,
    counts: NDArray[np.float64] | None = None,
) -> ConfidenceCurve:
    """Count what a detector would have reported at each threshold.

    One matching serves all thresholds: what a detection takes never depends on a worse one.

    Parameters
    ----------
    matches
        One entry a picture.
    thresholds
        Rising, in the precision of scores when compared, as `Detections.above` compares.
    column
        Which of the overlaps the matches were made at.
    counts
        ``(..., n)``, such as how often each resample of a bootstrap drew each picture; 1 each when None.
    """
    counts = np.ones(len(matches)) if counts is None else counts
    return ConfidenceCurve(
        np.asarray(thresholds, np.float64),
        counts @ np.stack([_above(m.scores[m.hits[:, column]], thresholds) for m in matches]),
        counts @ np.stack([_above(m.scores[m.false[:, column]], thresholds) for m in matches]),
        counts @ np.array([m.truths for m in matches], np.float64),
    )


def _above(scores: NDArray[np.floating], thresholds: NDArray[np.floating]) -> NDArray[np.float64]:
    """How many of the falling `scores` reach each threshold."""
    below = np.searchsorted(scores[::-1], thresholds.astype(scores.dtype), side="left")
    return (len(scores) - below).astype(np.float64)


def confidence_bands(
    matches: Sequence[PictureMatch],
    thresholds: NDArray[np.floating] = THRESHOLDS,
    column: int = 0,
    areas: NDArray[np.floating] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Band]:
    """Curves against confidence with their 95 % bootstrap intervals over pictures.

    Parameters
    ----------
    matches, thresholds, column
        As for `confidence_curve`.
    areas
        ``(n,)`` sky of each picture, square degrees; None to count false detections by picture.
    seed, resamples
        Of the bootstrap.

    Returns
    -------
    dict
        ``precision``, ``recall``, ``f1`` and ``false`` (a square degree or a picture), a value a threshold each;
        ``best_threshold`` and ``best_f1``, each resample with its own best.
    """
    exposure = np.ones(len(matches)) if areas is None else areas

    def figures(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        curve = confidence_curve(matches, thresholds, column, counts)
        return {
            "precision": curve.precision,
            "recall": curve.recall,
            "f1": curve.f1,
            "false": curve.false / (counts @ exposure)[:, None],
            "best_threshold": curve.best_threshold,
            "best_f1": np.nan_to_num(curve.f1).max(axis=-1),
        }

    return bootstrap_bands(len(matches), figures, seed, resamples)


def square_degrees(height: int, width: int, pixel_scale: float) -> float:
    """Sky that a picture shows: pixels, arc seconds a pixel. The tangent plane: half a percent off at 10 degrees."""
    return height * width * (pixel_scale / 3600) ** 2
