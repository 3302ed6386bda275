"""The computer's health as lines for people."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edgegal.device.health import HealthReport, Reading

__all__ = ["Condition", "Vital", "vitals_of"]

Condition = Literal["good", "warning", "unknown"]


@dataclass(frozen=True)
class Vital:
    """One line.

    Attributes
    ----------
    name
        What it is about.
    text
        What there is, or why it is not known.
    condition
        Whether that is well.
    mend
        What to do about it; empty where it is well.
    """

    name: str
    text: str
    condition: Condition = "good"
    mend: str = ""


def vitals_of(report: HealthReport) -> tuple[Vital, ...]:
    """What is a concern with its mend, then the figures, absent sources with their reason."""
    concerns = [Vital(c.topic, c.seen, "warning", c.mend) for c in report.concerns]
    return (*concerns, *_figures(report))


def _figures(report: HealthReport) -> Iterator[Vital]:
    health = report.health
    if health.hottest:
        zone, celsius = health.hottest
        yield Vital("temperature", f"{celsius:.0f} °C ({zone})")
    else:
        yield Vital("temperature", next((r.reason for r in health.temperatures_c.values()), "no sensor"), "unknown")
    throttling = health.throttling
    if throttling.now is None:
        yield Vital("throttling", throttling.reason, "unknown")
    else:
        yield Vital("throttling", ", ".join(throttling.now) or "none now")
    if health.undervoltage.value is None:
        yield Vital("supply", health.undervoltage.reason, "unknown")
    else:
        yield Vital("supply", "too weak" if health.undervoltage.value else "strong enough")
    for rail, power in health.power_mw.items():
        if power.value is not None:
            yield Vital(rail, f"{power.value / 1000:.1f} W")
    yield _bytes("memory free", health.memory_free_bytes)
    yield _bytes("memory of this run", health.own_memory_bytes)
    yield _bytes("disk free", health.disk_free_bytes)


def _bytes(name: str, reading: Reading) -> Vital:
    if reading.value is None:
        return Vital(name, reading.reason, "unknown")
    return Vital(name, f"{reading.value / 1e9:.1f} GB" if reading.value >= 1e9 else f"{reading.value / 1e6:.0f} MB")
