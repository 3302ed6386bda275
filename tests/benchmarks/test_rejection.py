import numpy as np
import pytest

from edgegal.benchmarks.rejection import measure_rejection
from edgegal.detections import Detections

VIEW = np.zeros((8, 8, 3), np.uint8)


def alarms(n, score=0.5, classes=0):
    return Detections(
        np.tile(np.float32([0, 0, 4, 4]), (n, 1)), np.full(n, score, np.float32), np.full(n, classes, np.int32)
    )


def test_a_detector_that_never_fires_has_no_alarm_and_an_upper_limit():
    (row,) = measure_rejection(lambda _: Detections.empty(), {"nothing": [VIEW] * 50})
    assert (row.kind, row.frames, row.boxes.value, row.alarmed.value) == ("nothing", 50, 0, 0)
    assert row.boxes.low == 0
    # exp(-50 x) = .05
    assert row.boxes.high == pytest.approx(0.06, abs=0.001)
    assert 0 < row.alarmed.high < 0.1
    assert np.isnan(row.highest)


def test_a_detector_that_always_fires_alarms_at_every_frame():
    (row,) = measure_rejection(lambda _: alarms(3, 0.8), {"all": [VIEW] * 20})
    assert (row.boxes.value, row.boxes.low, row.boxes.high) == (3, 3, 3)
    assert (row.alarmed.value, row.alarmed.high) == (1, 1)
    assert row.alarmed.low < 0.9
    assert row.highest == pytest.approx(0.8)


def test_kinds_stay_apart_and_in_order():
    bright = VIEW + np.uint8(200)
    rows = measure_rejection(
        lambda view: alarms(int(view.max() > 100)), {"dark": [VIEW] * 4, "mixed": [VIEW, bright, bright, VIEW]}
    )
    assert [r.kind for r in rows] == ["dark", "mixed"]
    assert [r.boxes.value for r in rows] == [0, 0.5]
    assert rows[1].alarmed.value == 0.5
    assert rows[1].boxes.low < 0.5 < rows[1].boxes.high


def test_the_interval_widens_with_the_scatter_from_frame_to_frame():
    even, uneven = (iter(counts * 10) for counts in ([1, 1], [0, 2]))
    (steady,) = measure_rejection(lambda _: alarms(next(even)), {"": [VIEW] * 20})
    (jumpy,) = measure_rejection(lambda _: alarms(next(uneven)), {"": [VIEW] * 20})
    assert steady.boxes.value == jumpy.boxes.value == 1
    assert steady.boxes.high - steady.boxes.low < jumpy.boxes.high - jumpy.boxes.low


def test_only_boxes_of_the_class_asked_for_are_alarms():
    frames = {"": [VIEW] * 5}
    (galaxies,) = measure_rejection(lambda _: alarms(2, classes=1), frames)
    (everything,) = measure_rejection(lambda _: alarms(2, classes=1), frames, class_index=None)
    assert (galaxies.boxes.value, everything.boxes.value) == (0, 2)
