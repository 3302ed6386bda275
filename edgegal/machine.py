"""What a figure was measured on: processor, the instruction sets that change kernels, memory, package versions, heat.

Nothing here names the machine or its owner: two boards of one model read the same.
"""

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

__all__ = [
    "KERNEL_FLAGS",
    "PACKAGES",
    "HealthStamp",
    "Machine",
    "package_versions",
    "parse_cpuinfo",
    "stamp_health",
    "this_machine",
]

# Instruction sets for which the runtimes carry their own float or integer kernels, so that the same file may give
# other numbers or other times with and without them. Names as the Linux kernel writes them.
KERNEL_FLAGS = (
    *("sse4_1", "sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vl"),
    *("avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
    *("neon", "vfpv4", "asimd", "fphp", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "svei8mm"),
)

PACKAGES = (
    *("edgegal", "numpy", "opencv-python-headless", "opencv-python"),
    *("ai-edge-litert", "tflite-runtime", "onnxruntime", "openvino"),
    *("tensorflow", "keras", "keras-tuner", "tf2onnx", "onnx", "nncf"),
)

# What the kernel of an ARM board says instead of a model name: implementer and part, from the architecture's registry.
_ARM_PARTS: Mapping[tuple[str, str], str] = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd04"): "Cortex-A35",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0a"): "Cortex-A75",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x4e", "0x004"): "Carmel",
}


@dataclass(frozen=True)
class Machine:
    """A computer as far as it explains a figure.

    Attributes
    ----------
    architecture
        As ``uname -m`` says: ``x86_64``, ``aarch64``.
    cpu
        Processor model.
    board
        Board model from the device tree, e.g. ``Raspberry Pi 5 Model B Rev 1.0``; None on a PC.
    cores
        Logical cores this process may run on.
    memory_bytes
        Physical memory.
    cpu_flags
        Those of `KERNEL_FLAGS` the processor has, in that order.
    os
        Kernel name and release, and the distribution where it says.
    python
        Version of the interpreter.
    """

    architecture: str
    cpu: str
    board: str | None
    cores: int
    memory_bytes: int
    cpu_flags: tuple[str, ...]
    os: str
    python: str

    def __str__(self) -> str:
        """One line: architecture and processor, with the board where there is one."""
        where = f"{self.board}, {self.cpu}" if self.board else self.cpu
        return f"{self.architecture} {where}"


@dataclass(frozen=True)
class HealthStamp:
    """How the machine was at one moment; None where it has no such sensor.

    Attributes
    ----------
    time
        When, in UTC.
    temperature_c
        The hottest thermal zone, degrees Celsius.
    cpu_mhz
        Mean clock of the cores: a hot or underfed board lowers it.
    load
        Processes that wanted to run, mean of the last minute.
    """

    time: datetime
    temperature_c: float | None
    cpu_mhz: float | None
    load: float | None


def parse_cpuinfo(text: str) -> tuple[str, frozenset[str]]:
    """Processor model and all flags from the text of ``/proc/cpuinfo``, of x86 or ARM; model empty when not said."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        # Cores of one chip differ at most in frequency; the big cores of a big.LITTLE pair are listed last.
        if colon:
            fields[key.strip().lower()] = value.strip()
    flags = frozenset((fields.get("flags") or fields.get("features") or "").split())
    part = (fields.get("cpu implementer", ""), fields.get("cpu part", ""))
    model = fields.get("model name") or _ARM_PARTS.get(part) or " ".join(p for p in part if p)
    return model, flags


def _text(path: str) -> str:
    """Text of a file of the system; empty where the system has no such file."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _system() -> str:
    try:
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        distribution = ""
    kernel = f"{platform.system()} {platform.release()}"
    return f"{distribution} ({kernel})" if distribution else kernel


def this_machine() -> Machine:
    """The machine this process runs on."""
    model, flags = parse_cpuinfo(_text("/proc/cpuinfo"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Machine(
        architecture=platform.machine(),
        cpu=model or platform.processor() or "unknown processor",
        board=_text("/proc/device-tree/model").strip("\0\n ") or None,
        cores=cores or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        cpu_flags=tuple(f for f in KERNEL_FLAGS if f in flags),
        os=_system(),
        python=platform.python_version(),
    )


def _numbers(root: Path, pattern: str) -> list[float]:
    """Numbers in the files that match; a sensor that cannot be read is left out."""
    return [float(text) for path in root.glob(pattern) if (text := _text(str(path)).strip()).lstrip("-").isdigit()]


def stamp_health(system: Path = Path("/sys")) -> HealthStamp:
    """Temperature, clock and load now; `system` is where the kernel shows its devices."""
    zones = _numbers(system, "class/thermal/thermal_zone*/temp")
    clocks = _numbers(system, "devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    return HealthStamp(
        time=datetime.now(timezone.utc),
        temperature_c=max(zones) / 1000 if zones else None,
        cpu_mhz=sum(clocks) / len(clocks) / 1000 if clocks else None,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def package_versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of the distributions among `packages` that are installed; nothing is imported."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
