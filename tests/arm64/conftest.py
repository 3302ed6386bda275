"""An emulated ARM computer: QEMU runs each program of the root that tests/arm64/install made, proot shows it the root.

QEMU emulates the processor alone. What programs read of it in ``/proc/cpuinfo`` would be that of this machine, and the
runtimes that parse it for ARM crash on it, so the emulated core's own description is laid over it.
"""

import json
import os
import subprocess
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from edgegal.device.provisioning import build_wheel

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "build" / "arm64"
MEASURED = HOME / "measured"

# Parts as ARM numbers them: the processors of a Raspberry Pi 4 and 5.
_PARTS: Mapping[str, str] = {"cortex-a72": "0xd08", "cortex-a76": "0xd0b"}

# Names that the Linux kernel gives to the bits of AT_HWCAP on arm64, from the lowest.
_FEATURES = (
    *("fp", "asimd", "evtstrm", "aes", "pmull", "sha1", "sha2", "crc32", "atomics", "fphp", "asimdhp", "cpuid"),
    *("asimdrdm", "jscvt", "fcma", "lrcpc", "dcpop", "sha3", "sm3", "sm4", "asimddp"),
)
_ASK_HWCAP = "import ctypes; ask = ctypes.CDLL(None).getauxval; ask.restype = ctypes.c_ulong; print(ask(16))"
_TOO_LONG_S = 1800


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Minutes of emulation are for those who ask for them."""
    return None if _asked_for(config) else True


def pytest_sessionstart() -> None:
    for path in MEASURED.glob("*.json"):
        path.unlink()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table of what was measured."""
    rows = [row for path in sorted(MEASURED.glob("*.json")) for row in json.loads(path.read_text())]
    if not rows or not _asked_for(config):
        return
    terminalreporter.section("emulated ARM against this machine")
    for cells in (list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)):
        terminalreporter.line(f"| {' | '.join(cells)} |")


def _asked_for(config: pytest.Config) -> bool:
    words = config.option.markexpr.split()
    return "arm64" in words and "not" not in words


@pytest.fixture(scope="session")
def measured() -> Path:
    """Folder of the rows of the table, one JSON file for each comparison."""
    MEASURED.mkdir(parents=True, exist_ok=True)
    return MEASURED


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """edgegal as it comes out of its wheel."""
    folder = tmp_path_factory.mktemp("package")
    name, content = build_wheel(ROOT)
    (folder / name).write_bytes(content)
    with zipfile.ZipFile(folder / name) as wheel:
        wheel.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def arm(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python on an emulated core: ``arm(core, site, *words)``.

    `core` is as QEMU calls it. `site` is a folder of packages: ``legacy`` has tflite-runtime, ``current`` the others.
    `shown` maps folders of this machine to where the emulated one sees them.
    """
    binds = {Path(path): path for path in ("/proc", "/dev", "/sys")} | {package: "/opt/edgegal"}
    described: dict[str, Path] = {}

    def describe(core: str) -> Path:
        hwcap = _python(core, binds, ["-c", _ASK_HWCAP])
        assert hwcap.returncode == 0, hwcap.stderr
        path = tmp_path_factory.mktemp(core) / "cpuinfo"
        path.write_text(_cpuinfo(core, int(hwcap.stdout)))
        return path

    def run(
        core: str, site: str, *words: str, shown: Mapping[Path, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        if core not in described:
            described[core] = describe(core)
        # Nothing of one run is there for the next.
        fresh = tmp_path_factory.mktemp("tmp")
        over = {described[core]: "/proc/cpuinfo", HOME / site: "/opt/site", fresh: "/tmp", **(shown or {})}
        return _python(core, binds | over, words)

    return run


def _python(core: str, binds: Mapping[Path, str], words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = ["proot", "-q", f"qemu-aarch64-static -cpu {core}", "-0", "-r", str(HOME / "root"), "-w", "/tmp"]
    command += [word for path, there in binds.items() for word in ("-b", f"{path}:{there}")]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/root",
        "PYTHONPATH": "/opt/edgegal:/opt/site",
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [*command, "/usr/bin/python3.11", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TOO_LONG_S,
        check=False,
    )


def _cpuinfo(core: str, hwcap: int) -> str:
    features = " ".join(name for bit, name in enumerate(_FEATURES) if hwcap >> bit & 1)
    described = f"""\
Features\t: {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {_PARTS[core]}
CPU revision\t: 0
"""
    return "\n".join(f"processor\t: {number}\n{described}" for number in range(os.cpu_count() or 1))
