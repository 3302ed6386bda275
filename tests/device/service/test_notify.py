"""Signs of life, as a real datagram socket hears them."""

import itertools
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgegal.device.service import Notifier


class Manager:
    """What listens in place of the service manager."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.setblocking(False)
        self.address = address

    def heard(self) -> list[str]:
        """All messages since the last time."""
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify") if request.param == "path" else f"@edgegal-{uuid.uuid4()}")
    yield made
    made.close()


def test_a_run_tells_that_it_is_ready_once_how_it_is_and_that_it_stops(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    notifier.status("waiting for\nthe camera")
    notifier.status("waiting for the camera")
    for _ in range(3):
        notifier.ready()
    notifier.stopping()
    assert manager.heard() == ["STATUS=waiting for the camera", "READY=1", "STOPPING=1"]


def test_a_start_that_goes_on_is_given_more_time_with_each_step(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    notifier.starting("making the master dark: 1 exposures read")
    notifier.starting("opening the networks")
    notifier.starting("opening the networks")
    assert manager.heard() == [
        "EXTEND_TIMEOUT_USEC=120000000",
        "STATUS=making the master dark: 1 exposures read",
        "EXTEND_TIMEOUT_USEC=120000000",
        "STATUS=opening the networks",
        "EXTEND_TIMEOUT_USEC=120000000",
    ]


def test_signs_of_life_come_four_times_a_period_however_often_it_beats(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count()
    monkeypatch.setattr("edgegal.device.service.notify.monotonic", lambda: next(clock) * 0.1)
    notifier = Notifier(manager.address, watchdog_s=60)
    heard = []
    for _ in range(6000):
        notifier.beat()
        heard += manager.heard()
    assert heard == ["WATCHDOG=1"] * 40


def test_without_a_watchdog_there_are_no_signs_of_life(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    notifier.beat()
    assert manager.heard() == []


def test_the_environment_says_where_and_how_often(manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}
    Notifier.from_environment(environment).beat()
    assert manager.heard() == ["WATCHDOG=1"]
    # The watchdog of a parent is not ours to feed.
    Notifier.from_environment({**environment, "WATCHDOG_PID": "1"}).beat()
    assert manager.heard() == []


def test_without_a_manager_nothing_happens() -> None:
    notifier = Notifier.from_environment({})
    notifier.ready()
    notifier.status("well")
    notifier.beat()
    notifier.stopping()
    notifier.close()


def test_a_manager_that_does_not_read_is_not_waited_for(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(manager.address)
    for number in range(5000):
        notifier.status(f"{number} frames")
    notifier.ready()
    heard = manager.heard()
    assert 0 < len(heard) < 5000
    assert "READY=1" not in heard
    assert len(caplog.records) == 1
    # What it missed is told again.
    notifier.ready()
    notifier.ready()
    assert manager.heard() == ["READY=1"]


def test_a_manager_that_is_gone_is_said_once(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(manager.address)
    manager.close()
    if not manager.address.startswith("@"):
        Path(manager.address).unlink()
    notifier.ready()
    notifier.stopping()
    assert len(caplog.records) == 1


def test_what_is_told_after_closing_reaches_nobody(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    notifier.close()
    notifier.stopping()
    assert manager.heard() == []


def test_a_process_of_its_own_tells_by_its_environment(manager: Manager) -> None:
    program = "from edgegal.device.service import Notifier; Notifier.from_environment().ready()"
    environment = {**os.environ, "NOTIFY_SOCKET": manager.address}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert manager.heard() == ["READY=1"]
