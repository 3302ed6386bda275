"""A run: frames from a source through the pipeline and the tracker into sinks, until they end or someone stops it.

Three threads share the work: one reads, one takes frames through the pipeline, one tracks, locates and writes. Each
waits for the one after it, but a camera waits for nobody: its newest frame takes the place of one that nobody had time
for. A thread that hangs or breaks is begun anew where the run knows how to make its objects again, see `Spares`.
"""

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from queue import Queue
from time import monotonic, perf_counter
from types import FrameType
from typing import Any

import numpy as np

from edgegal.device.controls import Controls
from edgegal.device.handover import Arrival, Handover
from edgegal.device.locating import Locator
from edgegal.device.pipeline import FrameResult, Pipeline, StageTimes
from edgegal.device.sinks import Sink
from edgegal.device.sources import Source
from edgegal.device.supervision import Pulse, Stage, Stall, Supervisor
from edgegal.device.tracking import Sighting, Tracker
from edgegal.errors import EdgegalError, FrameError, InputError

__all__ = ["Progress", "Spares", "Summary", "observe", "stop_signals"]

_log = logging.getLogger(__name__)

# What a run remembers of itself does not grow with the night.
_TIMES_KEPT = 2_000
_SKIPS_KEPT = 1_000
_ENDED_KEPT = 5_000

_LOOK_S = 0.25
# Someone who stops a run, such as a service manager, waits five seconds for everything.
_STOP_S = 4.0
_STAGES_STOP_S = 3.0
# Loading and warming up networks takes a small computer far longer than using them.
_OPENING_S = 120.0
_CLOSING_S = 60.0
# No step of a frame is so much slower than the slowest before.
_SLOWER = 3

_UNUSED = "mend that, or give frames of another kind"


