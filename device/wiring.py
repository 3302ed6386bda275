"""The parts of a run put together as the settings say: source, stages, sinks, page, and what stands in for each.

What only some runs need is imported when such a run is put together: a device pays for nothing that it does not use.
"""

import logging
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgegal import zoo
from edgegal.bundle import Bundle
from edgegal.device.calibration import Calibration, read_calibration
from edgegal.device.controls import Controls
from edgegal.device.cosmetic import CosmeticCorrection, bad_pixels_of_dark
from edgegal.device.effects import check_effects
from edgegal.device.health import HealthMonitor
from edgegal.device.locating import Locator, Solver
from edgegal.device.memory import give_memory_back, trim
from edgegal.device.pipeline import Pipeline, thresholds_of
from edgegal.device.quality import Judge
from edgegal.device.retention import Limits
from edgegal.device.service import ClockWatch, Notifier, stamped
from edgegal.device.session import Progress, Spares, Summary, observe
from edgegal.device.sinks import AnnotatedPictures, SightingLog, Sink
from edgegal.device.sinks.crops import KeptCrops
from edgegal.device.sinks.database import SightingDatabase
from edgegal.device.sinks.enduring import Enduring, RoomKeeper
from edgegal.device.sinks.facts import RunFacts
from edgegal.device.sources import Source, open_source
from edgegal.device.stacking import LiveStack
from edgegal.device.tracking import Tracker
from edgegal.errors import InputError
from edgegal.frames import Frame
from edgegal.settings import KeepSettings, Settings

if TYPE_CHECKING:
    from edgegal.device.web import Live
    from edgegal.device.web.server import Page

__all__ = ["Wired", "wired"]

_log = logging.getLogger(__name__)

# A card is full after a night of pictures of every frame.
_LIVE_PICTURES_EVERY_S = 60.0
_LIVE_NEWS_EVERY_S = 10.0


@dataclass(frozen=True)
class Wired:
    """A run that is ready to begin.

    Attributes
    ----------
    page
        Its page, which is served already; None where none is wanted.
    observe
        Does the run.
    """

    page: "Page | None"
    observe: Callable[[], Summary]


@contextmanager
def wired(settings: Settings, asked: Collection[str] = ()) -> Iterator[Wired]:
    """Put a run together; its page is there until the end of the context.

    Parameters
    ----------
    settings
        Flags and file together.
    asked
        Names of the parameters that were given as flags: one without effect is refused, where a file's is warned of.

    Raises
    ------
    InputError, MissingPartError, BundleError
        A setting names something that is absent or unfit; nothing was written then.
    """
    address = settings.run.source
    if address is None:
        raise InputError("no source of frames", "give one: a picture, a folder, the address of a camera, or sim:")
    if settings.run.out is not None:
        _check_writable(settings.run.out)
    give_memory_back()
    wait = settings.watch.wait
    patient = "NOTIFY_SOCKET" in os.environ if wait is None else wait
    notifier = Notifier.from_environment()
    with ExitStack() as held:
        held.callback(notifier.close)
        source = open_source(address, patient)
        # The run closes it by itself: twice would be waited for twice, where a driver hangs.
        unused = held.enter_context(ExitStack())
        unused.callback(source.close)
        stages = _Stages(settings)
        classifies = settings.run.classifier is not None or stages.bundle.manifest.classifier is not None
        check_effects(settings, asked, source, classifies)
        stages.read_masters(notifier.starting)
        health = HealthMonitor(_existing(settings.run.out or Path()))
        # The name that a source goes by has no password in it; its address may.
        facts = RunFacts.of(source.name, stages.bundle, stages.stretch)
        outlets = _Outlets(settings, facts, _locator(settings), health, source.live)
        notifier.starting("opening the networks")
        # A runtime that is absent must not leave a page's first password stored, and never shown.
        pipeline = stages.pipeline()
        trim()
        page = None
        if settings.run.web:
            live = outlets.show_page(source.name, stages.controls)
            page = held.enter_context(_page(live, settings))

        def run() -> Summary:
            unused.pop_all()
            return _observe(settings, source, pipeline, stages, outlets, health, notifier)

        yield Wired(page, run)


