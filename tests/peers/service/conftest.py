"""A computer that runs systemd, for tests: namespaces of this one, on a copy of its files that forgets all changes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[3]
_HIDDEN = tuple(Path("/") / name for name in ("dev", "run", "tmp", "var/tmp"))


class SystemdMachine:
    """Runs commands on it.

    Parameters
    ----------
    process
        Number of its systemd here.
    """

    def __init__(self, process: int) -> None:
        self._process = process

    def run(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command as root; it may fail."""
        return subprocess.run(
            ["nsenter", "--target", str(self._process), "--all", *words],
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"},
        )

    def must(self, *words: str, text: str = "") -> str:
        """What a command prints that has to succeed."""
        done = self.run(*words, text=text)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """Write a file, its folder made."""
        self.must("mkdir", "-p", str(Path(path).parent))
        self.must("tee", path, text=text)

    def read(self, path: str) -> str:
        """A file's text."""
        return self.must("cat", path)


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdMachine]:
    """A computer with systemd; everything in it ends with it."""
    if os.geteuid() != 0:
        pytest.skip("only root makes namespaces")
    if any(_ROOT.is_relative_to(hidden) for hidden in _HIDDEN):
        pytest.skip(f"services have folders of their own in place of {_ROOT.parts[1]}: they do not see this checkout")
    folder = tmp_path_factory.mktemp("systemd")
    hierarchy = next(
        Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2"
    )
    group = hierarchy / f"edgegal-peer-{os.getpid()}"
    group.mkdir()
    namespaces = subprocess.Popen(
        [
            *("unshare", "--cgroup", "--pid", "--mount", "--uts", "--ipc", "--net", "--fork", "--kill-child"),
            *(str(Path(__file__).with_name("systemd_machine")), str(folder), str(_ROOT)),
        ],
        stdin=subprocess.DEVNULL,
        # Its processes live in a group of their own, below which systemd makes those of its services.
        preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())),
    )
    try:
        machine = _booted(namespaces)
        _open_interpreter(machine)
        yield machine
    finally:
        for child in _children(namespaces.pid):
            os.kill(child, signal.SIGKILL)
        namespaces.kill()
        namespaces.wait()
        _remove(group)


def _booted(namespaces: "subprocess.Popen[bytes]") -> SystemdMachine:
    end = time.monotonic() + 60
    while time.monotonic() < end and namespaces.poll() is None:
        for child in _children(namespaces.pid):
            machine = SystemdMachine(child)
            with contextlib.suppress(subprocess.TimeoutExpired):
                if machine.run("systemctl", "is-system-running").stdout.strip() == "running":
                    return machine
        time.sleep(0.2)
    raise AssertionError("systemd did not start")


def _open_interpreter(machine: SystemdMachine) -> None:
    """Let every user of the machine run this interpreter, which may lie in root's home."""
    for path in {Path(sys.executable), Path(sys.executable).resolve()}:
        machine.must("chmod", "o+x", *(str(folder) for folder in path.parents))


def _children(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _remove(group: Path) -> None:
    """Remove a control group whose processes are ending."""
    end = time.monotonic() + 30
    while group.exists():
        for inner in sorted(group.rglob("*/"), key=lambda p: -len(p.parts)):
            with contextlib.suppress(OSError):
                inner.rmdir()
        try:
            group.rmdir()
        except OSError:
            assert time.monotonic() < end, f"{group} is still in use"
            time.sleep(0.1)
