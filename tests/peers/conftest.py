"""The real browser that pages are shown to, and servers that tests start, stop and start again."""

import faulthandler
import itertools
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_BROWSER = (
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
)


@pytest.fixture
def browse(tmp_path: Path) -> Callable[..., str]:
    """Opens an address with further options, each time in a fresh profile; returns what the browser printed."""
    numbers = itertools.count()

    def show(address: str, *options: str) -> str:
        profile = tmp_path / f"profile-{next(numbers)}"
        command = [*_BROWSER, f"--user-data-dir={profile}", *options, address]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

    return show


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """Ends the whole run, with all stacks, when a test waits for a program that does not come."""
    faulthandler.dump_traceback_later(300, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


class Server:
    """A program that listens at a port of this computer.

    Parameters
    ----------
    command
        What starts it.
    port
        Where it will listen.
    log
        File for what it says.
    """

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.port = port
        self._command = command
        self._log = log
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while not self._listens():
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            assert time.monotonic() < end, self._log.read_text(errors="replace")
            time.sleep(0.1)

    def _listens(self) -> bool:
        # Asking by connecting would take the one client that some of these programs serve.
        listening = f":{self.port:04X} "
        tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
        return any(
            listening in line.split(maxsplit=1)[1][:40] and line.split()[3] == "0A"
            for table in tables
            for line in table.read_text().splitlines()[1:]
        )

    def freeze(self) -> None:
        """Have it hang, connections open."""
        self._process.send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        """Kill it, as a power cut does."""
        self._process.kill()
        self._process.wait()


@pytest.fixture
def free_port() -> int:
    """A port nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serve(free_port: int, tmp_path: Path) -> Iterator[Callable[[list[str]], Server]]:
    """Starts a program; ``{port}`` in its command becomes a free port. All are killed after the test."""
    servers: list[Server] = []

    def start(command: list[str]) -> Server:
        words = [word.replace("{port}", str(free_port)) for word in command]
        servers.append(Server(words, free_port, tmp_path / "server.log"))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
