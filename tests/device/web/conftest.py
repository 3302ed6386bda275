"""Runs to show: real pictures of spots through a real pipeline, without a network."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal.detections import Detections
from edgegal.device.pipeline import Naming, Pipeline
from edgegal.device.session import Summary, observe
from edgegal.device.sources import open_source
from edgegal.device.web import Live
from edgegal.frames import View
from edgegal.preprocess import crop_square

Spot = tuple[int, int]


def _crop(view: View, found: Detections) -> View:
    places = zip(found.centres, found.sizes, strict=True)
    crops = [crop_square(view, (float(x), float(y)), float(max(size)), 16) for (x, y), size in places]
    return np.stack(crops) if crops else np.zeros((0, 16, 16, 3), np.uint8)


def _redness(crops: View) -> np.ndarray:
    light = crops.sum(axis=(1, 2)).astype(np.float32)
    return light / np.maximum(light.sum(axis=1, keepdims=True), 1)


@pytest.fixture
def pipeline(bright_spots: Callable[[View], Detections]) -> Pipeline:
    """Finds bright spots and names them by their colour."""
    return Pipeline(bright_spots, naming=Naming(("red", "green", "blue"), _crop, _redness))


def _write_sky(path: Path, *spots: Spot) -> None:
    """A dark picture with round red spots at x, y."""
    picture = np.full((200, 300, 3), 10, np.uint8)
    for x, y in spots:
        cv2.circle(picture, (x, y), 12, (40, 60, 250), -1)
    cv2.imwrite(str(path), picture)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four frames: one galaxy in all, a second in the first only, and one file that is no picture."""
    folder = tmp_path / "night"
    folder.mkdir()
    _write_sky(folder / "1.png", (50, 50), (200, 120))
    _write_sky(folder / "2.png", (52, 50))
    (folder / "3.png").write_bytes(b"")
    _write_sky(folder / "4.png", (54, 50))
    return folder


@pytest.fixture
def watch(pipeline: Pipeline) -> Callable[[Path], tuple[Live, Summary]]:
    """Runs a picture or folder to its end; what the page knows of it, and what the run says itself."""

    def run(path: Path) -> tuple[Live, Summary]:
        live = Live(str(path), shared_s=0)
        with open_source(str(path)) as source:
            return live, observe(source, pipeline, [live])

    return run
