import numpy as np
import pytest

from edgegal.benchmarks.figures import Ran, judge_classifier, judge_detector
from edgegal.detections import Detections

RAN = Ran("tflite-int8", "litert 2.1", "int8")


def sure(classes: list[int]) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[classes]


def test_a_classifier_against_float() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1], np.int32)
    reference = sure([0, 1, 2, 0, 1, 2, 0, 2])
    answers = sure([0, 1, 2, 0, 1, 1, 1, 2])
    row = judge_classifier(RAN, answers, labels, reference, seed=0)
    assert row.accuracy.value == 5 / 8
    assert row.agreement == 6 / 8
    assert row.drop is not None
    assert row.drop.value == pytest.approx(2 / 8)
    assert row.drop.low <= 2 / 8 <= row.drop.high
    # Float is right on two pictures the variant misses, never the other way: 2 * (1/2)^2.
    assert row.mcnemar_p == pytest.approx(0.5)


def test_float_itself_is_compared_with_nothing() -> None:
    row = judge_classifier(RAN, sure([0, 1]), np.array([0, 0], np.int32), None, seed=0)
    assert (row.agreement, row.drop, row.mcnemar_p) == (None, None, None)


def found(*rows: tuple[tuple[float, float, float, float], float]) -> Detections:
    return Detections(
        np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.float32),
        np.zeros(len(rows), np.int32),
    )


def test_a_detector_is_judged_on_all_and_agrees_on_what_it_reports() -> None:
    a, b = (0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 40.0, 40.0)
    boxes = [np.array([a, b], np.float32)] * 4
    reference = [found((a, 0.9), (b, 0.8))] * 4
    answers = [found((a, 0.9), (b, 0.3))] * 4
    row = judge_detector(RAN, answers, boxes, reference, threshold=0.5, seed=0)
    assert row.truths == 8
    assert row.average_precision_50.value == pytest.approx(1.0)
    assert row.drop is not None
    assert row.drop.value == pytest.approx(0.0)
    # Of 2 boxes of float and 1 reported here in each picture, 1 is common.
    assert row.agreement == pytest.approx(2 * 1 / 3)


def test_a_detector_that_lost_a_galaxy_drops() -> None:
    a, b = (0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 40.0, 40.0)
    boxes = [np.array([a, b], np.float32)] * 4
    row = judge_detector(RAN, [found((a, 0.9))] * 4, boxes, [found((a, 0.9), (b, 0.8))] * 4, threshold=0.5, seed=0)
    assert row.drop is not None
    assert row.drop.low == pytest.approx(1 - 51 / 101)
