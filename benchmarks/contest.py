"""Detectors that are measured side by side: those of bundles, and the classical method."""

from collections.abc import Callable
from dataclasses import dataclass

from edgegal.benchmarks.classical import ClassicalDetector
from edgegal.bundle import Bundle
from edgegal.detections import Detections
from edgegal.frames import View
from edgegal.inference import open_detector
from edgegal.preprocess import Stretch

__all__ = ["SCORE_FLOOR", "Contestant", "classical", "of_bundle"]

SCORE_FLOOR = 0.05
"""A detector is judged on all it finds down to this score, and besides on what it reports."""


@dataclass(frozen=True)
class Contestant:
    """A detector: callable on a view of any size.

    Attributes
    ----------
    name
        What it is called in tables.
    description
        What it is and what it ran on.
    threshold
        Score above which it reports.
    detect
        Detections on a view down to a score.
    """

    name: str
    description: str
    threshold: float
    detect: Callable[[View, float], Detections]

    def __call__(self, view: View) -> Detections:
        """What it reports."""
        return self.detect(view, self.threshold)

    def everything(self, view: View) -> Detections:
        """What it finds, down to low scores."""
        return self.detect(view, SCORE_FLOOR)


def of_bundle(bundle: Bundle, runtime: str | None = None, precision: str | None = None, threads: int = 1) -> Contestant:
    """The detector of a bundle; errors as `edgegal.inference.open_detector`."""
    detector = open_detector(bundle, runtime, precision, threads)
    ran = f"{detector.runtime.name} {detector.runtime.version}, {threads} thread{'s' if threads > 1 else ''}"
    return Contestant(
        f"{bundle.manifest.name} {detector.variant.name}",
        f"{detector.stage.provenance.architecture}; {ran}, executed in {detector.runtime.executed_precision()}",
        detector.stage.score_threshold,
        detector.detect,
    )


def classical(stretch: Stretch = Stretch()) -> Contestant:
    """Extraction by sep and a star-galaxy cut."""
    return Contestant(
        "sep",
        "sep extraction and star-galaxy cut",
        ClassicalDetector(stretch).threshold,
        lambda view, threshold: ClassicalDetector(stretch, threshold)(view),
    )
