"""Frames on their way from the camera to the stages, in bounded memory.

A camera gives frames when the sky does, and must never wait: the newest takes the place of one that nobody had time
for, which is counted. A file can wait, and loses nothing.
"""

import threading
from collections import deque
from dataclasses import dataclass, replace

from edgegal.frames import Frame

__all__ = ["Arrival", "Handover"]

# Frames that could not be read while the stages were busy; of a flood of them only the last are told one by one.
_MOST_BAD = 1_000


@dataclass
class Arrival:
    """What came from a source.

    Attributes
    ----------
    frame
        The frame; None when it could not be read, or was released.
    number
        Of the frame within the run, from 0, also when it could not be read.
    fault
        Why it could not; empty when it could.
    wait_s, read_s
        Seconds until it was there, and seconds that reading it took then.
    dropped
        Frames of the run so far that gave way to newer ones.
    """

    frame: Frame | None
    number: int
    fault: str = ""
    wait_s: float = 0.0
    read_s: float = 0.0
    dropped: int = 0

    def release(self) -> Frame:
        """The frame, which is not held here any more: its pixels go when whoever takes it has done with them."""
        frame, self.frame = self.frame, None
        assert frame is not None, "nothing came, or it was released before"
        return frame


class Handover:
    """Hands frames from the thread that reads to the one that works on them.

    Parameters
    ----------
    latest
        Whether the newest frame takes the place of the one that waits; else it is the reader that waits.
    """

    def __init__(self, latest: bool) -> None:
        self._latest = latest
        self._waiting: Arrival | None = None
        self._bad: deque[Arrival] = deque(maxlen=_MOST_BAD)
        self._dropped = 0
        self._ended = False
        self._changed = threading.Condition()

    @property
    def dropped(self) -> int:
        """Frames that gave way to newer ones."""
        return self._dropped

    def ready(self) -> bool:
        """Wait until the next may be read, at once for a camera; false when nobody takes any more."""
        with self._changed:
            if not self._latest:
                # In the order of the files, none left out, and no more of them in memory than need be.
                self._changed.wait_for(lambda: (self._waiting is None and not self._bad) or self._ended)
            return not self._ended

    def put(self, frame: Frame, wait_s: float, read_s: float) -> bool:
        """Hand on a frame, after `ready`; false when nobody takes any more."""
        with self._changed:
            if not self._ended:
                self._dropped += self._waiting is not None
                self._waiting = Arrival(frame, frame.index, wait_s=wait_s, read_s=read_s)
                self._changed.notify_all()
            return not self._ended

    def put_bad(self, fault: str, number: int) -> bool:
        """Hand on why a frame could not be read, after `ready`; false when nobody takes any more."""
        with self._changed:
            if not self._ended:
                self._bad.append(Arrival(None, number, fault))
                self._changed.notify_all()
            return not self._ended

    def take(self) -> Arrival | None:
        """Wait for the next; None when there is none left."""
        with self._changed:
            self._changed.wait_for(lambda: self._bad or self._waiting is not None or self._ended)
            taken = None
            if self._bad:
                taken = self._bad.popleft()
            elif self._waiting is not None:
                taken, self._waiting = replace(self._waiting, dropped=self._dropped), None
            self._changed.notify_all()
            return taken

    def end(self, discard: bool = False) -> None:
        """Take no more; what waits is still handed on, unless it is to be discarded."""
        with self._changed:
            self._ended = True
            if discard:
                self._waiting = None
                self._bad.clear()
            self._changed.notify_all()