def _observe(
    settings: Settings,
    source: Source,
    pipeline: Pipeline,
    stages: "_Stages",
    outlets: "_Outlets",
    health: HealthMonitor,
    notifier: Notifier,
) -> Summary:
    clock = ClockWatch()

    def look(progress: Progress) -> None:
        notifier.ready()
        notifier.beat()
        notifier.status(_status(progress))
        if source.live:
            clock.check()

    if source.live:
        clock.check()
        source = _Timed(source, clock)
    address = settings.run.source or source.name
    spares = Spares(
        lambda: _Timed(open_source(address, patient=True), clock),
        stages.pipeline,
        outlets.makers,
        settings.watch.stall_after,
        settings.watch.reopen_after,
    )
    tracker = Tracker(pipeline.labels, pipeline.abstention, agree=settings.sightings.agree)
    with ExitStack() as held:
        held.callback(notifier.stopping)
        # Files are soon read, and nobody asks how the computer was.
        if source.live or settings.run.web or settings.mqtt.broker:
            held.enter_context(health)
        summary = observe(
            source,
            pipeline,
            outlets.sinks,
            tracker,
            settings.run.limit,
            outlets.locator,
            stages.controls,
            spares,
            look,
        )
    for sink in outlets.sinks:
        if isinstance(sink, Enduring) and sink.failures:
            _log.error("%s: it could not be written %d times, and some of it may be missing", sink.name, sink.failures)
    return summary


class _Timed(Source):
    """Marks what a live source gives by a clock that may be wrong; cameras that tell the time themselves are left."""

    live = True

    def __init__(self, source: Source, clock: ClockWatch) -> None:
        self.name = source.name
        self.stream = source.stream
        self.keeps = source.keeps
        self._source = source
        self._clock = clock

    def __next__(self) -> Frame:
        frame = next(self._source)
        self.arrived = self._source.arrived
        return frame if frame.time is None or "DATE-OBS" in frame.header else stamped(frame, self._clock.mark)

    def reach(self) -> None:
        self._source.reach()

    def close(self) -> None:
        self._source.close()


def _status(progress: Progress) -> str:
    line = f"{progress.frames} frames, {progress.skips} skipped, {progress.dropped} dropped"
    return f"{line}; {progress.galaxies} galaxies in view; {progress.restarts} restarts"


def _check_writable(out: Path) -> None:
    """`InputError` unless a folder is there or can be made: a night that leaves nothing is not begun."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is no folder", "name a folder with --out")
    if not os.access(_existing(out), os.W_OK | os.X_OK):
        raise InputError(f"nothing can be written in {_existing(out)}", "name another folder with --out")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there: the output folder is made with the first frame."""
    return next((path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir()), Path("/"))


def _locator(settings: Settings) -> Locator:
    catalogue, solve = None, None
    if settings.sightings.catalogue is not None:
        from edgegal.device.catalogue import read_catalogue

        catalogue = read_catalogue(settings.sightings.catalogue)
    if settings.sightings.solve and settings.frames.stack:
        solve = _solver()
    return Locator(catalogue, solve)


def _solver() -> Solver:
    from edgegal.device.plate_solving import AstapSolver

    return AstapSolver.installed()


def _page(live: "Live", settings: Settings) -> "Page":
    from edgegal.device.web import open_page

    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return open_page(live, settings.web.address, Path(state) if state else settings.run.out, settings.web.names)