@dataclass(frozen=True)
class Summary:
    """What a run gave.

    Attributes
    ----------
    source
        Name of the source.
    frames
        Frames that went through all stages.
    skipped
        One line for each frame that did not, in order; the last thousand of them.
    sightings
        All sightings, by number; of very many that have ended, the last five thousand.
    times
        Seconds by stage, one entry a frame; of the last two thousand frames.
    interrupted
        Whether someone stopped it.
    skips
        Frames that did not go through all stages.
    dropped
        Frames that a camera gave and nobody had time for.
    restarts
        One line for each time that a stage was begun anew; the last hundred.
    """

    source: str
    frames: int
    skipped: tuple[str, ...]
    sightings: tuple[Sighting, ...]
    times: tuple[StageTimes, ...]
    interrupted: bool
    skips: int = 0
    dropped: int = 0
    restarts: tuple[str, ...] = ()

    def latency_ms(self, quantile: float = 0.5) -> dict[str, float]:
        """Milliseconds by stage and ``total`` at a quantile over frames, without waiting; empty without frames."""
        if not self.times:
            return {}
        columns = {name: [getattr(t, name) for t in self.times] for name in StageTimes.names()}
        columns["total"] = [t.total for t in self.times]
        return {name: 1000 * float(np.quantile(values, quantile)) for name, values in columns.items()}

    @property
    def median_wait_ms(self) -> float | None:
        """Milliseconds that a frame was waited for; None without frames."""
        return round(1000 * float(np.median([t.wait for t in self.times])), 3) if self.times else None

    def document(self) -> dict[str, Any]:
        """The summary as plain JSON values."""
        return {
            "source": self.source,
            "frames": self.frames,
            "skips": self.skips,
            "skipped": list(self.skipped),
            "dropped": self.dropped,
            "restarts": list(self.restarts),
            "interrupted": self.interrupted,
            "latency_ms": {
                key: {name: round(ms, 3) for name, ms in self.latency_ms(q).items()}
                for key, q in (("median", 0.5), ("p95", 0.95))
            },
            "median_wait_ms": self.median_wait_ms,
            "sightings": [s.document() for s in self.sightings],
        }


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    frames, skips, dropped
        As in `Summary`, so far.
    galaxies
        Sightings that have not ended.
    restarts
        Times that a stage was begun anew.
    """

    frames: int = 0
    skips: int = 0
    dropped: int = 0
    galaxies: int = 0
    restarts: int = 0


@dataclass(frozen=True)
class Spares:
    """How the parts of a run are made again when one hangs or breaks; what has no spare ends the run.

    Attributes
    ----------
    source
        Opens a live source again, without waiting for it.
    pipeline
        Makes the stages again. A stack begins anew with them.
    sinks
        Make the sinks again, in the order of the sinks; none, or one for each.
    stall_s
        Seconds without progress after which a stage is taken for stuck, or three times the longest that a frame needed
        where that is more. The first frame, which warms the networks up, has two minutes at least.
    silence_s
        Seconds without a frame after which a live source is opened again; None to leave it to the source.
    """

    source: Callable[[], Source] | None = None
    pipeline: Callable[[], Pipeline] | None = None
    sinks: Sequence[Callable[[], Sink]] = ()
    stall_s: float = 10.0
    silence_s: float | None = None


def observe(
    source: Source,
    pipeline: Pipeline,
    sinks: Sequence[Sink] = (),
    tracker: Tracker | None = None,
    limit: int | None = None,
    locator: Locator | None = None,
    controls: Controls | None = None,
    spares: Spares | None = None,
    on_look: Callable[[Progress], None] | None = None,
) -> Summary:
    """Run until the source ends, `limit` frames were taken from it, or an interrupt (Ctrl-C) arrives.

    A frame of a stream that cannot be read or used is logged, counted and skipped. After an interrupt everything that
    went through the pipeline is written and the sinks are closed, within five seconds.

    Parameters
    ----------
    source
        Opened source; closed at the end, whatever happens.
    pipeline
        The stages.
    sinks
        Where sightings go; closed at the end, whatever happens.
    tracker
        What joins detections over frames; one with the pipeline's labels and abstention when None.
    limit
        Frames to take at most, the skipped ones counted and the dropped ones not.
    locator
        Told each frame before the sinks get it.
    controls
        Dials whose threshold for abstaining the tracker follows.
    spares
        What stands in for parts that hang or break; nothing when None.
    on_look
        Called a few times a second in the caller's thread while no stage is stuck: for watchdogs.

    Raises
    ------
    FrameError
        The only frame of a source that is no stream is bad.
    InputError
        Not one frame of a stream could be used.
    StageFailedError
        A stage was begun anew again and again.
    """
    run = _Run(source, pipeline, sinks, tracker, limit, locator or Locator(), controls, spares or Spares())
    interrupted = False
    try:
        run.work(on_look or (lambda _: None))
    except KeyboardInterrupt:
        interrupted = True
    except BaseException:
        for fault in run.stop():
            _log.error("%s", fault)
        raise
    for fault in run.stop():
        raise fault
    summary = run.summary(interrupted)
    if summary.skips and not summary.frames and not interrupted:
        raise InputError(f"no frame of {source.name} could be used; the first: {summary.skipped[0]}", _UNUSED)
    return summary


@contextmanager
def stop_signals() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM, which service managers send, raise KeyboardInterrupt once; main thread only.

    A second one ends the process at once: what was synced to disk stays, and nothing else.
    """
    came = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if came.is_set():
            os._exit(130)
        came.set()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class _Ledger:
    """What a run remembers of itself; only the writing thread adds to it."""

    frames: int = 0
    skips: int = 0
    skipped: deque[str] = field(default_factory=lambda: deque(maxlen=_SKIPS_KEPT))
    times: deque[StageTimes] = field(default_factory=lambda: deque(maxlen=_TIMES_KEPT))
    ended: deque[Sighting] = field(default_factory=lambda: deque(maxlen=_ENDED_KEPT))


class _Patience:
    """How long a call may go without a beat: as `Spares.stall_s` says.

    On a small computer one step of a large frame takes longer than a stall does elsewhere.
    """

    def __init__(self, stall_s: float) -> None:
        self.stall_s = max(stall_s, _OPENING_S)
        self._least_s = stall_s

    def learn(self, silence_s: float) -> None:
        """A frame came through, with so long a silence."""
        self._least_s = max(self._least_s, _SLOWER * silence_s)
        self.stall_s = self._least_s


