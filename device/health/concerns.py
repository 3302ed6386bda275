"""What in a look at the computer should worry its owner, and what to do about it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edgegal.device.health.look import Health
from edgegal.device.service.clock import CLOCK_MEND

__all__ = ["USUAL_LIMITS", "Concern", "Limits", "Topic", "concerns_of"]

Topic = Literal[
    "temperature", "undervoltage", "throttling", "overcurrent", "memory", "disk", "load", "clock", "monitor"
]


@dataclass(frozen=True)
class Concern:
    """Something that should worry the owner.

    Attributes
    ----------
    topic
        What it is about; there is at most one of each.
    seen
        What was seen, with the figure.
    mend
        What to do about it.
    """

    topic: Topic
    seen: str
    mend: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.seen} ({self.mend})"

    def document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Limits:
    """From where on a figure is a concern.

    Attributes
    ----------
    hot_c
        Degrees Celsius; a Raspberry Pi slows down at 80, a Jetson above that.
    memory_free_bytes, disk_free_bytes
        Less than this is too little.
    load
        Mean number of processes that want to run, above which frames wait; twice the cores of a Pi.
    """

    hot_c: float = 80.0
    memory_free_bytes: float = 64 * 2**20
    disk_free_bytes: float = 512 * 2**20
    load: float = 8.0


USUAL_LIMITS = Limits()

_SUPPLY = "use the official supply and a short cable, and power cameras from a hub of their own"
_COOL = "cool the board: a fan, a heat sink, air around it"


def concerns_of(
    health: Health,
    throttled_during_run: Collection[str] = (),
    overcurrent_during_run: Mapping[str, int] | None = None,
    limits: Limits = USUAL_LIMITS,
) -> tuple[Concern, ...]:
    """What a look gives reason to worry about; what could not be read gives none.

    Parameters
    ----------
    health
        The look.
    throttled_during_run
        Conditions of `Throttling` that held at any time since the run began.
    overcurrent_during_run
        Events of a Jetson's counters since the run began.
    limits
        From where on.
    """
    return tuple(_concerns(health, throttled_during_run, overcurrent_during_run or {}, limits))


def _concerns(
    health: Health, throttled: Collection[str], overcurrent: Mapping[str, int], limits: Limits
) -> Iterator[Concern]:
    hottest = health.hottest
    if hottest and hottest[1] >= limits.hot_c:
        yield Concern("temperature", f"{hottest[0]} is at {hottest[1]:.0f} degrees C", _COOL)
    now = health.throttling.now or ()
    if "undervoltage" in now or health.undervoltage.value:
        yield Concern("undervoltage", "the supply is too weak now", _SUPPLY)
    elif "undervoltage" in throttled:
        yield Concern("undervoltage", "the supply was too weak during this run", _SUPPLY)
    if slowed := [name for name in now if name != "undervoltage"]:
        yield Concern("throttling", f"the board is slowed down now: {', '.join(slowed)}", _COOL)
    elif slowed := [name for name in throttled if name != "undervoltage"]:
        yield Concern("throttling", f"the board was slowed down during this run: {', '.join(slowed)}", _COOL)
    if events := {name: count for name, count in overcurrent.items() if count > 0}:
        counted = ", ".join(f"{name} {count}" for name, count in events.items())
        yield Concern("overcurrent", f"events during this run: {counted}", "choose a lower power mode: sudo nvpmodel")
    yield from _shortages(health, limits)
    if health.clock_synchronised.value is False:
        yield Concern("clock", "it was not set by network or GPS since the start", CLOCK_MEND)


def _shortages(health: Health, limits: Limits) -> Iterator[Concern]:
    memory = health.memory_free_bytes.value
    if memory is not None and memory < limits.memory_free_bytes:
        yield Concern("memory", f"{memory / 2**20:.0f} MiB free", "end other programs, or give smaller frames")
    disk = health.disk_free_bytes.value
    if disk is not None and disk < limits.disk_free_bytes:
        yield Concern("disk", f"{disk / 2**20:.0f} MiB free", "delete old nights, or write to a larger disk")
    load = health.load.value
    if load is not None and load > limits.load:
        yield Concern("load", f"{load:.1f} processes want to run", "end other programs")
