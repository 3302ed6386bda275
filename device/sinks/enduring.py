"""A sink that outlives a full disk."""

import errno
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from edgegal.device.pipeline import FrameResult
from edgegal.device.retention import Limits, Removal, tidy
from edgegal.device.sinks.base import Sink
from edgegal.device.sinks.pace import Pace
from edgegal.device.tracking import Sighting

__all__ = ["Enduring", "RoomKeeper"]

_log = logging.getLogger(__name__)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# Room made on a full disk beyond what is to stay free: enough for the writing of some minutes.
_LEAST_ROOM = 64 * 2**20
_TIDY_EVERY_S = 600.0
# A full disk is looked through again after so long: in a minute not much grows old.
_FULL_EVERY_S = 60.0


class RoomKeeper(Sink):
    """Keeps the output folder within limits: every ten minutes, and at once when a disk is full.

    Parameters
    ----------
    folder
        Output folder of runs.
    limits
        What to keep.
    """

    name = "the removal of old pictures"

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder = folder
        self._limits = limits
        self._pace = Pace(_TIDY_EVERY_S)
        self._urgent = Pace(_FULL_EVERY_S)

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        if self._pace.due:
            self._pace.done()
            self._tidy(self._limits)

    def close(self, alive: Sequence[Sighting]) -> None:
        """Nothing is held open."""

    def make_room(self) -> None:
        """The disk is full."""
        if self._urgent.due:
            self._urgent.done()
            self._tidy(Limits(self._limits.days, max(self._limits.free_bytes, _LEAST_ROOM)))

    def _tidy(self, limits: Limits) -> Removal:
        removal = tidy(self.folder, limits)
        if removal.removed:
            _log.info("removed %d old pictures, %.0f MB", len(removal.removed), removal.freed_bytes / 2**20)
        for failure in removal.failed:
            _log.warning("an old picture cannot be removed: %s", failure)
        if not removal.enough:
            _log.warning("less than %.0f MB are free, and no old picture is left to remove", limits.free_bytes / 2**20)
        return removal


class Enduring(Sink):
    """Goes on when a sink cannot write, says so once, and says when it can again.

    Parameters
    ----------
    sink
        The sink.
    name
        What it writes, for people.
    make_room
        Called when the disk is full.
    """

    def __init__(self, sink: Sink, name: str, make_room: Callable[[], None]) -> None:
        self.sink = sink
        self.name = name
        self._make_room = make_room
        self.failures = 0
        """Times that it could not write, in all."""
        self._failing = 0

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        self._try(lambda: self.sink.write(result, seen, ended))

    def skip(self, reason: str, number: int | None = None) -> None:
        self.sink.skip(reason, number)

    def mark_false(self, sighting: int) -> None:
        self._try(lambda: self.sink.mark_false(sighting))

    def close(self, alive: Sequence[Sighting]) -> None:
        if not self.sink.holds:
            # Closed without a word: nothing was written, so nothing says that it can be again.
            self._failing = 0
        if not self._try(lambda: self.sink.close(alive)):
            # Room was made: what is still held may fit now.
            self._try(lambda: self.sink.close(alive))

    def _try(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except OSError as error:
            self.failures += 1
            self._failing += 1
            if self._failing == 1:
                _log.error("%s cannot be written: %s; going on without", self.name, error.strerror or error)
            if error.errno in _FULL:
                self._make_room()
            return False
        if self._failing:
            _log.warning("%s can be written again, after %d failures", self.name, self._failing)
            self._failing = 0
        return True
