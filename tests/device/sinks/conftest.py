"""A small night for sinks: frames with galaxies at their own places, made by the real tracker."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from edgegal.detections import Detections
from edgegal.device.pipeline import FrameResult, StageTimes
from edgegal.device.sinks import Sink
from edgegal.device.tracking import Sighting, Tracker
from edgegal.frames import Frame
from edgegal.inference import Abstention

LABELS = ("round", "spiral")
BEGIN = datetime(2026, 3, 1, 21, tzinfo=timezone.utc)


@dataclass
class Night:
    """Frames of 120 x 160 pixels; galaxy `k` stands at ``25 * k`` pixels from the top left corner."""

    tracker: Tracker = field(default_factory=lambda: Tracker(LABELS, Abstention(abstain_below=0.55), patience=0))
    frames: int = 0

    def frame(self, *probabilities: tuple[float, float] | None) -> tuple[FrameResult, tuple[Sighting, ...]]:
        """The next frame, with a galaxy for each pair of probabilities; and the sightings that end with it."""
        there = [(k, pair) for k, pair in enumerate(probabilities) if pair is not None]
        corners = [25.0 * k for k, _ in there]
        boxes = np.array([[c, c, c + 20, c + 20] for c in corners], np.float32).reshape(-1, 4)
        found = Detections(boxes, np.full(len(there), 0.9, np.float32), np.zeros(len(there), np.int32))
        rng = np.random.default_rng(self.frames)
        view = rng.integers(0, 40, (120, 160, 3)).astype(np.uint8)
        for c in map(int, corners):
            view[c + 5 : c + 15, c + 5 : c + 15] = 200
        time = BEGIN + timedelta(seconds=10 * self.frames)
        frame = Frame(view, "sim:", self.frames, time, linear=False, exposure_s=10.0, target="M 51")
        self.frames += 1
        rows = np.array([pair for _, pair in there], np.float32).reshape(-1, len(LABELS))
        self.seen, ended = self.tracker.update(frame, found, rows)
        return FrameResult(frame, view, found, rows, StageTimes(read=0.01, detect=0.1)), ended

    def show(self, sinks: Sink | Sequence[Sink], *probabilities: tuple[float, float] | None) -> FrameResult:
        """The next frame, written to sinks."""
        result, ended = self.frame(*probabilities)
        for sink in [sinks] if isinstance(sinks, Sink) else sinks:
            sink.write(result, self.seen, ended)
        return result


@pytest.fixture
def night() -> Night:
    """An empty sky to put galaxies into."""
    return Night()


@pytest.fixture(scope="session")
def new_night() -> type[Night]:
    """Makes empty skies, for tests that need several."""
    return Night


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock to set."""
    return Clock()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own takes the right to mount one")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


class Filler:
    """A file that takes all the room of its disk.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Leave no byte."""
        with self.path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def go(self) -> None:
        """Give the room back."""
        self.path.unlink()


@pytest.fixture
def filler(tiny_disk: Path) -> Filler:
    """What fills the tiny disk."""
    return Filler(tiny_disk / "filler")


@pytest.fixture
def free_port() -> int:
    """A port nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
