"""How often something is done, whatever the pace of the frames."""

from collections.abc import Callable
from time import monotonic

__all__ = ["Pace"]


class Pace:
    """Says when something is due.

    Parameters
    ----------
    every_s
        Seconds from one time to the next; 0 for each time it is asked.
    clock
        Seconds, never going back.
    """

    def __init__(self, every_s: float, clock: Callable[[], float] = monotonic) -> None:
        self.every_s = every_s
        self._clock = clock
        self._last: float | None = None

    @property
    def since_s(self) -> float:
        """Seconds since the last time; infinite before the first."""
        return float("inf") if self._last is None else self._clock() - self._last

    @property
    def due(self) -> bool:
        """Whether it is time again."""
        return self.since_s >= self.every_s

    def done(self) -> None:
        """Count from now."""
        self._last = self._clock()
