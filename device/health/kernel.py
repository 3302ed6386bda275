"""What the kernel shows of heat, power, memory and load, in files below ``/sys`` and ``/proc``.

Names and units of sensors: the kernel's `hwmon sysfs interface
<https://docs.kernel.org/hwmon/sysfs-interface.html>`_ and its drivers ``raspberrypi-hwmon`` and ``ina3221``; the
overcurrent counters of ``soctherm_oc`` are of NVIDIA's Jetson Linux. Every function takes the folder that holds
``sys`` and ``proc``, and gives an entry ``any`` with the reason where there is no such sensor at all.
"""

from pathlib import Path

from edgegal.device.health.reading import Reading

__all__ = [
    "load",
    "memory_free_bytes",
    "overcurrent_events",
    "own_memory_bytes",
    "power_mw",
    "swap_used_bytes",
    "temperatures_c",
    "undervoltage",
]


def temperatures_c(system: Path) -> dict[str, Reading]:
    """Degrees Celsius by the thermal zone's type."""
    folder = system / "sys/class/thermal"
    zones = sorted(folder.glob("thermal_zone*"), key=_natural)
    if not zones:
        return {"any": Reading(None, f"{folder} has no thermal zone")}
    found: dict[str, Reading] = {}
    for zone in zones:
        name = _text(zone / "type") or zone.name
        found[name if name not in found else f"{name} ({zone.name})"] = _number(zone / "temp", 0.001)
    return found


def undervoltage(system: Path) -> Reading[bool]:
    """Whether a Raspberry Pi's supply is below its limit now."""
    boards = _monitors(system, "rpi_volt")
    if not boards:
        return Reading(None, "no sensor rpi_volt: this is no Raspberry Pi")
    alarm = _number(boards[0] / "in0_lcrit_alarm")
    return Reading(None if alarm.value is None else alarm.value != 0, alarm.reason)


def overcurrent_events(system: Path) -> dict[str, Reading]:
    """How often since boot a Jetson was throttled for its supply, by counter."""
    counters = {
        path.name.removesuffix("_event_cnt"): _number(path)
        for monitor in _monitors(system, "soctherm_oc")
        for path in sorted(monitor.glob("oc*_event_cnt"), key=_natural)
    }
    return counters or {"any": Reading(None, "no sensor soctherm_oc: this is no Jetson")}


def power_mw(system: Path) -> dict[str, Reading]:
    """Milliwatts by power rail, of every INA3221."""
    rails: dict[str, Reading] = {}
    for monitor in _monitors(system, "ina3221"):
        for label in sorted(monitor.glob("in*_label"), key=_natural):
            number = label.name.removeprefix("in").removesuffix("_label")
            # Inputs without a current of their own are sums of shunt voltages.
            if (monitor / f"curr{number}_input").exists():
                name = _text(label) or f"in{number}"
                rails[name if name not in rails else f"{name} ({monitor.name})"] = _power(monitor, number)
    return rails or {"any": Reading(None, "no sensor ina3221")}


def _power(monitor: Path, number: str) -> Reading:
    # The driver keeps a channel that is switched off, and answers with an error.
    volts = _number(monitor / f"in{number}_input", 0.001)
    milliamperes = _number(monitor / f"curr{number}_input")
    if volts.value is None or milliamperes.value is None:
        return Reading(None, volts.reason or milliamperes.reason)
    return Reading(volts.value * milliamperes.value)


def memory_free_bytes(system: Path) -> Reading:
    """Memory that programs can still have."""
    return _kilobytes(system / "proc/meminfo", "MemAvailable")


def swap_used_bytes(system: Path) -> Reading:
    """Memory that was moved to disk; 0 without swap."""
    total, free = (_kilobytes(system / "proc/meminfo", f"Swap{part}") for part in ("Total", "Free"))
    if total.value is None or free.value is None:
        return Reading(None, total.reason or free.reason)
    return Reading(total.value - free.value)


def own_memory_bytes(system: Path) -> Reading:
    """Memory that this process holds."""
    return _kilobytes(system / "proc/self/status", "VmRSS")


def load(system: Path) -> Reading:
    """Processes that wanted to run, mean of the last minute."""
    path = system / "proc/loadavg"
    try:
        return Reading(float(path.read_text().split()[0]))
    except (OSError, ValueError, IndexError) as error:
        return Reading(None, f"{path}: {error}")


def _monitors(system: Path, name: str) -> list[Path]:
    """Folders of the hardware monitors of a driver."""
    folders = sorted((system / "sys/class/hwmon").glob("hwmon*"), key=_natural)
    return [folder for folder in folders if _text(folder / "name") == name]


def _natural(path: Path) -> tuple[int, str]:
    """Orders ``zone2`` before ``zone10``."""
    return len(path.name), path.name


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path, unit: float = 1.0) -> Reading:
    try:
        return Reading(int(path.read_text()) * unit)
    except (OSError, ValueError) as error:
        return Reading(None, f"{path}: {error}")


def _kilobytes(path: Path, key: str) -> Reading:
    """A line such as ``MemAvailable:  100 kB``, in bytes."""
    try:
        for line in path.read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == key:
                return Reading(float(rest.split()[0]) * 1024)
    except (OSError, ValueError, IndexError) as error:
        return Reading(None, f"{path}: {error}")
    return Reading(None, f"{path} has no {key}")
