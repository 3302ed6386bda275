"""The latest state of a run, for any number of readers."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from time import monotonic

import cv2

from edgegal.device.pipeline import FrameResult, StageTimes
from edgegal.device.sinks import Sink, annotate
from edgegal.device.tracking import Sighting
from edgegal.frames import View

__all__ = ["LastFrame", "Live", "Snapshot"]

# Larger views are shrunk to this longest side before anything is drawn: a phone shows no more, and waits for less.
_LONGEST_SIDE = 1920
_QUALITY = 85


@dataclass(frozen=True)
class LastFrame:
    """The last frame that went through all stages.

    Attributes
    ----------
    view
        What the detector saw.
    seen
        The sightings in it.
    index, source, time
        As in `edgegal.frames.Frame`.
    times
        Seconds by stage; what comes after this sink is not known yet and 0.
    arrived
        When it came, on the monotonic clock, in seconds.
    """

    view: View
    seen: tuple[Sighting, ...]
    index: int
    source: str
    time: datetime | None
    times: StageTimes
    arrived: float


@dataclass(frozen=True)
class Snapshot:
    """One moment of a run.

    Attributes
    ----------
    source
        Where the frames come from, for people.
    started
        When the run began, UTC.
    frames
        Frames that went through all stages: the number of the picture.
    skipped
        Frames that could not be used.
    last_skipped
        What was wrong with the last of them; empty when there is none.
    frame
        The last frame; None before the first.
    alive
        Sightings that have not ended, oldest first.
    galaxies
        Sightings of the whole run.
    over
        Whether the run is.
    """

    source: str
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    frames: int = 0
    skipped: int = 0
    last_skipped: str = ""
    frame: LastFrame | None = None
    alive: tuple[Sighting, ...] = ()
    galaxies: int = 0
    over: bool = False


class Live(Sink):
    """Keeps the last moment of a run for the page.

    One thread writes and any number read. Writing swaps one reference and takes no lock, so the pipeline never waits
    for a reader; pictures are drawn and encoded in the readers' time, and only when somebody looks.

    Parameters
    ----------
    source
        Where the frames come from, for people.
    """

    def __init__(self, source: str) -> None:
        self._now = Snapshot(source)
        self._encoding = threading.Lock()
        self._encoded: tuple[int, bytes] | None = None

    @property
    def now(self) -> Snapshot:
        """The last moment; a whole one, whenever it is asked for."""
        return self._now

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        alive = {s.id: s for s in (*self._now.alive, *seen)}
        for sighting in ended:
            alive.pop(sighting.id, None)
        frame = result.frame
        self._now = replace(
            self._now,
            frames=self._now.frames + 1,
            frame=LastFrame(result.view, tuple(seen), frame.index, frame.source, frame.time, result.times, monotonic()),
            alive=tuple(alive[i] for i in sorted(alive)),
            # Sightings are numbered from 1.
            galaxies=max([self._now.galaxies, *(s.id for s in seen)]),
        )

    def skip(self, reason: str) -> None:
        self._now = replace(self._now, skipped=self._now.skipped + 1, last_skipped=reason)

    def close(self, alive: Sequence[Sighting]) -> None:
        self._now = replace(self._now, over=True)

    def picture(self) -> bytes | None:
        """The last frame as a JPEG with a box and a class on each galaxy; None before the first.

        Readers that ask for one frame at the same time share the work.
        """
        with self._encoding:
            now = self._now
            if now.frame is None:
                return None
            if self._encoded is None or self._encoded[0] != now.frames:
                self._encoded = now.frames, _jpeg(now.frame.view, now.frame.seen)
            return self._encoded[1]


def _jpeg(view: View, seen: Sequence[Sighting]) -> bytes:
    scale = min(1.0, _LONGEST_SIDE / max(view.shape[:2]))
    if scale < 1:
        view = cv2.resize(view, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        seen = [_scaled(s, scale) for s in seen]
    picture = cv2.cvtColor(annotate(view, seen), cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    jpeg: bytes = encoded.tobytes()
    return jpeg


def _scaled(sighting: Sighting, scale: float) -> Sighting:
    x0, y0, x1, y1 = sighting.box
    return replace(sighting, box=(x0 * scale, y0 * scale, x1 * scale, y1 * scale))
