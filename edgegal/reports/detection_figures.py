"""What a detector found on pictures with known galaxies, and every figure of it that a report shows."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgegal import metrics
from edgegal.detections import Detections
from edgegal.errors import InputError
from edgegal.metrics import Band, Completeness, DetectionFigures, PictureMatch, Sizes
from edgegal.reports.figures import RESAMPLES

if TYPE_CHECKING:
    from edgegal.data.fields import Field

__all__ = [
    "IOU",
    "LEVELS",
    "DetectionMeasures",
    "DetectionResult",
    "compare_detectors",
    "completeness_by_side",
    "figure_keys",
    "figure_title",
    "measure_detector",
]

IOU = 0.5
"""Least overlap of a galaxy found, in all curves."""

LEVELS = (0.5, 0.9)
"""Completeness whose size and magnitude are named."""

_MAGNITUDE_STEP = 0.5

_TITLES = {
    "ap": "AP .50:.95",
    "ap50": "AP .50",
    "ap75": "AP .75",
    "ar1": "AR 1",
    "ar10": "AR 10",
    "ar100": "AR 100",
}


@dataclass(frozen=True, kw_only=True)
class DetectionResult:
    """Answers of one detector.

    Attributes
    ----------
    name
        What the detector is called in the report.
    found
        Its detections on each field, down to low scores.
    fields
        The pictures and their truth, with classes of the same indices as the detector's.
    description
        Plain text shown under the name.
    threshold
        Score that the detector is deployed with; None for the one with the best F1 on these fields.

    Raises
    ------
    InputError
        There is no picture.
    ValueError
        There are not as many answers as fields.
    """

    name: str
    found: Sequence[Detections]
    fields: "Sequence[Field]"
    description: str = ""
    threshold: float | None = None

    def __post_init__(self) -> None:
        if not self.fields:
            raise InputError(f"{self.name}: no pictures to measure it on", "give it fields with known galaxies")
        if len(self.found) != len(self.fields):
            raise ValueError(f"{self.name}: {len(self.found)} answers to {len(self.fields)} fields")

    def __len__(self) -> int:
        return len(self.fields)

    @property
    def truth(self) -> list[Detections]:
        """True boxes of each field."""
        return [f.truth for f in self.fields]

    @property
    def ignore(self) -> list[NDArray[np.float32]]:
        """Regions of each field that count neither way."""
        return [f.ignore for f in self.fields]

    def statistic(self, sizes: Sizes) -> metrics.Statistic:
        """COCO's figures as a function of how often each field counts."""
        return metrics.coco_statistic(self.found, self.truth, self.ignore, sizes)


@dataclass(frozen=True)
class DetectionMeasures:
    """Figures of one result.

    Attributes
    ----------
    summary, coco
        COCO's figures, and the same with intervals by the names of `metrics.coco_statistic`.
    precision
        Precision at each of `metrics.RECALLS`, at `IOU`.
    curves
        `metrics.confidence_bands` at `metrics.THRESHOLDS` and `IOU`.
    per_degree
        Whether false detections are counted a square degree, or a picture where a field's scale is not known.
    threshold
        Score that the following are given at.
    at_threshold
        The curves at the first score of `metrics.THRESHOLDS` that is not below it.
    by_side, by_magnitude
        Completeness against the longer side of the true box and against magnitude; None when no magnitude is known.
    """

    summary: DetectionFigures
    coco: dict[str, Band]
    precision: Band
    curves: dict[str, Band]
    per_degree: bool
    threshold: float
    at_threshold: dict[str, metrics.Interval]
    by_side: Completeness
    by_magnitude: Completeness | None


def figure_keys(sizes: Sizes) -> list[str]:
    """Names of COCO's figures in the order they are read."""
    return [*_TITLES, *(f"{kind}:{name}" for kind in ("ap", "ar1", "ar10", "ar100") for name in sizes)]


def figure_title(key: str) -> str:
    """What a figure is called; ``ap:small`` is AP of small galaxies."""
    name, _, size = key.partition(":")
    return f"{_TITLES[name]} {size}" if size else _TITLES[name]


