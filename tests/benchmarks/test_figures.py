import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal import metrics
from edgegal.benchmarks.comparison.figures import Answers, ClassRecall, Ran, judge_classifier, judge_detector
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
    assert row.agreement is not None
    assert row.agreement.value == 6 / 8
    assert row.agreement.low < 6 / 8 < row.agreement.high
    assert (row.lost, row.gained) == (2, 0)
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


def test_drops_over_classes_are_floats_figures_less_the_variants() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 200).astype(np.int32)
    before, now = (np.where(rng.random(200) < hit, labels, rng.integers(0, 3, 200)) for hit in (0.9, 0.7))
    row = judge_classifier(RAN, sure(now.tolist()), labels, CLASSES, sure(before.tolist()), seed=0)
    for drop, figure in ((row.balanced_drop, metrics.balanced_accuracy), (row.macro_f1_drop, metrics.macro_f1)):
        assert drop is not None
        assert drop.value == pytest.approx(figure(labels, before, 3) - figure(labels, now, 3))
        assert drop.low < drop.value < drop.high
    assert row.drop is not None
    independent = metrics.bootstrap_mean_difference(before == labels, now == labels, seed=7, resamples=4000)
    assert (row.drop.low, row.drop.high) == pytest.approx((independent.low, independent.high), abs=0.02)


def test_each_class_has_its_own_drop_and_the_more_classes_the_wider() -> None:
    labels = np.repeat([0, 1, 2], [50, 50, 50]).astype(np.int32)
    answers = sure([0] * 50 + [1] * 30 + [0] * 20 + [2] * 50)
    row = judge_classifier(RAN, answers, labels, CLASSES, sure(labels.tolist()), seed=0)
    assert [(d.label, d.n, d.reference, d.drop.value) for d in row.class_drops] == [
        ("round", 50, 1.0, 0.0),
        ("spiral", 50, 1.0, 0.4),
        ("edge-on", 50, 1.0, 0.0),
    ]
    alone = judge_classifier(RAN, sure([0] * 30 + [1] * 20), labels[:50], CLASSES, sure([0] * 50), seed=0)
    one, of_three = alone.class_drops[0].drop, row.class_drops[1].drop
    assert of_three.low < one.low < 0.4 < one.high < of_three.high


def test_one_lost_picture_is_no_sure_loss_of_its_class() -> None:
    labels = np.array([0] * 30 + [1], np.int32)
    row = judge_classifier(RAN, sure([0] * 31), labels, CLASSES, sure([0] * 30 + [1]), seed=0)
    (_, rare) = row.class_drops
    assert (rare.n, rare.drop.value) == (1, 1.0)
    assert rare.drop.low < 0


@given(lost=st.integers(0, 12), gained=st.integers(0, 12), kept=st.integers(0, 40))
def test_the_interval_of_a_classs_drop_holds_it_and_stays_a_difference_of_shares(
    lost: int, gained: int, kept: int
) -> None:
    n = lost + gained + kept
    if not n:
        return
    labels = np.zeros(n, np.int32)
    before = sure([0] * lost + [1] * gained + [0] * kept)
    row = judge_classifier(RAN, sure([1] * lost + [0] * gained + [0] * kept), labels, CLASSES, before, 0, 100)
    (only,) = row.class_drops
    assert -1 <= only.drop.low <= only.drop.value <= only.drop.high <= 1
    assert only.drop.value == pytest.approx((lost - gained) / n)
    assert row.highest_drop >= only.drop.value


def test_where_nothing_changed_what_is_excluded_depends_on_how_many_pictures_there_were() -> None:
    few, many = (
        judge_classifier(RAN, sure([0] * n), np.zeros(n, np.int32), CLASSES, sure([0] * n), seed=0) for n in (20, 2000)
    )
    assert few.drop == many.drop
    assert few.highest_drop > 0.05
    assert 0 < many.highest_drop < 0.002


