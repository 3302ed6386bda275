"""How the computer is doing: temperature, power, memory, disk. What cannot be read is said to be so, with a reason."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Health", "Reading", "Throttling", "read_health"]

# Bits of `vcgencmd get_throttled`; sixteen places higher the same since boot.
_THROTTLE_BITS = ("undervoltage", "frequency capped", "throttled", "soft temperature limit")
_SINCE_BOOT = 16


@dataclass(frozen=True)
class Reading:
    """A measured value, or the reason why there is none.

    Attributes
    ----------
    value
        The value in the unit its holder names; None when it could not be read.
    reason
        Why not; empty when it could.
    """

    value: float | None
    reason: str = ""


@dataclass(frozen=True)
class Throttling:
    """What a Raspberry Pi's firmware says of its power and heat.

    Attributes
    ----------
    now, since_boot
        Names of the conditions that hold, and that held at any time since boot; None when it could not be asked.
    reason
        Why not; empty when it could.
    """

    now: tuple[str, ...] | None
    since_boot: tuple[str, ...] | None
    reason: str = ""


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
    """

    temperatures_c: dict[str, Reading]
    throttling: Throttling
    memory_free_bytes: Reading
    disk_free_bytes: Reading


def read_health(output: Path = Path(), system: Path = Path("/")) -> Health:
    """Look at the computer.

    Parameters
    ----------
    output
        Folder whose disk is asked; its nearest existing parent when it is not there yet.
    system
        Root that holds ``sys`` and ``proc``.
    """
    return Health(
        _temperatures(system / "sys/class/thermal"),
        _throttling(),
        _memory(system / "proc/meminfo"),
        _disk(output.absolute()),
    )


def _temperatures(folder: Path) -> dict[str, Reading]:
    zones = sorted(folder.glob("thermal_zone*"))
    if not zones:
        return {"any": Reading(None, f"{folder} has no thermal zone")}
    found: dict[str, Reading] = {}
    for zone in zones:
        try:
            name = (zone / "type").read_text().strip()
        except OSError:
            name = zone.name
        try:
            reading = Reading(int((zone / "temp").read_text()) / 1000)
        except (OSError, ValueError) as error:
            reading = Reading(None, f"{zone / 'temp'}: {error}")
        found[name if name not in found else f"{name} ({zone.name})"] = reading
    return found


def _throttling() -> Throttling:
    command = shutil.which("vcgencmd")
    if command is None:
        return Throttling(None, None, "vcgencmd is not installed: this is no Raspberry Pi OS")
    try:
        answer = subprocess.run([command, "get_throttled"], capture_output=True, text=True, timeout=5, check=True)
        bits = int(answer.stdout.strip().partition("=")[2], 16)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Throttling(None, None, f"vcgencmd get_throttled: {error}")
    return Throttling(_names(bits), _names(bits >> _SINCE_BOOT))


def _names(bits: int) -> tuple[str, ...]:
    return tuple(name for i, name in enumerate(_THROTTLE_BITS) if bits >> i & 1)


def _memory(meminfo: Path) -> Reading:
    try:
        for line in meminfo.read_text().splitlines():
            key, _, rest = line.partition(":")
            if key == "MemAvailable":
                return Reading(float(rest.split()[0]) * 1024)
    except (OSError, ValueError, IndexError) as error:
        return Reading(None, f"{meminfo}: {error}")
    return Reading(None, f"{meminfo} has no MemAvailable")


def _disk(folder: Path) -> Reading:
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        return Reading(float(shutil.disk_usage(existing).free))
    except OSError as error:
        return Reading(None, f"{existing}: {error}")
