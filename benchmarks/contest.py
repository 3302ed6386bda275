"""Detectors that are measured side by side: those of bundles, and the classical method."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from edgegal.benchmarks.classical import FITTED, ClassicalDetector
from edgegal.benchmarks.comparison.figures import SCORE_FLOOR
from edgegal.detections import Detections
from edgegal.frames import View
from edgegal.inference import Detector
from edgegal.preprocess import Stretch
from edgegal.slicing import Merge

__all__ = ["Contestant", "classical", "network"]


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


def network(name: str, detector: Detector, threads: int, merge: Merge = "nms") -> Contestant:
    """The detector of a bundle that is called `name`; `merge` as `edgegal.slicing.Slicing` has it."""
    ran = f"{detector.runtime.name} {detector.runtime.version}, {threads} thread{'s' if threads > 1 else ''}"
    return Contestant(
        f"{name} {detector.variant.name}",
        f"{detector.stage.provenance.architecture}; {ran}, executed in {detector.runtime.executed_precision()}",
        detector.stage.score_threshold,
        lambda view, threshold: detector.detect(view, threshold, merge),
    )


def classical(stretch: Stretch = Stretch()) -> Contestant:
    """Extraction by sep and a star-galaxy cut."""
    return Contestant(
        "sep",
        "sep extraction and star-galaxy cut",
        FITTED.threshold,
        lambda view, threshold: ClassicalDetector(stretch, replace(FITTED, threshold=threshold))(view),
    )