class _Reading(Stage):
    """Takes frames from the source."""

    name = "reading"
    may_stall = True

    def __init__(self, source: Source, frames: Handover, spares: Spares) -> None:
        self.source = source
        self._frames = frames
        self._open = spares.source if source.live else None
        # A file that takes its time is waited for: read again from its beginning, it would be counted twice.
        self.stall_s = spares.silence_s if self._open and not source.keeps else None
        self._is_lost = False
        # Of the next frame. A source that is opened again counts from 0, and the run goes on.
        self._number = 0

    def work(self, pulse: Pulse) -> None:
        if self._is_lost and self._open is not None:
            self.source = pulse.call(self._open, "opening the source", _OPENING_S)
            self._is_lost = False
        source = self.source
        while self._frames.ready():
            start = perf_counter()
            try:
                frame = pulse.call(source.__next__, f"{source.name}", self.stall_s)
            except StopIteration:
                break
            except FrameError as error:
                if not source.stream:
                    raise
                self._frames.put_bad(str(error), self._number)
            else:
                now = perf_counter()
                arrived = min(max(start, source.arrived), now)
                self._frames.put(replace(frame, index=self._number), arrived - start, now - arrived)
                # While it waits for room, nothing is held here.
                del frame
            self._number += 1
        self._frames.end()

    def recover(self, fault: Exception) -> None:
        if self._open is None or isinstance(fault, EdgegalError):
            raise fault
        # A folder knows what was read of it; opened again it would not.
        if not self.source.keeps:
            self._is_lost = True
            _in_background(self.source.close)


@dataclass(frozen=True)
class _Unusable:
    """A frame that did not go through all stages, and why."""

    number: int
    reason: str


class _Processing(Stage):
    """Takes frames through the pipeline."""

    name = "processing"

    def __init__(
        self,
        pipeline: Pipeline,
        frames: Handover,
        results: "Queue[FrameResult | _Unusable | None]",
        skips_bad: bool,
        limit: int | None,
        spares: Spares,
    ) -> None:
        self._patience = _Patience(spares.stall_s)
        self._pipeline: Pipeline | None = pipeline
        self._frames = frames
        self._results = results
        self._skips_bad = skips_bad
        self._limit = limit
        self._make = spares.pipeline
        self._taken = 0
        self._lost: _Unusable | None = None
        self._in_hand: tuple[int, str] = 0, "the first frame"

    def work(self, pulse: Pulse) -> None:
        if self._pipeline is None and self._make is not None:
            self._pipeline = pulse.call(self._make, "opening the networks", _OPENING_S)
        pipeline = self._pipeline
        assert pipeline is not None
        if self._lost is not None:
            self._hand_on(self._lost)
            self._lost = None
        while self._limit is None or self._taken < self._limit:
            arrival = self._frames.take()
            if arrival is None:
                break
            self._taken += 1
            self._hand_on(self._result(pipeline, arrival, pulse))
        self._frames.end(discard=True)
        self._results.put(None)

    def _result(self, pipeline: Pipeline, arrival: Arrival, pulse: Pulse) -> FrameResult | _Unusable:
        if arrival.frame is None:
            return _Unusable(arrival.number, arrival.fault)
        source = arrival.frame.source
        self._in_hand = arrival.number, source
        try:
            result = self._through(pipeline, arrival, source, pulse)
        except FrameError as error:
            if not self._skips_bad:
                raise
            return _Unusable(arrival.number, str(error))
        times = replace(result.times, wait=arrival.wait_s, read=arrival.read_s)
        return replace(result, times=times, dropped=arrival.dropped)

    def _through(self, pipeline: Pipeline, arrival: Arrival, source: str, pulse: Pulse) -> FrameResult:
        self.stall_s = self._patience.stall_s
        # A method's arguments are its own, those of an object that is called are kept until it returns: by this name
        # the raw pixels are dropped once they are calibrated.
        process = pipeline.__call__
        result = pulse.call(lambda: process(arrival.release()), source, self.stall_s)
        self._patience.learn(pulse.silence_s)
        return result

    def _hand_on(self, result: FrameResult | _Unusable) -> None:
        # Not before the one before is written: results are large, and there are never more than two.
        self._results.join()
        self._results.put(result)

    def recover(self, fault: Exception) -> None:
        if self._make is None or isinstance(fault, EdgegalError):
            raise fault
        self._pipeline = None
        how = "hung" if isinstance(fault, Stall) else f"broke: {fault}"
        number, source = self._in_hand
        self._lost = _Unusable(number, f"{source}: processing {how}")


