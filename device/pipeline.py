"""One frame through all stages, from what the camera gave to what its galaxies are.

Calibrate, mend hot pixels, judge, stack or demosaic, level the sky, view, detect, crop, classify. Each stage is a
function or a small object of its own; here they are only wired. What finds galaxies and what names them can be anything
that keeps their shapes; a bundle's networks are put there by `Pipeline.from_bundle`.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from edgegal.bundle import Bundle
from edgegal.detections import Detections
from edgegal.device.background import measure_background, subtract_background
from edgegal.device.controls import Controls, Thresholds
from edgegal.device.cosmetic import CosmeticCorrection
from edgegal.device.quality import FrameQuality, Judge, frame_quality
from edgegal.device.stacking import LiveStack, Stacked
from edgegal.device.stars import measure_field
from edgegal.device.supervision import beat
from edgegal.errors import FrameError
from edgegal.frames import Frame, View
from edgegal.inference import ALWAYS_ANSWER, Abstention, Detector, galaxy_crops, open_classifier, open_detector
from edgegal.preprocess import Stretch, as_view, debayer, stretch_linear

__all__ = ["FrameResult", "Naming", "Pipeline", "StageTimes", "thresholds_of"]


@dataclass(frozen=True)
class StageTimes:
    """Seconds that one frame took in each stage; 0 where a stage is off.

    Attributes
    ----------
    wait
        Until the frame was there: for the sky, the camera, the network. It is no stage and in no total.
    """

    wait: float = 0.0
    read: float = 0.0
    calibrate: float = 0.0
    hot_pixels: float = 0.0
    judge: float = 0.0
    stack: float = 0.0
    debayer: float = 0.0
    background: float = 0.0
    view: float = 0.0
    detect: float = 0.0
    crop: float = 0.0
    classify: float = 0.0
    track: float = 0.0
    locate: float = 0.0
    sink: float = 0.0

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Stages in the order they run."""
        return tuple(f.name for f in fields(cls) if f.name != "wait")

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
        The frame, calibrated; where frames are not stacked also demosaiced and levelled. Of a stacked one the pixels
        are 0 where they are not kept.
    view
        What the detector saw, of the frame or of the stack.
    detections
        Boxes in pixels of the view.
    probabilities
        ``(n, classes)``; no column without a classifier.
    times
        Seconds by stage; reading, tracking, locating and sinks are not the pipeline's and stay 0.
    quality
        Of the single frame; None where frames are neither judged nor stacked.
    stacked
        What it made of the stack; None where frames are not stacked.
    level_sky
        Whether the unevenness of the sky was taken from the view.
    dropped
        Frames of the run so far that the camera gave and nobody had time for.
    """

    frame: Frame
    view: View
    detections: Detections
    probabilities: NDArray[np.float32]
    times: StageTimes
    quality: FrameQuality | None = None
    stacked: Stacked | None = None
    level_sky: bool = False
    dropped: int = 0

    def picture(self) -> Frame:
        """What the view shows, before it was stretched; of a stack, what it has become since."""
        if self.stacked is None:
            return self.frame
        picture = self.stacked.stack.picture()
        return _levelled(picture) if self.level_sky and picture.linear else picture


class _Stopwatch:
    def __init__(self) -> None:
        self._last = perf_counter()
        self._seconds: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """Book what passed since the last lap to `stage`."""
        beat()
        now = perf_counter()
        self._seconds[stage], self._last = now - self._last, now

    def times(self) -> StageTimes:
        """All laps."""
        return StageTimes(**self._seconds)


class _BeatingDetector(Detector):
    """Says with each tile that it goes on: a large frame keeps a small computer busy for longer than a stall takes."""

    def __call__(self, tile: View, score_threshold: float | None = None) -> Detections:
        beat()
        return super().__call__(tile, score_threshold)


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
    cosmetic
        Mends hot pixels of linear frames.
    judge
        Keeps bad frames of a night out; it keeps state from frame to frame.
    level_sky
        Whether the unevenness of the sky is subtracted from linear frames.
    keep_single
        Whether results hold the pixels of the frame beside the stack.
    """

    detect: Callable[[View], Detections]
    stretch: Stretch = Stretch()
    naming: Naming | None = None
    calibrate: Callable[[Frame], Frame] | None = None
    stack: LiveStack | None = None
    cosmetic: CosmeticCorrection | None = None
    judge: Judge | None = None
    level_sky: bool = False
    keep_single: bool = True

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
        controls: Controls | None = None,
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
        controls
            Dials whose threshold takes the place of `score`, from frame to frame.

        Raises
        ------
        InputError, MissingPartError, BundleError
            The bundle has no detector, the other one no classifier, one was changed, or the runtime is unknown, absent
            or unfit.
        """
        opened = open_detector(bundle, runtime, precision, threads)
        detector = _BeatingDetector(opened.stage, opened.variant, opened.runtime, opened.anchors)
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

        def detect(view: View) -> Detections:
            thresholds = controls.now.thresholds if controls else None
            return detector.galaxies(view, thresholds.score if thresholds else score)

        return cls(detect, detector.stage.preprocess.stretch, naming, calibrate, stack)

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
            The frame holds nothing to see, is a bad one by the judge, or does not register; the next may.
        """
        watch = _Stopwatch()
        frame = self._mended(frame, watch)
        quality, stacked = self._stacked(frame, watch)
        if stacked is None:
            frame = self._evened(frame, watch)
        elif not self.keep_single:
            frame = frame.without_pixels()
        see = self._seeing(frame, stacked, watch)
        view = see(self.stretch)
        watch.lap("view")
        detections = self.detect(view)
        watch.lap("detect")
        probabilities = self._named(view, see, detections, watch)
        return FrameResult(frame, view, detections, probabilities, watch.times(), quality, stacked, self.level_sky)

    def _mended(self, frame: Frame, watch: _Stopwatch) -> Frame:
        if self.calibrate is not None:
            frame = self.calibrate(frame)
            watch.lap("calibrate")
        if self.cosmetic is not None and frame.linear:
            frame = self.cosmetic(frame, overwrite=self.calibrate is not None).frame
            watch.lap("hot_pixels")
        return frame

    def _stacked(self, frame: Frame, watch: _Stopwatch) -> tuple[FrameQuality | None, Stacked | None]:
        if self.judge is None and self.stack is None:
            return None, None
        field = measure_field(frame)
        quality = frame_quality(field)
        if self.judge is not None and not (verdict := self.judge(quality)).good:
            raise FrameError(f"{frame.source} is left out: {verdict.reason}")
        watch.lap("judge")
        if self.stack is None:
            return quality, None
        stacked = self.stack.push(frame, field)
        watch.lap("stack")
        return quality, stacked

    def _evened(self, frame: Frame, watch: _Stopwatch) -> Frame:
        if frame.bayer is not None and frame.pixels.ndim == 2:
            frame = replace(frame, pixels=debayer(frame.pixels, frame.bayer), bayer=None)
            watch.lap("debayer")
        if self.level_sky and frame.linear:
            frame = _levelled(frame)
            watch.lap("background")
        return frame

    def _seeing(self, frame: Frame, stacked: Stacked | None, watch: _Stopwatch) -> Callable[[Stretch], View]:
        """How the frame, or the stack, looks by a stretch."""
        if stacked is None:
            return lambda stretch: as_view(frame, stretch)
        if frame.linear and not self.level_sky:
            # Never whole: beside its sums, its picture would be the largest thing in memory.
            return lambda stretch: stretch_linear(stacked.stack, stretch)
        picture = stacked.stack.picture()
        if self.level_sky and frame.linear:
            picture = _levelled(picture)
            watch.lap("background")
        return lambda stretch: as_view(picture, stretch)

    def _named(
        self, view: View, see: Callable[[Stretch], View], detections: Detections, watch: _Stopwatch
    ) -> NDArray[np.float32]:
        if self.naming is None:
            return np.zeros((len(detections), 0), np.float32)
        # Usually both networks were trained on one stretch, and one view serves them.
        same = self.naming.stretch == self.stretch
        crops = self.naming.crop(view if same else see(self.naming.stretch), detections)
        watch.lap("crop")
        probabilities = self.naming.classify(crops)
        watch.lap("classify")
        return probabilities


def _levelled(frame: Frame) -> Frame:
    return replace(frame, pixels=subtract_background(frame.pixels, measure_background(frame.pixels)))


def thresholds_of(
    bundle: Bundle, score: float | None = None, abstain_below: float | None = None, classifiers: Bundle | None = None
) -> Thresholds | None:
    """Where the thresholds of a run begin: what is asked for, else what the bundle says; None without a detector.

    Parameters
    ----------
    bundle, score, abstain_below, classifiers
        As `Pipeline.from_bundle` takes them.
    """
    detector, classifier = bundle.manifest.detector, (classifiers or bundle).manifest.classifier
    if detector is None:
        return None
    careful = _overridden(Abstention.of(classifier), abstain_below, None) if classifier else ALWAYS_ANSWER
    return Thresholds(detector.score_threshold if score is None else score, careful.abstain_below)


def _overridden(own: Abstention, abstain_below: float | None, min_side_px: float | None) -> Abstention:
    if abstain_below is not None:
        own = replace(own, abstain_below=abstain_below)
    return own if min_side_px is None else replace(own, min_side_px=min_side_px)
