"""The score threshold."""

import numpy as np
import pytest

pytestmark = pytest.mark.host

pytest.importorskip("keras", reason="training needs the host environment")

from edgegal.data.fields import Field  # noqa: E402
from edgegal.detections import Detections  # noqa: E402
from edgegal.training.threshold import best_threshold  # noqa: E402


def test_the_threshold_separates_right_from_wrong() -> None:
    box, beside = [10, 10, 30, 30], [60, 60, 80, 80]
    field = Field(np.zeros((96, 96, 3), np.uint8), np.array([box], np.float32), np.zeros((0, 4), np.float32))
    right = Detections(np.array([box], np.float32), np.array([0.55], np.float32), np.zeros(1, np.int32))
    wrong = Detections(np.array([beside], np.float32), np.array([0.42], np.float32), np.zeros(1, np.int32))
    both = Detections.concatenate([right, wrong])
    assert 0.42 <= best_threshold([both] * 5, [field] * 5) <= 0.55


def test_without_wrong_detections_the_lowest_threshold_wins() -> None:
    field = Field(np.zeros((64, 64, 3), np.uint8), np.array([[5, 5, 25, 25]], np.float32), np.zeros((0, 4), np.float32))
    found = Detections(field.boxes, np.array([0.3], np.float32), np.zeros(1, np.int32))
    assert best_threshold([found], [field]) <= 0.3
