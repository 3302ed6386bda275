"""One frame through all stages: calibrate, stack, view, detect, crop, classify.

The stages are callables, so what finds galaxies and what names them can be anything that keeps their shapes; a bundle's
networks are put together by `Pipeline.from_bundle`.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from edgegal.bundle import Bundle
from edgegal.detections import Detections
from edgegal.device.stacking import LiveStack
from edgegal.frames import Frame, View
from edgegal.inference import ALWAYS_ANSWER, Abstention, galaxy_crops, open_classifier, open_detector
from edgegal.preprocess import Stretch, as_view

__all__ = ["FrameResult", "Naming", "Pipeline", "StageTimes"]


@dataclass(frozen=True)
class StageTimes:
    """Seconds that one frame took in each stage; 0 where a stage is off."""

    read: float = 0.0
    calibrate: float = 0.0
    stack: float = 0.0
    view: float = 0.0
    detect: float = 0.0
    crop: float = 0.0
    classify: float = 0.0
    track: float = 0.0
    sink: float = 0.0

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Stages in the order they run."""
        return tuple(f.name for f in fields(cls))

    @property
    def total(self) -> float:
        """Seconds of all stages together."""
        return float(sum(getattr(self, name) for name in self.names()))


@dataclass(frozen=True)
class Naming:
    """The second stage: what a detected galaxy is.

    Attributes
    ----------
    labels
        Class names.
    crop
        Maps a view and its detections to crops ``(n, size, size, 3)`` uint8 RGB.
    classify
        Maps crops to probabilities ``(n, len(labels))``.
    stretch
        Makes the view the crops are cut from.
    abstention
        When a galaxy gets no class.
    """

    labels: tuple[str, ...]
    crop: Callable[[View, Detections], View]
    classify: Callable[[View], NDArray[np.float32]]
    stretch: Stretch = Stretch()
    abstention: Abstention = ALWAYS_ANSWER


@dataclass(frozen=True)
class FrameResult:
    """What one frame gave.

    Attributes
    ----------
    frame
        The frame, calibrated and stacked when asked for.
    view
        What the detector saw.
    detections
        Boxes in pixels of the view.
    probabilities
        ``(n, classes)``; no column without a classifier.
    times
        Seconds by stage; reading, tracking and sinks are not the pipeline's and stay 0.
    """

    frame: Frame
    view: View
    detections: Detections
    probabilities: NDArray[np.float32]
    times: StageTimes


class _Stopwatch:
    def __init__(self) -> None:
        self._last = perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = perf_counter()
        seconds, self._last = now - self._last, now
        return seconds


@dataclass(frozen=True)
class Pipeline:
    """The stages.

    Attributes
    ----------
    detect
        Maps a view to detections in its pixels.
    stretch
        Makes the view of a linear frame.
    naming
        What names the galaxies, if anything.
    calibrate
        Maps a raw frame to a calibrated one.
    stack
        Running stack of the frames; it keeps state from frame to frame.
    """

    detect: Callable[[View], Detections]
    stretch: Stretch = Stretch()
    naming: Naming | None = None
    calibrate: Callable[[Frame], Frame] | None = None
    stack: LiveStack | None = None

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle,
        runtime: str | None = None,
        precision: str | None = None,
        threads: int = 1,
        score: float | None = None,
        calibrate: Callable[[Frame], Frame] | None = None,
        stack: LiveStack | None = None,
        abstain_below: float | None = None,
        min_side_px: float | None = None,
        classifiers: Bundle | None = None,
    ) -> Self:
        """The stages of a bundle: its detector, and its classifier where it has one.

        Parameters
        ----------
        bundle
            An opened bundle.
        runtime, precision, threads
            As `edgegal.inference.open_detector` takes them.
        score
            Least detection score; the bundle's own when None.
        calibrate, stack
            As the attributes.
        abstain_below, min_side_px
            As `edgegal.inference.Abstention` has them; the bundle's own when None.
        classifiers
            Another bundle to take the classifier from.

        Raises
        ------
        InputError, MissingPartError, BundleError
            The bundle has no detector, the other one no classifier, one was changed, or the runtime is unknown, absent
            or unfit.
        """
        detector = open_detector(bundle, runtime, precision, threads)
        naming = None
        if classifiers is not None or bundle.manifest.classifier is not None:
            classifier = open_classifier(classifiers or bundle, runtime, precision, threads)
            naming = Naming(
                classifier.stage.labels,
                lambda view, found: galaxy_crops(view, found, classifier.stage),
                classifier,
                classifier.stage.preprocess.stretch,
                _overridden(Abstention.of(classifier.stage), abstain_below, min_side_px),
            )
        return cls(
            lambda view: detector.galaxies(view, score), detector.stage.preprocess.stretch, naming, calibrate, stack
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names of the probabilities; none without a classifier."""
        return self.naming.labels if self.naming else ()

    @property
    def abstention(self) -> Abstention:
        """When a galaxy gets no class; never without a classifier."""
        return self.naming.abstention if self.naming else ALWAYS_ANSWER

    def __call__(self, frame: Frame) -> FrameResult:
        """Take one frame through the stages.

        Raises
        ------
        FrameError
            The frame holds nothing to see or does not register; the next may.
        """
        watch = _Stopwatch()
        if self.calibrate is not None:
            frame = self.calibrate(frame)
        calibrated = watch.lap()
        if self.stack is not None:
            frame = self.stack.add(frame)
        stacked = watch.lap()
        view = as_view(frame, self.stretch)
        viewed = watch.lap()
        detections = self.detect(view)
        detected = watch.lap()
        probabilities = np.zeros((len(detections), 0), np.float32)
        cropped = classified = 0.0
        if self.naming is not None:
            # Usually both networks were trained on one stretch, and one view serves them.
            same = self.naming.stretch == self.stretch
            crops = self.naming.crop(view if same else as_view(frame, self.naming.stretch), detections)
            cropped = watch.lap()
            probabilities = self.naming.classify(crops)
            classified = watch.lap()
        times = StageTimes(
            calibrate=calibrated,
            stack=stacked,
            view=viewed,
            detect=detected,
            crop=cropped,
            classify=classified,
        )
        return FrameResult(frame, view, detections, probabilities, times)


def _overridden(own: Abstention, abstain_below: float | None, min_side_px: float | None) -> Abstention:
    if abstain_below is not None:
        own = replace(own, abstain_below=abstain_below)
    return own if min_side_px is None else replace(own, min_side_px=min_side_px)
