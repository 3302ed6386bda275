import numpy as np
import pytest

from edgegal.benchmarks.figures import Answers, ClassRecall, Ran, judge_classifier, judge_detector
from edgegal.detections import Detections

RAN = Ran("tflite-int8", "litert 2.1", "int8")


CLASSES = ("round", "spiral", "edge-on")


def sure(classes: list[int], answered: list[bool] | None = None) -> Answers:
    return Answers(np.eye(3, dtype=np.float32)[classes], None if answered is None else np.array(answered))


def test_a_classifier_against_float() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 1], np.int32)
    reference = sure([0, 1, 2, 0, 1, 2, 0, 2])
    answers = sure([0, 1, 2, 0, 1, 1, 1, 2])
    row = judge_classifier(RAN, answers, labels, CLASSES, reference, seed=0)
    assert row.accuracy.value == 5 / 8
    assert row.agreement == 6 / 8
    assert row.drop is not None
    assert row.drop.value == pytest.approx(2 / 8)
    assert row.drop.low <= 2 / 8 <= row.drop.high
    # Float is right on two pictures the variant misses, never the other way: 2 * (1/2)^2.
    assert row.mcnemar_p == pytest.approx(0.5)


def test_float_itself_is_compared_with_nothing() -> None:
    row = judge_classifier(RAN, sure([0, 1]), np.array([0, 0], np.int32), CLASSES, None, seed=0)
    assert (row.agreement, row.drop, row.mcnemar_p) == (None, None, None)
    assert (row.coverage, row.selective_accuracy) == (None, None)


def test_each_class_has_its_share_found_and_one_without_pictures_none() -> None:
    labels = np.array([0] * 10 + [1] * 4, np.int32)
    row = judge_classifier(RAN, sure([0] * 9 + [2] + [1] * 3 + [0]), labels, CLASSES, None, seed=0)
    assert [(r.label, r.n) for r in row.recalls] == [("round", 10), ("spiral", 4), ("edge-on", 0)]
    assert [r.recall and r.recall.value for r in row.recalls] == [0.9, 0.75, None]
    assert row.recalls[2] == ClassRecall("edge-on", 0, None)
    assert row.balanced_accuracy.value == pytest.approx((0.9 + 0.75) / 2)
    assert row.balanced_accuracy.low < 0.825 < row.balanced_accuracy.high
    # precision 9/10 and recall 9/10; 3/3 and 3/4; an answer that is never true.
    assert row.macro_f1.value == pytest.approx((0.9 + 6 / 7 + 0) / 3)


def test_answers_withheld_are_counted_apart_and_the_rest_judged_alone() -> None:
    labels = np.array([0, 0, 1, 1, 2], np.int32)
    row = judge_classifier(RAN, sure([0, 1, 1, 0, 2], [True, False, True, True, False]), labels, CLASSES, None, seed=0)
    assert row.accuracy.value == 3 / 5
    assert row.coverage is not None
    assert row.coverage.value == 3 / 5
    assert row.selective_accuracy is not None
    assert row.selective_accuracy.value == 2 / 3


def test_where_nothing_is_answered_there_is_no_accuracy_of_answers() -> None:
    row = judge_classifier(RAN, sure([0, 1], [False, False]), np.array([0, 0], np.int32), CLASSES, None, seed=0)
    assert row.coverage is not None
    assert (row.coverage.value, row.selective_accuracy) == (0, None)


def found(*rows: tuple[tuple[float, float, float, float], float]) -> Detections:
    return Detections(
        np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.float32),
        np.zeros(len(rows), np.int32),
    )


def test_a_detector_is_judged_on_all_and_agrees_on_what_it_reports() -> None:
    a, b = (0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 40.0, 40.0)
    truth, nothing = [found((a, 1), (b, 1))] * 4, [np.zeros((0, 4), np.float32)] * 4
    reference = [found((a, 0.9), (b, 0.8))] * 4
    answers = [found((a, 0.9), (b, 0.3))] * 4
    row = judge_detector(RAN, answers, truth, nothing, reference, threshold=0.5, seed=0)
    assert row.truths == 8
    assert row.average_precision_50.value == pytest.approx(1.0)
    assert row.drop is not None
    assert row.drop.value == pytest.approx(0.0)
    # Of 2 boxes of float and 1 reported here in each picture, 1 is common.
    assert row.agreement == pytest.approx(2 * 1 / 3)


def test_a_detector_that_lost_a_galaxy_drops() -> None:
    a, b = (0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 40.0, 40.0)
    truth, nothing = [found((a, 1), (b, 1))] * 4, [np.zeros((0, 4), np.float32)] * 4
    row = judge_detector(RAN, [found((a, 0.9))] * 4, truth, nothing, truth, threshold=0.5, seed=0)
    assert row.drop is not None
    assert row.drop.low == pytest.approx(1 - 51 / 101)


def test_a_detection_of_what_is_ignored_counts_neither_way() -> None:
    a, b = (0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 40.0, 40.0)
    answers, truth = [found((b, 0.95), (a, 0.9))] * 3, [found((a, 1))] * 3
    lenient = judge_detector(RAN, answers, truth, [np.array([b], np.float32)] * 3, None, threshold=0.5, seed=0)
    strict = judge_detector(RAN, answers, truth, [np.zeros((0, 4), np.float32)] * 3, None, threshold=0.5, seed=0)
    assert (lenient.f1.value, lenient.average_precision_50.value) == (1, 1)
    assert strict.f1.value == pytest.approx(2 / 3)
    # The one best answer is beside the galaxy.
    assert strict.average_recall_1.value == 0
