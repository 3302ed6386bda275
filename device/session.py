"""A run: frames from a source through the pipeline and the tracker into sinks, until they end or someone stops it."""

import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from edgegal.device.pipeline import FrameResult, Pipeline, StageTimes
from edgegal.device.sinks import Sink
from edgegal.device.sources import Source
from edgegal.device.tracking import Sighting, Tracker
from edgegal.errors import FrameError, InputError

__all__ = ["Summary", "observe", "sigterm_interrupts"]

_log = logging.getLogger(__name__)


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
        One line for each frame that did not, in order.
    sightings
        All sightings, by number.
    times
        Seconds by stage, one entry a frame.
    interrupted
        Whether someone stopped it.
    """

    source: str
    frames: int
    skipped: tuple[str, ...]
    sightings: tuple[Sighting, ...]
    times: tuple[StageTimes, ...]
    interrupted: bool

    def latency_ms(self, quantile: float = 0.5) -> dict[str, float]:
        """Milliseconds by stage and ``total`` at a quantile over frames; empty without frames."""
        if not self.times:
            return {}
        columns = {name: [getattr(t, name) for t in self.times] for name in StageTimes.names()}
        columns["total"] = [t.total for t in self.times]
        return {name: 1000 * float(np.quantile(values, quantile)) for name, values in columns.items()}

    def document(self) -> dict[str, Any]:
        """The summary as plain JSON values."""
        return {
            "source": self.source,
            "frames": self.frames,
            "skipped": list(self.skipped),
            "interrupted": self.interrupted,
            "latency_ms": {
                key: {name: round(ms, 3) for name, ms in self.latency_ms(q).items()}
                for key, q in (("median", 0.5), ("p95", 0.95))
            },
            "sightings": [s.document() for s in self.sightings],
        }


def observe(
    source: Source,
    pipeline: Pipeline,
    sinks: Sequence[Sink] = (),
    tracker: Tracker | None = None,
    limit: int | None = None,
) -> Summary:
    """Run until the source ends, `limit` frames were taken from it, or an interrupt (Ctrl-C) arrives.

    A frame of a stream that cannot be read or used is logged, counted and skipped.

    Parameters
    ----------
    source
        Opened source; the caller closes it.
    pipeline
        The stages.
    sinks
        Where sightings go; closed at the end, whatever happens.
    tracker
        What joins detections over frames; one with the pipeline's labels and abstention when None.
    limit
        Frames to take at most, the skipped ones counted.

    Raises
    ------
    FrameError
        The only frame of a source that is no stream is bad.
    InputError
        Not one frame of a stream could be used.
    """
    run = _Run(source, pipeline, sinks, tracker or Tracker(pipeline.labels, pipeline.abstention))
    with ExitStack() as closing:
        for sink in sinks:
            closing.callback(run.close, sink)
        try:
            while (limit is None or run.taken < limit) and run.step():
                pass
        except KeyboardInterrupt:
            run.interrupted = True
    if run.skipped and not run.times and not run.interrupted:
        raise InputError(f"no frame of {source.name} could be used; the first: {run.skipped[0]}")
    return run.summary()


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Have SIGTERM, which service managers send, raise KeyboardInterrupt as Ctrl-C does; main thread only."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Run:
    """State of a run."""

    def __init__(self, source: Source, pipeline: Pipeline, sinks: Sequence[Sink], tracker: Tracker) -> None:
        self.source = source
        self.pipeline = pipeline
        self.sinks = sinks
        self.tracker = tracker
        self.skipped: list[str] = []
        self.times: list[StageTimes] = []
        self.ended: list[Sighting] = []
        self.interrupted = False

    @property
    def taken(self) -> int:
        return len(self.times) + len(self.skipped)

    def step(self) -> bool:
        """Take one frame; false when there is none left."""
        start = perf_counter()
        try:
            frame = next(self.source)
            read = perf_counter() - start
            result = self.pipeline(frame)
        except StopIteration:
            return False
        except FrameError as error:
            if not self.source.stream:
                raise
            _log.warning("skipped: %s", error)
            self.skipped.append(str(error))
            for sink in self.sinks:
                sink.skip(str(error))
            return True
        self._deliver(result, read)
        return True

    def _deliver(self, result: FrameResult, read: float) -> None:
        start = perf_counter()
        seen, ended = self.tracker.update(result.frame, result.detections, result.probabilities)
        self.ended.extend(ended)
        tracked = perf_counter()
        result = replace(result, times=replace(result.times, read=read, track=tracked - start))
        for sink in self.sinks:
            sink.write(result, seen, ended)
        self.times.append(replace(result.times, sink=perf_counter() - tracked))
        _log.info("frame %d of %s: %d galaxies", result.frame.index, result.frame.source, len(seen))

    def close(self, sink: Sink) -> None:
        sink.close(self.tracker.alive)

    def summary(self) -> Summary:
        sightings = sorted((*self.ended, *self.tracker.alive), key=lambda s: s.id)
        return Summary(
            self.source.name,
            len(self.times),
            tuple(self.skipped),
            tuple(sightings),
            tuple(self.times),
            self.interrupted,
        )