@dataclass
class _Job:
    """What the sinks are to be told, and which of them is next."""

    tell: Callable[[Sink], None]
    started: float
    times: StageTimes | None = None
    next: int = 0
    silence_s: float = 0.0


class _Writing(Stage):
    """Tracks, locates, and tells the sinks."""

    name = "writing"

    def __init__(
        self,
        results: "Queue[FrameResult | _Unusable | None]",
        sinks: Sequence[Sink],
        tracker: Tracker,
        locator: Locator,
        controls: Controls | None,
        spares: Spares,
        ledger: _Ledger,
    ) -> None:
        self._patience = _Patience(spares.stall_s)
        self.sinks = list(sinks)
        self._results = results
        self._tracker = tracker
        self._locator = locator
        self._controls = controls
        self._makers = spares.sinks
        self._ledger = ledger
        self._job: _Job | None = None

    @property
    def told(self) -> Sink | None:
        """The sink that is being told something just now."""
        job = self._job
        # Another thread asks, and the work goes on meanwhile.
        place = job.next if job is not None else len(self.sinks)
        return self.sinks[place] if place < len(self.sinks) else None

    def work(self, pulse: Pulse) -> None:
        while True:
            if self._job is None:
                item = self._results.get()
                if item is None:
                    return
                self._job = self._skip(item) if isinstance(item, _Unusable) else self._begin(item)
                # Waiting for the next, nothing of this one is held: a stack takes most of the memory there is.
                del item
            self._do(self._job, pulse)
            self._job = None
            self._results.task_done()

    def _skip(self, frame: _Unusable) -> _Job:
        reason = f"frame {frame.number}: {frame.reason}"
        _log.warning("skipped: %s", reason)
        self._ledger.skips += 1
        self._ledger.skipped.append(reason)
        return _Job(lambda sink: sink.skip(reason, frame.number), perf_counter())

    def _begin(self, result: FrameResult) -> _Job:
        start = perf_counter()
        thresholds = self._controls.now.thresholds if self._controls else None
        if thresholds is not None:
            self._tracker.abstention = replace(self._tracker.abstention, abstain_below=thresholds.abstain_below)
        carried = (result.stacked.carried,) if result.stacked else ()
        seen, ended = self._tracker.update(result.frame, result.detections, result.probabilities, *carried)
        self._ledger.ended.extend(ended)
        tracked = perf_counter()
        self._locator.locate(result, seen, ended)
        located = perf_counter()
        times = replace(result.times, track=tracked - start, locate=located - tracked)
        told = replace(result, times=times)
        _log.info("frame %d of %s: %d galaxies", result.frame.index, result.frame.source, len(seen))
        return _Job(lambda sink: sink.write(told, seen, ended), located, times)

    def _do(self, job: _Job, pulse: Pulse) -> None:
        self.stall_s = self._patience.stall_s
        while job.next < len(self.sinks):
            sink = self.sinks[job.next]
            pulse.call(lambda sink=sink: job.tell(sink), sink.name, self.stall_s)  # type: ignore[misc]
            job.silence_s = max(job.silence_s, pulse.silence_s)
            job.next += 1
        if job.times is not None:
            self._patience.learn(job.silence_s)
            self._ledger.frames += 1
            self._ledger.times.append(replace(job.times, sink=perf_counter() - job.started))

    def recover(self, fault: Exception) -> None:
        job = self._job
        if job is None or not self._makers:
            raise fault
        # The new one goes on with the next frame: this one may be what the other broke on.
        self.sinks[job.next] = self._makers[job.next]()
        job.next += 1