class _Stages:
    """Makes the pipeline, again and again if need be."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.bundle = zoo.resolve(settings.run.bundle)
        self._classifiers: Bundle | None = zoo.resolve(settings.run.classifier) if settings.run.classifier else None
        detector = self.bundle.manifest.detector
        if detector is None:
            raise InputError(f"bundle {self.bundle.manifest.name} has no detector", "take one that has a detector")
        self.stretch = detector.preprocess.stretch
        run = settings.run
        self.controls = Controls(
            self.stretch, thresholds_of(self.bundle, run.score, run.abstain_below, self._classifiers)
        )
        self._calibration: Calibration | None = None

    def read_masters(self, progress: Callable[[str], None]) -> None:
        """Read bias, dark and flat, or make them of folders of exposures, which takes minutes."""
        frames = self._settings.frames
        self._calibration = read_calibration(frames.dark, frames.flat, frames.bias, progress)

    def pipeline(self) -> Pipeline:
        """The stages, fresh."""
        run, frames = self._settings.run, self._settings.frames
        pipeline = Pipeline.from_bundle(
            self.bundle,
            run.runtime,
            run.precision,
            run.threads,
            run.score,
            # What it subtracted last is remembered by each one for itself.
            self._calibration and replace(self._calibration),
            LiveStack(frames.stack) if frames.stack else None,
            run.abstain_below,
            run.min_side,
            self._classifiers,
            self.controls,
        )
        judged = bool(frames.stack) if frames.judge is None else frames.judge
        return replace(
            pipeline,
            cosmetic=_cosmetic(self._calibration) if frames.hot_pixels else None,
            judge=Judge() if judged else None,
            level_sky=frames.level_sky,
            # Only the page shows it.
            keep_single=run.web,
        )


def _cosmetic(calibration: Calibration | None) -> CosmeticCorrection:
    dark = calibration.dark if calibration else None
    if dark is None or dark.pixels.ndim != 2:
        return CosmeticCorrection()
    return CosmeticCorrection(bad_pixels_of_dark(dark.pixels, 2 if dark.bayer else 1))


def _paces(keep: KeepSettings, live: bool) -> tuple[float, float | None]:
    """Seconds from picture to picture, and the same for news."""
    if keep.pictures_every is not None or not live:
        return keep.pictures_every or 0.0, keep.news_every
    return _LIVE_PICTURES_EVERY_S, _LIVE_NEWS_EVERY_S if keep.news_every is None else keep.news_every


class _Outlets:
    """The sinks of a run, and how each is made anew."""

    def __init__(self, settings: Settings, run: RunFacts, locator: Locator, health: HealthMonitor, live: bool) -> None:
        self.locator = locator
        self._health = health
        self.sinks: list[Sink] = []
        self.makers: list[Callable[[], Sink]] = []
        # One that hung may still be looking at a view.
        self._given_up = False
        out, keep = settings.run.out, settings.keep
        if out is not None:
            room = RoomKeeper(out, Limits(keep.days, keep.free_mb * 10**6))
            make_room = room.make_room
            self._add(lambda: Enduring(SightingLog(out, run.id, locator), "sightings.jsonl", make_room))
            self._add(
                lambda: Enduring(
                    SightingDatabase(out / "sightings.sqlite", run, locator), "sightings.sqlite", make_room
                )
            )
            if keep.crops_below:
                self._add(
                    lambda: Enduring(
                        KeptCrops(out / "crops", run, keep.crops_below, ask=locator), "pictures of galaxies", make_room
                    )
                )
            self._add(lambda: room)
        if settings.mqtt.broker is not None:
            self._add(self._mqtt_maker(settings, run))
        if out is not None:
            # What takes long comes after what was seen: a stack's file on a slow card keeps neither waiting.
            if settings.frames.stack:
                from edgegal.device.sinks.stacked import StackedFits

                self._add(
                    lambda: Enduring(
                        StackedFits(out / "stacks", run, locator, keep.stacks_every), "the stack", make_room
                    )
                )
            # The last, for it may draw on what the others have looked at; the page goes on looking.
            paces, alone = _paces(keep, live), lambda: not settings.run.web and not self._given_up
            self._add(
                lambda: Enduring(AnnotatedPictures(out / "frames", *paces, overwrite=alone), "pictures", make_room)
            )

    def show_page(self, source: str, controls: Controls) -> "Live":
        """Add the page's view of the run."""
        from edgegal.device.web import Live

        live = Live(source, controls, self._health.latest, self._mark_false, self.locator)
        self._add(lambda: live)
        return live

    def _mqtt_maker(self, settings: Settings, run: RunFacts) -> Callable[[], Sink]:
        from edgegal.device.sinks.mqtt import Broker, MqttSink

        assert settings.mqtt.broker is not None
        broker = Broker.parse(settings.mqtt.broker, settings.mqtt.authority)
        home_assistant = settings.mqtt.home_assistant
        return lambda: MqttSink(broker, run, self.locator, self._temperature, home_assistant)

    def _temperature(self) -> float | None:
        report = self._health.latest()
        hottest = report.health.hottest if report else None
        return hottest[1] if hottest else None

    def _add(self, make: Callable[[], Sink]) -> None:
        place = len(self.sinks)

        def renew() -> Sink:
            self._given_up = True
            self.sinks[place] = make()
            return self.sinks[place]

        self.sinks.append(make())
        self.makers.append(renew)

    def _mark_false(self, sighting: int) -> None:
        for sink in tuple(self.sinks):
            sink.mark_false(sighting)
