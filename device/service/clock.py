"""Whether the clock is right: a board without a battery and without a network wakes up at a wrong time.

The kernel's word is taken as systemd takes it: synchronised while its own bound of the error, which grows by 0.5 ms a
second without a source, is below 16 s; the flag STA_UNSYNC may be set for other reasons.
"""

import ctypes
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from edgegal.frames import Frame

__all__ = [
    "CLOCK_MEND",
    "ClockEvent",
    "ClockMark",
    "ClockState",
    "ClockWatch",
    "kernel_error_s",
    "read_clock",
    "stamped",
]

_log = logging.getLogger(__name__)

CLOCK_MEND = (
    "connect a network or a GPS, or set it by hand: "
    "sudo timedatectl set-ntp false; sudo timedatectl set-time 'YYYY-MM-DD HH:MM:SS'"
)
"""What to do about a clock that is not set."""

ClockMark = Literal["synchronised", "unsynchronised", "unknown"]

# No clock that was ever set shows a year before this software was written.
_FIRST_YEAR = 2026
_UNBOUNDED_S = 16.0
# Steps of a clock that is being corrected gently are far below this.
_JUMP_S = 2.0


@dataclass(frozen=True)
class ClockState:
    """Whether the clock can be trusted.

    Attributes
    ----------
    synchronised
        Whether network or GPS set it since the computer started; None when that cannot be found out.
    reason
        How this is known, or why not.
    """

    synchronised: bool | None
    reason: str

    @property
    def mark(self) -> ClockMark:
        """For frames and records."""
        if self.synchronised is None:
            return "unknown"
        return "synchronised" if self.synchronised else "unsynchronised"


@dataclass(frozen=True)
class ClockEvent:
    """Something happened to the clock.

    Attributes
    ----------
    kind
        What.
    time
        When, in UTC, by the clock as it then was.
    detail
        In words.
    offset_s
        By how much a clock that jumped was put forward, negative for back; None for the other kinds.
    mend
        What to do about it; empty when there is nothing to do.
    """

    kind: Literal["unsynchronised", "synchronised", "jumped"]
    time: datetime
    detail: str
    offset_s: float | None = None
    mend: str = ""

    def document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "time": self.time.isoformat()}


class _Timex(ctypes.Structure):
    """The beginning of the kernel's struct timex on 64-bit Linux, adjtimex(2), and room for what it writes behind."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("rest", ctypes.c_byte * 256),
    )


def kernel_error_s() -> float:
    """The kernel's own bound of the clock's error, in seconds.

    Raises
    ------
    OSError
        It may not be asked here, or this is no Linux.
    """
    asked = _Timex()
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except AttributeError:
        raise OSError("this system has no adjtimex") from None
    if adjtimex(ctypes.byref(asked)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"adjtimex: {os.strerror(number)}")
    return float(asked.maxerror) / 1e6


def read_clock(
    system: Path = Path("/"), now: float | None = None, error_s: Callable[[], float] = kernel_error_s
) -> ClockState:
    """Whether the clock can be trusted.

    Parameters
    ----------
    system
        Root that holds ``run``.
    now
        Seconds since the epoch; the clock's when None.
    error_s
        The kernel's bound of the error.
    """
    shown = datetime.fromtimestamp(time.time() if now is None else now, timezone.utc)
    if shown.year < _FIRST_YEAR:
        return ClockState(False, f"it shows {shown:%Y-%m-%d}: it was not set")
    # The bound grows through a night without network, and the clock hardly drifts: once set is good enough.
    if (system / "run/systemd/timesync/synchronized").exists():
        return ClockState(True, "systemd-timesyncd set it")
    try:
        error = error_s()
    except OSError as problem:
        return ClockState(None, f"the kernel does not say: {problem.strerror or problem}")
    if error < _UNBOUNDED_S:
        return ClockState(True, f"the kernel bounds its error to {error:.3g} s")
    return ClockState(False, "the kernel knows of nothing that set it")


def stamped(frame: Frame, mark: ClockMark) -> Frame:
    """A frame that this computer timed, with the mark among its facts as ``CLOCK`` where the clock may be wrong."""
    return frame if mark == "synchronised" else replace(frame, header={**frame.header, "CLOCK": mark})


def _steady() -> float:
    """Seconds that no one sets, counted through sleep where the system can."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class ClockWatch:
    """Looks at the clock again and again, says and logs what happens to it. Cheap enough for every frame.

    Parameters
    ----------
    read
        Finds out whether it is synchronised.
    wall
        Seconds since the epoch.
    steady
        Seconds that nobody sets.
    """

    def __init__(
        self,
        read: Callable[[], ClockState] = read_clock,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = _steady,
    ) -> None:
        self._read = read
        self._wall = wall
        self._steady = steady
        self._difference = wall() - steady()
        self._known: ClockMark = "unknown"

    @property
    def mark(self) -> ClockMark:
        """What frames are marked with, as of the last check."""
        return self._known

    def check(self) -> tuple[ClockEvent, ...]:
        """What happened since the last check."""
        wall = self._wall()
        now = datetime.fromtimestamp(wall, timezone.utc)
        difference = wall - self._steady()
        offset, self._difference = difference - self._difference, difference
        events = []
        if abs(offset) > _JUMP_S:
            detail = f"it was put {'forward' if offset > 0 else 'back'} by {abs(offset):.1f} s"
            events.append(ClockEvent("jumped", now, detail, offset))
        # Once set is good enough for a night: the kernel's bound of the error outgrows the error by far.
        if self._known != "synchronised":
            events.extend(self._news(self._read(), now))
        for event in events:
            _log.log(
                logging.INFO if event.kind == "synchronised" else logging.WARNING,
                "clock %s: %s%s",
                *(event.kind, event.detail, f" ({event.mend})" if event.mend else ""),
            )
        return tuple(events)

    def _news(self, state: ClockState, now: datetime) -> Iterator[ClockEvent]:
        before, self._known = self._known, state.mark
        if state.mark == before:
            return
        if state.mark == "unsynchronised":
            yield ClockEvent("unsynchronised", now, state.reason, mend=CLOCK_MEND)
        elif state.mark == "synchronised":
            yield ClockEvent("synchronised", now, state.reason)