class _Run:
    """The stages of a run, and what becomes of them at its end."""

    def __init__(
        self,
        source: Source,
        pipeline: Pipeline,
        sinks: Sequence[Sink],
        tracker: Tracker | None,
        limit: int | None,
        locator: Locator,
        controls: Controls | None,
        spares: Spares,
    ) -> None:
        self._name = source.name
        self._tracker = tracker or Tracker(pipeline.labels, pipeline.abstention)
        self._ledger = _Ledger()
        self._frames = Handover(latest=source.live and not source.keeps)
        self._results: Queue[FrameResult | _Unusable | None] = Queue()
        self._reading = _Reading(source, self._frames, spares)
        self._processing = _Processing(pipeline, self._frames, self._results, source.stream, limit, spares)
        self._writing = _Writing(self._results, sinks, self._tracker, locator, controls, spares, self._ledger)
        self._supervisor = Supervisor((self._reading, self._processing, self._writing))

    def work(self, on_look: Callable[[Progress], None]) -> None:
        """Look after the stages until all is written."""
        while not self._supervisor.is_done(self._writing):
            self._supervisor.check()
            on_look(self._progress())
            self._supervisor.wait(_LOOK_S)

    def stop(self) -> list[Exception]:
        """Have the stages end, and close everything; what went wrong with the sinks."""
        start = monotonic()
        done = self._supervisor.is_done(self._writing)
        self._frames.end(discard=True)
        live = self._reading.source.live
        closing = _in_background(self._reading.source.close) if live else None
        # Without the writing stage the one before it waits for ever.
        if not self._supervisor.has_ended(self._writing):
            self._await(self._processing, start + _STAGES_STOP_S)
        self._results.put(None)
        self._await(self._writing, start + _STAGES_STOP_S)
        if closing is None and self._await(self._reading, start + _STAGES_STOP_S):
            # Not while it is read: what decodes a video crashes then.
            closing = _in_background(self._reading.source.close)
        for name in self._supervisor.give_up():
            # A camera in the middle of an exposure is left to itself without a word.
            _log.log(logging.INFO if name == self._reading.name else logging.WARNING, "%s is left behind", name)
        stuck = None if self._supervisor.has_ended(self._writing) else self._writing.told
        sinks = [sink for sink in self._writing.sinks if sink is not stuck]
        faults = self._close_sinks(sinks, start + (_CLOSING_S if done else _STOP_S))
        if closing is not None:
            closing.join(max(0.0, start + _STOP_S - monotonic()))
        return faults

    def _await(self, stage: Stage, until: float) -> bool:
        """Whether a stage ends in time."""
        while not self._supervisor.has_ended(stage):
            if monotonic() > until:
                return False
            self._supervisor.wait(0.05)
        return True

    def _close_sinks(self, sinks: Sequence[Sink], until: float) -> list[Exception]:
        faults: list[Exception] = []

        def close() -> None:
            for sink in sinks:
                try:
                    sink.close(self._tracker.alive)
                except Exception as error:  # noqa: BLE001 - whatever it is, the others are closed first
                    faults.append(error)

        thread = _in_background(close)
        thread.join(max(0.1, until - monotonic()))
        if thread.is_alive():
            _log.error("what was seen could not be written to its end in time")
        return faults

    def _progress(self) -> Progress:
        ledger = self._ledger
        return Progress(
            ledger.frames,
            ledger.skips,
            self._frames.dropped,
            len(self._tracker.alive),
            self._supervisor.restarted,
        )

    def summary(self, interrupted: bool) -> Summary:
        sightings = sorted((*self._ledger.ended, *self._tracker.alive), key=lambda s: s.id)
        return Summary(
            self._name,
            self._ledger.frames,
            tuple(self._ledger.skipped),
            tuple(sightings),
            tuple(self._ledger.times),
            interrupted,
            self._ledger.skips,
            self._frames.dropped,
            tuple(self._supervisor.restarts),
        )


def _in_background(action: Callable[[], object]) -> threading.Thread:
    """Do something that may hang, in a thread that may be left behind."""
    thread = threading.Thread(target=action, name="edgegal-closing", daemon=True)
    thread.start()
    return thread