def test_reliability_bins_hold_every_answer() -> None:
    labels = np.array([0, 0, 1, 1, 2], np.int32)
    row = judge_classifier(RAN, sure([0, 1, 1, 1, 2]), labels, CLASSES, None, seed=0)
    (only,) = row.reliability
    assert (only.n, only.confidence, only.accuracy.value) == (5, 1.0, 0.8)


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
    row = judge_detector(RAN, answers, truth, nothing, reference, ("galaxy",), threshold=0.5, seed=0)
    assert row.truths == 8
    assert row.average_precision_50.value == pytest.approx(1.0)
    assert row.drop is not None
    assert row.drop.value == pytest.approx(0.0)
    # Of 2 boxes of float and 1 reported here in each picture, 1 is common.
    assert row.agreement is not None
    assert row.agreement.value == pytest.approx(2 * 1 / 3)
    # Every picture is alike: resamples cannot differ.
    assert row.agreement.low == row.agreement.high == row.agreement.value


def test_a_detector_that_lost_a_galaxy_drops() -> None:
    a, b = (0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 40.0, 40.0)
    truth, nothing = [found((a, 1), (b, 1))] * 4, [np.zeros((0, 4), np.float32)] * 4
    row = judge_detector(RAN, [found((a, 0.9))] * 4, truth, nothing, truth, ("galaxy",), threshold=0.5, seed=0)
    assert row.drop is not None
    assert row.drop.low == pytest.approx(1 - 51 / 101)


def test_a_detection_of_what_is_ignored_counts_neither_way() -> None:
    a, b = (0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 40.0, 40.0)
    answers, truth = [found((b, 0.95), (a, 0.9))] * 3, [found((a, 1))] * 3
    lenient = judge_detector(
        RAN, answers, truth, [np.array([b], np.float32)] * 3, None, ("galaxy",), threshold=0.5, seed=0
    )
    strict = judge_detector(
        RAN, answers, truth, [np.zeros((0, 4), np.float32)] * 3, None, ("galaxy",), threshold=0.5, seed=0
    )
    assert (lenient.f1.value, lenient.average_precision_50.value) == (1, 1)
    assert strict.f1.value == pytest.approx(2 / 3)
    # The one best answer is beside the galaxy.
    assert strict.average_recall_1.value == 0


def test_a_detector_of_several_classes_has_the_drop_of_each() -> None:
    a, b = (0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 40.0, 40.0)

    def both(*kept: int) -> Detections:
        return found(*([(a, 0.9), (b, 0.8)][k] for k in kept))

    def classed(detections: Detections) -> Detections:
        classes = (detections.boxes[:, 0] > 0).astype(np.int32)
        return Detections(detections.boxes, detections.scores, classes)

    truth, nothing = [classed(both(0, 1))] * 4, [np.zeros((0, 4), np.float32)] * 4
    answers = [classed(both(0))] * 4
    row = judge_detector(RAN, answers, truth, nothing, truth, ("galaxy", "nebula"), threshold=0.5, seed=0)
    assert [(d.label, d.n) for d in row.class_drops] == [("galaxy", 4), ("nebula", 4)]
    assert [d.drop.value for d in row.class_drops] == pytest.approx([0, 1])
    assert row.drop is not None
    assert row.drop.value == pytest.approx(0.5)


def test_box_agreement_is_that_of_the_metric_with_an_interval_over_pictures() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 200, (12, 3, 2)).astype(np.float32)
    truth = [found(*(((float(x), float(y), float(x) + 20, float(y) + 20), 0.9) for x, y in each)) for each in corners]
    answers = [t.select(rng.random(3) < 0.7) for t in truth]
    nothing = [np.zeros((0, 4), np.float32)] * 12
    row = judge_detector(RAN, answers, truth, nothing, truth, ("galaxy",), threshold=0.5, seed=0)
    assert row.agreement is not None
    assert row.agreement.value == pytest.approx(metrics.box_agreement(truth, answers))
    assert row.agreement.low < row.agreement.value < row.agreement.high
