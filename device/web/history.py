"""How the run went: its last frames, and its last hours by the minute."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic

from edgegal.device.pipeline import StageTimes

__all__ = ["FramePoint", "History", "Minute"]

_FRAMES = 240
_MINUTES = 720


@dataclass(frozen=True)
class FramePoint:
    """One frame.

    Attributes
    ----------
    number
        Counted from 1 over all frames taken.
    seconds
        Of all stages together; None for a frame that could not be used.
    galaxies
        Seen in it.
    """

    number: int
    seconds: float | None
    galaxies: int = 0


@dataclass(frozen=True)
class Minute:
    """One minute of the run.

    Attributes
    ----------
    number
        Minutes since the run began, from 0.
    used, skipped, dropped
        Frames that went through all stages, that could not be used, and that came too fast.
    seconds
        Of all stages, summed over the frames used.
    """

    number: int
    used: int = 0
    skipped: int = 0
    dropped: int = 0
    seconds: float = 0.0


class History:
    """Remembers the last frames and minutes; its size does not grow with the night.

    Parameters
    ----------
    clock
        Seconds that only go forward: a computer without a battery sets its clock during the night.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._taken = 0
        self._frames: deque[FramePoint] = deque(maxlen=_FRAMES)
        self._minutes: deque[Minute] = deque(maxlen=_MINUTES)
        # Held for as long as it takes to copy what is there: never while anything is drawn or sent.
        self._copying = threading.Lock()

    def use(self, times: StageTimes, galaxies: int) -> None:
        """Count a frame that went through all stages."""
        with self._copying:
            self._take(times.total, galaxies)
            minute = self._minute()
            self._minutes[-1] = replace(minute, used=minute.used + 1, seconds=minute.seconds + times.total)

    def skip(self) -> None:
        """Count a frame that could not be used."""
        with self._copying:
            self._take(None, 0)
            minute = self._minute()
            self._minutes[-1] = replace(minute, skipped=minute.skipped + 1)

    def drop(self, frames: int) -> None:
        """Count frames that were never looked at."""
        if not frames:
            return
        with self._copying:
            minute = self._minute()
            self._minutes[-1] = replace(minute, dropped=minute.dropped + frames)

    @property
    def frames(self) -> tuple[FramePoint, ...]:
        """The last frames, oldest first."""
        with self._copying:
            return tuple(self._frames)

    @property
    def minutes(self) -> tuple[Minute, ...]:
        """The last minutes in which anything came, oldest first."""
        with self._copying:
            return tuple(self._minutes)

    def _take(self, seconds: float | None, galaxies: int) -> None:
        self._taken += 1
        self._frames.append(FramePoint(self._taken, seconds, galaxies))

    def _minute(self) -> Minute:
        number = int((self._clock() - self._start) // 60)
        if not self._minutes or self._minutes[-1].number != number:
            self._minutes.append(Minute(number))
        return self._minutes[-1]
