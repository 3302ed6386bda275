"""Stages of a run in threads of their own, watched: one that hangs or breaks is begun anew.

A thread that hangs in a driver or a runtime cannot be ended from outside. It is given up: its stage goes on in another
thread with fresh objects, and whatever the old one brings back later is not listened to.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TypeVar

from edgegal.errors import EdgegalError

__all__ = ["GivenUp", "Pulse", "Stage", "StageFailedError", "Stall", "Supervisor", "beat"]

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

# What breaks so often in so short a time does not mend itself.
_MOST_RESTARTS = 5
_WITHIN_S = 60.0
# Where a stage may take long before it is taken for stuck, as many stalls must fit.
_STALLS_WITHIN = _MOST_RESTARTS + 3

_thread = threading.local()


class StageFailedError(EdgegalError):
    """A stage of a run hangs or breaks again and again. A process begun anew may do better."""

    exit_code = 4


class GivenUp(Exception):
    """Raised in a thread that was given up, as soon as it comes back."""


class Pulse:
    """What one thread does that may hang, and since when; how it learns that it was given up.

    Attributes
    ----------
    silence_s
        Longest time of the last call without a beat.
    """

    def __init__(self) -> None:
        self.silence_s = 0.0
        self._lock = threading.Lock()
        self._what = ""
        self._allowed_s: float | None = None
        self._since = monotonic()
        self._given_up = False

    def call(self, function: Callable[[], Result], what: str, allowed_s: float | None) -> Result:
        """What `function` returns or raises.

        Parameters
        ----------
        function
            What may hang.
        what
            What it does, for people.
        allowed_s
            Seconds without a beat after which it counts as stuck; None for never.

        Raises
        ------
        GivenUp
            The thread was given up meanwhile.
        """
        with self._lock:
            self._what, self._allowed_s, self._since = what, allowed_s, monotonic()
            self.silence_s = 0.0
        try:
            return function()
        finally:
            self._sound()
            with self._lock:
                self._what = ""
                if self._given_up:
                    raise GivenUp

    def beat(self) -> None:
        """Say that a long call goes on; raises `GivenUp` when nobody waits for it any more."""
        self._sound()
        if self._given_up:
            raise GivenUp

    def _sound(self) -> None:
        now = monotonic()
        self.silence_s, self._since = max(self.silence_s, now - self._since), now

    def give_up_if_stuck(self) -> str:
        """Give the thread up if its call is stuck; what it was doing, empty when it is not."""
        with self._lock:
            if not self._what or self._allowed_s is None or monotonic() - self._since < self._allowed_s:
                return ""
            self._given_up = True
            return self._what

    def give_up(self) -> None:
        """Give the thread up, whatever it does."""
        with self._lock:
            self._given_up = True


def beat() -> None:
    """Say that the call of this thread goes on; nothing outside the threads of a supervisor."""
    pulse: Pulse | None = getattr(_thread, "pulse", None)
    if pulse is not None:
        pulse.beat()


class Stall(Exception):
    """A stage that hung: what it was doing."""


class Stage(ABC):
    """One part of a run, with a thread of its own.

    Attributes
    ----------
    name
        What it is, for people.
    stall_s
        Seconds after which its last call counts as stuck; None where it may take for ever.
    may_stall
        Whether it may be stuck again and again: a camera can stay away all night.
    """

    name: str
    stall_s: float | None = None
    may_stall: bool = False

    @abstractmethod
    def work(self, pulse: Pulse) -> None:
        """Work until nothing is left to do. Whatever may hang is called through `pulse`."""

    @abstractmethod
    def recover(self, fault: Exception) -> None:
        """Make ready for `work` in another thread; runs in the supervisor's.

        Parameters
        ----------
        fault
            `Stall`, or what `work` raised.

        Raises
        ------
        Exception
            The fault, where there is nothing to begin anew with or no sense in it.
        """


class _Worker:
    """A thread that does a stage's work."""

    def __init__(self, stage: Stage, done: Callable[[], None]) -> None:
        self.pulse = Pulse()
        self.fault: BaseException | None = None
        self.over = threading.Event()
        self._stage = stage
        self._done = done
        # A daemon: one that hangs for good must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name=f"edgegal-{stage.name}", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        _thread.pulse = self.pulse
        try:
            self._stage.work(self.pulse)
        except GivenUp:
            return
        # Whatever it is goes to the one who waits.
        except BaseException as error:  # noqa: BLE001
            self.end(error)
        else:
            self.end(None)
        self._done()

    def end(self, fault: BaseException | None) -> None:
        """The work is over: done, where there is no fault."""
        self.fault = fault
        self.over.set()


