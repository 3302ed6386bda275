"""One look at the computer."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgegal.device.health import kernel
from edgegal.device.health.command import Command
from edgegal.device.health.reading import Reading
from edgegal.device.service.clock import read_clock

__all__ = ["Health", "Throttling", "Tools", "read_health", "throttling_of"]

# Bits of `vcgencmd get_throttled`; sixteen places higher the same since boot.
_THROTTLE_BITS = ("undervoltage", "frequency capped", "throttled", "soft temperature limit")
_SINCE_BOOT = 16


@dataclass(frozen=True)
class Throttling:
    """What a Raspberry Pi's firmware says of its power and heat.

    Attributes
    ----------
    now, since_boot
        Names of the conditions that hold, and that held at any time since boot or since the kernel last cleared them;
        None when the firmware could not be asked.
    reason
        Why not; empty when it could.
    """

    now: tuple[str, ...] | None
    since_boot: tuple[str, ...] | None
    reason: str = ""


@dataclass(frozen=True)
class Tools:
    """The programs that know what no file of the kernel shows."""

    vcgencmd: Command = field(default_factory=lambda: Command("vcgencmd", "get_throttled"))
    nvpmodel: Command = field(default_factory=lambda: Command("nvpmodel", "-q"))


_UNREAD: Reading[Any] = Reading(None, "not read")


@dataclass(frozen=True)
class Health:
    """One look at the computer.

    Attributes
    ----------
    temperatures_c
        Degrees Celsius by the thermal zone's type; one entry ``any`` with a reason where there is no zone.
    throttling
        Power and heat limits, on a Raspberry Pi.
    memory_free_bytes
        Memory that programs can still have.
    disk_free_bytes
        Space left where output goes.
    undervoltage
        Whether a Raspberry Pi's supply is too weak now.
    overcurrent_events
        Counters since boot of a Jetson's throttling for its supply; ``any`` with a reason where there is none.
    power_mw
        Milliwatts by power rail; ``any`` with a reason where none is measured.
    power_mode
        A Jetson's power mode, such as ``15W``.
    swap_used_bytes
        Memory that was moved to disk.
    own_memory_bytes
        Memory that this process holds.
    load
        Processes that wanted to run, mean of the last minute.
    clock_synchronised
        Whether network or GPS set the clock since the computer started.
    time
        When, in UTC as this computer's clock had it.
    """

    temperatures_c: Mapping[str, Reading]
    throttling: Throttling
    memory_free_bytes: Reading
    disk_free_bytes: Reading
    undervoltage: Reading[bool] = _UNREAD
    overcurrent_events: Mapping[str, Reading] = field(default_factory=lambda: {"any": _UNREAD})
    power_mw: Mapping[str, Reading] = field(default_factory=lambda: {"any": _UNREAD})
    power_mode: Reading[str] = _UNREAD
    swap_used_bytes: Reading = _UNREAD
    own_memory_bytes: Reading = _UNREAD
    load: Reading = _UNREAD
    clock_synchronised: Reading[bool] = _UNREAD
    time: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @property
    def hottest(self) -> tuple[str, float] | None:
        """Type and degrees Celsius of the hottest zone; None where no temperature can be read."""
        readings = ((name, reading.value) for name, reading in self.temperatures_c.items())
        return max(((name, v) for name, v in readings if v is not None), key=lambda zone: zone[1], default=None)

    def document(self) -> dict[str, Any]:
        """Plain JSON values; what could not be read is null, and ``reasons`` says why under the same name.

        A name inside a group, such as a thermal zone, is ``GROUP.NAME`` in ``reasons``; ``any`` stands for a whole
        group that is absent and then is its only entry.
        """
        reasons: dict[str, str] = {}
        document: dict[str, Any] = {"time": self.time.isoformat(timespec="seconds")}
        for name in _SINGLE:
            reading: Reading[Any] = getattr(self, name)
            document[name] = reading.value
            _note(reasons, name, reading.reason)
        for group in _GROUPS:
            readings: Mapping[str, Reading] = getattr(self, group)
            document[group] = {name: reading.value for name, reading in readings.items()}
            for name, reading in readings.items():
                _note(reasons, f"{group}.{name}", reading.reason)
        hottest = self.hottest
        document["hottest"] = {"zone": hottest[0], "temperature_c": hottest[1]} if hottest else None
        for moment in ("now", "since_boot"):
            names: tuple[str, ...] | None = getattr(self.throttling, moment)
            document[f"throttled_{moment}"] = None if names is None else list(names)
            _note(reasons, f"throttled_{moment}", self.throttling.reason)
        return {**document, "reasons": reasons}


_SINGLE = (
    *("memory_free_bytes", "swap_used_bytes", "own_memory_bytes", "disk_free_bytes", "load"),
    *("undervoltage", "power_mode", "clock_synchronised"),
)
_GROUPS = ("temperatures_c", "power_mw", "overcurrent_events")


def _note(reasons: dict[str, str], name: str, reason: str) -> None:
    if reason:
        reasons[name] = reason


def read_health(output: Path = Path(), system: Path = Path("/"), tools: Tools | None = None) -> Health:
    """Look at the computer.

    A program that hangs takes up to its patience; files are read at once.

    Parameters
    ----------
    output
        Folder whose disk is asked; its nearest existing parent when it is not there yet.
    system
        Root that holds ``sys``, ``proc`` and ``run``.
    tools
        Programs to ask; hand in the same ones each time, so that one that hangs is not started again.
    """
    tools = tools or Tools()
    clock = read_clock(system)
    return Health(
        temperatures_c=kernel.temperatures_c(system),
        throttling=throttling_of(tools.vcgencmd.ask()),
        memory_free_bytes=kernel.memory_free_bytes(system),
        disk_free_bytes=_disk(output.absolute()),
        undervoltage=kernel.undervoltage(system),
        overcurrent_events=kernel.overcurrent_events(system),
        power_mw=kernel.power_mw(system),
        power_mode=_power_mode(tools.nvpmodel.ask()),
        swap_used_bytes=kernel.swap_used_bytes(system),
        own_memory_bytes=kernel.own_memory_bytes(system),
        load=kernel.load(system),
        clock_synchronised=Reading(clock.synchronised, "" if clock.synchronised is not None else clock.reason),
    )


def throttling_of(answer: Reading[str]) -> Throttling:
    """What ``vcgencmd get_throttled`` answered, such as ``throttled=0x50005``."""
    if answer.value is None:
        return Throttling(None, None, answer.reason)
    bits = re.fullmatch(r"throttled=0x([0-9a-fA-F]+)", answer.value)
    if bits is None:
        return Throttling(None, None, f"vcgencmd get_throttled says {answer.value[:80]!r}")
    number = int(bits[1], 16)
    return Throttling(_names(number), _names(number >> _SINCE_BOOT))


def _names(bits: int) -> tuple[str, ...]:
    return tuple(name for i, name in enumerate(_THROTTLE_BITS) if bits >> i & 1)


def _power_mode(answer: Reading[str]) -> Reading[str]:
    """What ``nvpmodel -q`` answered: ``NV Power Mode: 15W``, and its number on the next line."""
    if answer.value is None:
        return answer
    mode = re.search(r"^NV Power Mode:\s*(.+?)\s*$", answer.value, re.MULTILINE)
    return Reading(mode[1]) if mode else Reading(None, f"nvpmodel -q says {answer.value[:80]!r}")


def _disk(folder: Path) -> Reading:
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        return Reading(float(shutil.disk_usage(existing).free))
    except OSError as error:
        return Reading(None, f"{existing}: {error}")
