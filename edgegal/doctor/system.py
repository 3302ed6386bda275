"""The computer itself: board, heat, power, memory, disk, clock."""

import time
from collections.abc import Iterator
from pathlib import Path

from edgegal.device.health import Health, Reading, read_health
from edgegal.device.health.concerns import USUAL_LIMITS
from edgegal.doctor.findings import Finding
from edgegal.machine import this_machine

__all__ = ["look_at_system"]


def look_at_system(root: Path = Path("/"), health: Health | None = None, now: float | None = None) -> Iterator[Finding]:
    """Board, sensors, memory, disk and clock.

    Parameters
    ----------
    root
        Folder that holds ``proc``, ``sys`` and ``run``.
    health
        A look already taken.
    now
        Seconds since the epoch; the clock's when None.
    """
    machine = this_machine()
    yield Finding("system", "board", "fine", machine.board or f"no device tree; {machine.cpu}")
    yield Finding("system", "processor", "fine", f"{machine.cores} cores, {' '.join(machine.cpu_flags) or 'plain'}")
    health = health or read_health(system=root)
    for name, reading in health.temperatures_c.items():
        yield _temperature(name, reading)
    yield _power(health)
    yield _room(
        "memory free", health.memory_free_bytes, USUAL_LIMITS.memory_free_bytes, "close other programs, or add swap"
    )
    yield _room(
        "disk free",
        health.disk_free_bytes,
        USUAL_LIMITS.disk_free_bytes,
        "delete old sightings, or write to another disk",
    )
    yield _clock(root, time.time() if now is None else now)


def _temperature(zone: str, reading: Reading) -> Finding:
    name = "temperature" if zone == "any" else f"temperature {zone}"
    if reading.value is None:
        return Finding("system", name, "note", f"unknown: {reading.reason}")
    if reading.value >= USUAL_LIMITS.hot_c:
        return Finding("system", name, "trouble", f"{reading.value:.0f} degrees C", "cool it: fan, heat sink, shade")
    return Finding("system", name, "fine", f"{reading.value:.0f} degrees C")


def _power(health: Health) -> Finding:
    throttling = health.throttling
    if throttling.now is None or throttling.since_boot is None:
        return Finding("system", "throttling", "note", f"unknown: {throttling.reason}")
    mend = "use a stronger supply and a short cable" if "undervoltage" in throttling.since_boot else "cool the board"
    if throttling.now:
        return Finding("system", "throttling", "trouble", f"now: {', '.join(throttling.now)}", mend)
    if throttling.since_boot:
        return Finding("system", "throttling", "note", f"since boot: {', '.join(throttling.since_boot)}", mend)
    return Finding("system", "throttling", "fine", "never since boot")


def _room(name: str, reading: Reading, little: float, mend: str) -> Finding:
    if reading.value is None:
        return Finding("system", name, "note", f"unknown: {reading.reason}")
    shown = f"{reading.value / 2**30:.1f} GiB"
    return (
        Finding("system", name, "trouble", shown, mend)
        if reading.value < little
        else Finding("system", name, "fine", shown)
    )


def _clock(root: Path, now: float) -> Finding:
    """Whether the clock can be right: a board without a battery starts at an old date when there is no network."""
    if now < Path(__file__).stat().st_mtime:
        return Finding(
            "system",
            "clock",
            "trouble",
            "earlier than the installation of edgegal: it is not set",
            "connect to a network or a GPS once, or: sudo date -u -s 'YYYY-MM-DD HH:MM'",
        )
    if (root / "run/systemd/timesync/synchronized").exists():
        return Finding("system", "clock", "fine", "set by the network")
    return Finding("system", "clock", "note", "plausible, not known to be synchronised", "check: timedatectl")