def measure_detector(
    result: DetectionResult,
    sizes: Sizes = metrics.COCO_SIZES,
    per_degree: bool = True,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> DetectionMeasures:
    """Every figure of a result, with 95 % bootstrap intervals over its pictures.

    Curves and completeness pool all classes, each detection matched with true boxes of its own class.

    Parameters
    ----------
    result
        Answers and truth.
    sizes
        Ranges of sizes, by name.
    per_degree
        Count false detections a square degree, where the scale of every field is known.
    seed, resamples
        Of the bootstrap.
    """
    matches = metrics.match_pictures(result.found, result.truth, (IOU,), None, sys.maxsize, result.ignore)
    areas = _areas(result.fields) if per_degree else None
    curves = metrics.confidence_bands(matches, areas=areas, seed=seed, resamples=resamples)
    threshold = float(curves["best_threshold"].value) if result.threshold is None else result.threshold
    place = min(int(np.searchsorted(metrics.THRESHOLDS, threshold - 1e-9)), len(metrics.THRESHOLDS) - 1)
    found = _found(matches, threshold)
    magnitudes = _magnitudes(result.fields)
    return DetectionMeasures(
        metrics.coco_summary(result.found, result.truth, result.ignore, sizes),
        metrics.bootstrap_bands(len(result), result.statistic(sizes), seed, resamples),
        metrics.bootstrap_bands(
            len(result), lambda n: {"precision": metrics.precision_at_recalls(matches, 0, n)}, seed, resamples
        )["precision"],
        curves,
        areas is not None,
        threshold,
        {key: curves[key].interval(place) for key in ("precision", "recall", "f1", "false")},
        _by_side(result.truth, found),
        None if magnitudes is None else metrics.measure_completeness(magnitudes, found, _steps(magnitudes)),
    )


def completeness_by_side(result: DetectionResult) -> Completeness:
    """Share of the galaxies, class 0, that are found, by the longer side of the true box.

    At the threshold of `result`, which has one.
    """
    if result.threshold is None:
        raise ValueError(f"{result.name} has no threshold")
    truth = [t.select(t.classes == 0) for t in result.truth]
    matches = metrics.match_pictures(result.found, truth, (IOU,), 0, sys.maxsize, result.ignore)
    return _by_side(truth, _found(matches, result.threshold))


def _by_side(truth: Sequence[Detections], found: NDArray[np.bool_]) -> Completeness:
    return metrics.measure_completeness(_longer_sides(truth), found, metrics.SIDE_EDGES)


def compare_detectors(
    results: Sequence[DetectionResult], sizes: Sizes, seed: int, resamples: int
) -> list[dict[str, Band]]:
    """COCO's figures of each later result less those of the first, paired by picture.

    Empty where the results are not of the same fields.
    """
    first, *others = results
    if not all(_same_fields(first, other) for other in others):
        return []
    base = first.statistic(sizes)

    def difference(mine: metrics.Statistic) -> metrics.Statistic:
        def figures(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
            theirs = base(counts)
            return {key: value - theirs[key] for key, value in mine(counts).items()}

        return figures

    return [
        metrics.bootstrap_bands(len(first), difference(other.statistic(sizes)), seed, resamples) for other in others
    ]


def _same_fields(a: DetectionResult, b: DetectionResult) -> bool:
    return len(a) == len(b) and all(one is other for one, other in zip(a.fields, b.fields, strict=True))


def _areas(fields: "Sequence[Field]") -> NDArray[np.float64] | None:
    """Square degrees of each field; None when the scale of one is not known."""
    areas = []
    for field in fields:
        if field.pixel_scale is None:
            return None
        height, width = field.picture.shape[:2]
        areas.append(metrics.square_degrees(height, width, field.pixel_scale))
    return np.array(areas)


def _found(matches: Sequence[PictureMatch], threshold: float) -> NDArray[np.bool_]:
    """Which of all true boxes were found at a score of `threshold` or more."""
    # As `Detections.above` compares: in the precision of scores.
    return np.concatenate([m.truth_scores() for m in matches]) >= np.float32(threshold)


def _longer_sides(truth: Sequence[Detections]) -> NDArray[np.float32]:
    return np.concatenate([t.sizes for t in truth]).max(axis=1, initial=0)


def _magnitudes(fields: "Sequence[Field]") -> NDArray[np.float64] | None:
    unknown = [np.full(len(f.boxes), np.nan) if f.magnitudes is None else f.magnitudes for f in fields]
    magnitudes = np.concatenate(unknown)
    return magnitudes if np.isfinite(magnitudes).any() else None


def _steps(magnitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges of half a magnitude around all that are known."""
    first = np.floor(np.nanmin(magnitudes) / _MAGNITUDE_STEP)
    last = np.floor(np.nanmax(magnitudes) / _MAGNITUDE_STEP) + 1
    return np.arange(first, last + 1) * _MAGNITUDE_STEP
