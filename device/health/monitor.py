"""Looks at the computer all night, on a thread of its own."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any

from edgegal.device.health.concerns import USUAL_LIMITS, Concern, Limits, Topic, concerns_of
from edgegal.device.health.look import Health, Throttling, Tools, read_health

__all__ = ["HealthMonitor", "HealthReport", "ThrottleHistory"]

_log = logging.getLogger(__name__)

# After so many periods without a new look, the last one is old news.
_STALE_PERIODS = 3
# A figure about its limit is not said at every look.
_QUIET_S = 600.0


@dataclass(frozen=True)
class ThrottleHistory:
    """What held since a run began, out of what the firmware says now and then.

    The firmware remembers a condition until the kernel asks and clears it, so what it remembered when the run began is
    not the run's, unless it was forgotten in between and is there again.

    Attributes
    ----------
    during_run
        Conditions that held at any time since the first answer.
    inherited
        Those of earlier that the firmware still remembers; None before the first answer.
    """

    during_run: frozenset[str] = frozenset()
    inherited: frozenset[str] | None = None

    def after(self, answer: Throttling) -> "ThrottleHistory":
        """The history with one more answer; the same when the firmware could not be asked."""
        if answer.now is None or answer.since_boot is None:
            return self
        remembered = frozenset(answer.since_boot)
        inherited = remembered if self.inherited is None else self.inherited & remembered
        return ThrottleHistory(self.during_run | frozenset(answer.now) | (remembered - inherited), inherited)


@dataclass(frozen=True)
class HealthReport:
    """The last look, and what happened since the run began.

    Attributes
    ----------
    health
        The last look.
    throttled_during_run
        Conditions of `Throttling` that held at any time of the run, in alphabetical order.
    overcurrent_during_run
        Events since the run began by counter, on a Jetson; empty elsewhere.
    concerns
        What should worry the owner.
    """

    health: Health
    throttled_during_run: tuple[str, ...] = ()
    overcurrent_during_run: Mapping[str, int] = field(default_factory=dict)
    concerns: tuple[Concern, ...] = ()

    def document(self) -> dict[str, Any]:
        """Plain JSON values: those of `Health.document`, and of the run."""
        return {
            **self.health.document(),
            "throttled_during_run": list(self.throttled_during_run),
            "overcurrent_during_run": dict(self.overcurrent_during_run),
            "concerns": [concern.document() for concern in self.concerns],
        }


class HealthMonitor:
    """Looks every `period_s` seconds and keeps the last report.

    Whatever hangs (a firmware's tool, a disk of the network) keeps this thread waiting and nobody else. A concern is
    logged when it begins, and not again soon.

    Parameters
    ----------
    output
        Folder whose disk is asked.
    period_s
        Seconds between looks.
    limits
        From where on a figure is a concern.
    system
        Root that holds ``sys``, ``proc`` and ``run``.
    tools
        Programs to ask.
    """

    def __init__(
        self,
        output: Path = Path(),
        period_s: float = 15.0,
        limits: Limits = USUAL_LIMITS,
        system: Path = Path("/"),
        tools: Tools | None = None,
    ) -> None:
        self._output = output
        self._period_s = period_s
        self._limits = limits
        self._system = system
        self._tools = tools or Tools()
        self._history = ThrottleHistory()
        self._first_events: dict[str, float] = {}
        self._last: tuple[HealthReport, float] | None = None
        self._said: dict[Topic, float] = {}
        self._closing = Event()
        self._thread = Thread(target=self._run, name="edgegal-health", daemon=True)

    def __enter__(self) -> "HealthMonitor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Not waited for: it may hang, and it holds nothing.
        self._closing.set()

    def latest(self) -> HealthReport | None:
        """The last report, at once; None before the first look. One that has grown old says so among its concerns."""
        if self._last is None:
            return None
        report, looked = self._last
        age_s = monotonic() - looked
        if age_s < _STALE_PERIODS * self._period_s:
            return report
        old = Concern("monitor", f"nothing was read for {age_s:.0f} s", "see whether a disk or the firmware hangs")
        return replace(report, concerns=(*report.concerns, old))

    def look(self) -> HealthReport:
        """Look once, on the calling thread."""
        health = read_health(self._output, self._system, self._tools)
        self._history = self._history.after(health.throttling)
        during_run = tuple(sorted(self._history.during_run))
        events = self._events_since_first(health)
        report = HealthReport(health, during_run, events, concerns_of(health, during_run, events, self._limits))
        self._log_new(self._last[0].concerns if self._last else (), report.concerns)
        self._last = report, monotonic()
        return report

    def _run(self) -> None:
        while not self._closing.is_set():
            self.look()
            self._closing.wait(self._period_s)

    def _events_since_first(self, health: Health) -> dict[str, int]:
        counts = {name: r.value for name, r in health.overcurrent_events.items() if r.value is not None}
        for name, count in counts.items():
            self._first_events.setdefault(name, count)
        return {name: int(count - self._first_events[name]) for name, count in counts.items()}

    def _log_new(self, before: tuple[Concern, ...], now: tuple[Concern, ...]) -> None:
        # Those who watch the clock say it themselves.
        known = {concern.topic for concern in before} | {"clock"}
        for concern in now:
            if concern.topic not in known and monotonic() - self._said.get(concern.topic, -float("inf")) >= _QUIET_S:
                self._said[concern.topic] = monotonic()
                _log.warning("%s", concern)
