"""What tests of the device share: where the real pictures are, and a detector that needs no network."""

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal.detections import Detections
from edgegal.frames import View

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
