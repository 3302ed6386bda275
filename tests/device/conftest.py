"""What tests of the device share: where the real pictures are, stages that need no network, small skies, and a sink."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal.detections import Detections
from edgegal.device.pipeline import FrameResult, Naming
from edgegal.device.sinks import Sink
from edgegal.device.tracking import Sighting
from edgegal.frames import View
from edgegal.preprocess import crop_square

_DATA = Path(os.environ.get("EDGEGAL_SHARED_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """Path of a shared real picture or folder; skips the test where it is absent."""

    def find(name: str) -> Path:
        path = _DATA / name
        if not path.exists():
            pytest.skip(f"{name} is not among the shared data")
        return path

    return find


def _bright_spots(view: View) -> Detections:
    """Connected bright areas of at least 30 pixels, scored by their mean brightness: a real, if plain, detector."""
    grey = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY)
    count, labels, stats, _ = cv2.connectedComponentsWithStats((grey > 60).astype(np.uint8))
    spots = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= 30]
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h, _ in stats[spots]], np.float32).reshape(-1, 4)
    scores = np.array([grey[labels == i].mean() / 255 for i in spots], np.float32)
    return Detections(boxes, scores, np.zeros(len(spots), np.int32))


@pytest.fixture
def bright_spots() -> Callable[[View], Detections]:
    """Finds bright areas by thresholding."""
    return _bright_spots


@pytest.fixture
def nothing() -> Callable[[View], Detections]:
    """Finds nothing."""
    return lambda view: Detections.empty()


def _crop(view: View, found: Detections) -> View:
    places = zip(found.centres, found.sizes, strict=True)
    crops = [crop_square(view, (float(x), float(y)), float(max(size)), 16) for (x, y), size in places]
    return np.stack(crops) if crops else np.zeros((0, 16, 16, 3), np.uint8)


def _shares_of_light(crops: View) -> np.ndarray:
    light = crops.sum(axis=(1, 2)).astype(np.float32)
    return light / np.maximum(light.sum(axis=1, keepdims=True), 1)


@pytest.fixture
def colours() -> Naming:
    """Names galaxies by their colour: the shares of red, green and blue light are the probabilities."""
    return Naming(("red", "green", "blue"), _crop, _shares_of_light)


def _write_sky(path: Path, *spots: tuple[int, int, tuple[int, int, int]]) -> None:
    picture = np.full((200, 300, 3), 10, np.uint8)
    for x, y, colour in spots:
        cv2.circle(picture, (x, y), 12, colour, -1)
    cv2.imwrite(str(path), picture[..., ::-1])


@pytest.fixture
def write_sky() -> Callable[..., None]:
    """Writes a dark picture of 300 x 200 with round spots: ``write_sky(path, (x, y, RGB), ...)``."""
    return _write_sky


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four frames: a red galaxy drifting, a blue one that comes later, one bad file between."""
    folder = tmp_path / "frames"
    folder.mkdir()
    red, blue = (250, 60, 40), (40, 90, 250)
    _write_sky(folder / "1.png", (50, 50, red))
    _write_sky(folder / "2.png", (54, 51, red))
    (folder / "3.png").write_bytes((folder / "1.png").read_bytes()[:100])
    _write_sky(folder / "4.png", (58, 52, red), (200, 120, blue))
    return folder


class Listener(Sink):
    """Keeps what it is told.

    Parameters
    ----------
    act
        Done with each frame and its sightings before they are kept.
    """

    def __init__(self, act: Callable[[FrameResult, Sequence[Sighting]], object] = lambda result, seen: None) -> None:
        self._act = act
        self.sources: list[str] = []
        self.indices: list[int] = []
        self.skipped: list[str] = []
        self.skipped_numbers: list[int | None] = []
        self.dropped = 0
        self.closed_with: Sequence[Sighting] | None = None

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        self._act(result, seen)
        self.sources.append(result.frame.source)
        self.indices.append(result.frame.index)
        self.dropped = result.dropped

    def skip(self, reason: str, number: int | None = None) -> None:
        self.skipped.append(reason)
        self.skipped_numbers.append(number)

    def close(self, alive: Sequence[Sighting]) -> None:
        self.closed_with = alive


@pytest.fixture(scope="session")
def new_listener() -> type[Listener]:
    """Makes sinks that keep what they are told."""
    return Listener