class _Restarts:
    """When a stage was begun anew."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_MOST_RESTARTS)

    def add(self, stall_s: float | None) -> bool:
        """Count one after calls that may take `stall_s`; false when there were too many before it."""
        now = monotonic()
        within_s = max(_WITHIN_S, _STALLS_WITHIN * (stall_s or 0))
        if len(self._times) == _MOST_RESTARTS and now - self._times[0] <= within_s:
            return False
        self._times.append(now)
        return True


class Supervisor:
    """Runs stages and looks after them.

    Parameters
    ----------
    stages
        The stages; their threads run from now on.

    Attributes
    ----------
    restarts
        One line for each time that a stage was begun anew; the last hundred of them.
    restarted
        How many times that was.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.restarts: deque[str] = deque(maxlen=100)
        self.restarted = 0
        self._changed = threading.Event()
        self._stages = {stage: _Restarts() for stage in stages}
        self._workers = {stage: _Worker(stage, self._changed.set) for stage in stages}

    def is_done(self, stage: Stage) -> bool:
        """Whether a stage has done its work."""
        return self.has_ended(stage) and self._workers[stage].fault is None

    def has_ended(self, stage: Stage) -> bool:
        """Whether a stage has done its work, or broke."""
        return self._workers[stage].over.is_set()

    def wait(self, timeout_s: float) -> None:
        """Return when a stage has ended, or after `timeout_s`."""
        self._changed.wait(timeout_s)
        self._changed.clear()

    def check(self) -> None:
        """Look at all stages once, and begin anew what hangs or broke.

        Raises
        ------
        StageFailedError
            A stage was begun anew five times within a minute, or the time of eight stalls, and failed again.
        BaseException
            What a stage raised that cannot be begun anew.
        """
        for stage, worker in self._workers.items():
            if worker.fault is None and (stuck := worker.pulse.give_up_if_stuck()):
                worker.end(Stall(stuck))
            if worker.fault is not None:
                self._restart(stage, worker.fault)

    def give_up(self) -> tuple[str, ...]:
        """Give up what still works; the names of those stages."""
        late = [stage for stage, worker in self._workers.items() if not worker.over.is_set()]
        for stage in late:
            self._workers[stage].pulse.give_up()
        return tuple(stage.name for stage in late)

    def _restart(self, stage: Stage, fault: BaseException) -> None:
        if not isinstance(fault, Exception):
            raise fault
        stage.recover(fault)
        words = f"{fault} hung" if isinstance(fault, Stall) else f"{type(fault).__name__}: {fault}"
        line = f"{stage.name}: {words}"
        forgiven = stage.may_stall and isinstance(fault, Stall)
        if not forgiven and not self._stages[stage].add(stage.stall_s):
            raise StageFailedError(
                f"{line}, after {_MOST_RESTARTS} new beginnings in a short time",
                "look at the camera, the network and the power: edgegal doctor",
            ) from fault
        _log.error("%s; beginning anew", line, exc_info=None if isinstance(fault, Stall) else fault)
        self.restarts.append(line)
        self.restarted += 1
        self._workers[stage] = _Worker(stage, self._changed.set)
