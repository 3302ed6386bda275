import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegal import metrics
from edgegal.detections import Detections


def boxes(*rows: tuple[float, float, float, float], scores: list[float] | None = None) -> Detections:
    n = len(rows)
    return Detections(
        np.array(rows, np.float32).reshape(n, 4),
        np.array(scores if scores is not None else [1.0] * n, np.float32),
        np.zeros(n, np.int32),
    )


# Whole pixels: overlaps such as .65 then fall on a threshold exactly, where rounding shows.
BOX = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 20), st.integers(1, 20))


@st.composite
def pictures(draw: st.DrawFn, scored: bool) -> Detections:
    rows = draw(st.lists(st.tuples(BOX, st.integers(0, 8), st.integers(0, 1)), max_size=6))
    xywh = np.array([r[0] for r in rows], np.float32).reshape(-1, 4)
    corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    scores = np.array([r[1] / 8 if scored else 1.0 for r in rows], np.float32)
    return Detections(corners, scores, np.array([r[2] for r in rows], np.int32))


PAIRS = st.lists(st.tuples(pictures(scored=True), pictures(scored=False)), min_size=1, max_size=4)


def test_a_true_box_is_taken_once_by_the_better_score() -> None:
    truth = boxes((0, 0, 10, 10))
    found = boxes((0, 0, 10, 9), (0, 0, 10, 10), scores=[0.6, 0.9])
    match = metrics.match_picture(found, truth)
    np.testing.assert_array_equal(match.hits[:, 0], [True, False])
    np.testing.assert_allclose(match.scores, [0.9, 0.6], rtol=1e-6)


def test_matches_are_of_the_box_that_overlaps_most_and_know_its_place() -> None:
    truth = boxes((40, 40, 50, 50), (0, 0, 10, 10), (1, 0, 11, 10))
    match = metrics.match_picture(boxes((1, 0, 10, 10), (0, 0, 12, 10), scores=[0.9, 0.8]), truth, (0.5, 0.9))
    # Both true boxes overlap the first by .9: of equal ones the last is taken.
    np.testing.assert_array_equal(match.taken, [[2, 2], [1, -1]])
    np.testing.assert_allclose(match.truth_scores(), [np.nan, 0.8, 0.9], rtol=1e-6)
    assert match.truths == 3


def test_a_region_to_ignore_swallows_what_it_covers_and_yields_to_a_true_box() -> None:
    truth = boxes((0, 0, 10, 10))
    ignore = np.array([[0, 0, 100, 100]], np.float32)
    found = boxes((0, 0, 10, 10), (50, 50, 60, 60), (70, 70, 80, 80), (95, 0, 115, 10), scores=[0.9, 0.8, 0.7, 0.6])
    match = metrics.match_picture(found, truth, ignore=ignore)
    # The last lies a quarter inside: a false detection.
    np.testing.assert_array_equal(match.taken[:, 0], [0, -2, -2, -1])
    np.testing.assert_array_equal(match.false[:, 0], [False, False, False, True])


def test_boxes_outside_the_sides_asked_for_count_neither_way() -> None:
    truth = boxes((0, 0, 8, 8), (20, 20, 40, 40))
    found = boxes((0, 0, 8, 8), (60, 60, 66, 66), (80, 80, 100, 100), scores=[0.9, 0.8, 0.7])
    match = metrics.match_picture(found, truth, sides=(10, 30))
    np.testing.assert_array_equal(match.taken[:, 0], [-2, -2, -1])
    assert match.counted.tolist() == [False, True]
    # Both ends belong to the range.
    assert metrics.match_picture(found, truth, sides=(8, 20)).counted.all()


@settings(max_examples=40)
@given(PAIRS)
def test_all_classes_at_once_are_the_classes_one_by_one(pairs: list[tuple[Detections, Detections]]) -> None:
    for found, truth in pairs:
        together = metrics.match_picture(found, truth, metrics.COCO_IOUS, None)
        parts = [metrics.match_picture(found, truth, metrics.COCO_IOUS, c) for c in (0, 1)]
        np.testing.assert_array_equal(together.hits.sum(axis=0), sum(p.hits.sum(axis=0) for p in parts))
        assert together.truths == sum(p.truths for p in parts) == len(truth)
        for column in range(10):
            scores = np.fmax(*(p.truth_scores(column) for p in parts))
            np.testing.assert_array_equal(together.truth_scores(column), scores)


@settings(max_examples=40)
@given(PAIRS, st.integers(0, 7))
def test_the_best_of_a_match_are_the_match_of_the_best(pairs: list[tuple[Detections, Detections]], limit: int) -> None:
    for found, truth in pairs:
        few = metrics.match_picture(found, truth, (0.3, 0.7), limit=limit)
        np.testing.assert_array_equal(metrics.match_picture(found, truth, (0.3, 0.7)).best(limit).taken, few.taken)


@settings(max_examples=40)
@given(PAIRS, st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_weights_of_pictures_are_repeats_of_them(
    pairs: list[tuple[Detections, Detections]], repeats: list[int]
) -> None:
    # No two scores alike: the order of ties is no property of a weight.
    rng = np.random.default_rng(0)
    found = [Detections(f.boxes, rng.random(len(f), np.float32), f.classes) for f, _ in pairs]
    matches = metrics.match_pictures(found, [t for _, t in pairs], (0.3,))
    counts = np.array([repeats[: len(pairs)], [1] * len(pairs)], np.float64)
    weighted = metrics.precision_at_recalls(matches, counts=counts)
    drawn = [m for m, n in zip(matches, repeats, strict=False) for _ in range(n)]
    if drawn:
        np.testing.assert_allclose(weighted[0], metrics.precision_at_recalls(drawn))
    else:
        assert np.isnan(weighted[0]).all()
    np.testing.assert_array_equal(weighted[1], metrics.precision_at_recalls(matches))


def test_precision_does_not_depend_on_how_hits_are_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgegal.metrics import detection

    rng = np.random.default_rng(0)
    taken = [np.where(rng.random(30) < 0.4, np.arange(30), -1)[:, None] for _ in range(5)]
    matches = [metrics.PictureMatch(np.sort(rng.random(30))[::-1], t, np.ones(30, bool)) for t in taken]
    counts = metrics.draw_counts(5, 4, rng)
    whole = metrics.precision_at_recalls(matches, counts=counts)
    monkeypatch.setattr(detection, "_BLOCK_ITEMS", 5 * 7)
    np.testing.assert_array_equal(metrics.precision_at_recalls(matches, counts=counts), whole)


def test_average_precision_of_one_miss_between_two_hits() -> None:
    truth = boxes((0, 0, 10, 10), (20, 20, 30, 30))
    found = boxes((0, 0, 10, 10), (50, 50, 60, 60), (20, 20, 30, 30), scores=[0.9, 0.8, 0.7])
    # Precision 1 up to recall .5 (51 points), 2/3 above (50 points).
    value = metrics.average_precision(metrics.match_pictures([found], [truth]))
    assert value == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_without_true_boxes_precision_and_recall_are_not_numbers() -> None:
    found, truth = [boxes((0, 0, 5, 5))], [boxes()]
    assert np.isnan(metrics.average_precision(metrics.match_pictures(found, truth)))
    assert np.isnan(metrics.mean_average_precision(found, truth))
    assert np.isnan(metrics.average_recall(found, truth, 10))


@settings(max_examples=40)
@given(PAIRS)
def test_box_agreement_is_whole_with_oneself_and_a_share_with_another(
    pairs: list[tuple[Detections, Detections]],
) -> None:
    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
    assert metrics.box_agreement(a, a) == 1.0
    assert 0 <= metrics.box_agreement(a, b) <= 1


def test_box_agreement_counts_what_only_one_found() -> None:
    a = [boxes((0, 0, 10, 10), (20, 20, 30, 30)), boxes()]
    b = [boxes((0, 0, 10, 10)), boxes((0, 0, 5, 5))]
    assert metrics.box_agreement(a, b) == pytest.approx(2 * 1 / (2 + 2))
    assert metrics.box_agreement([boxes()], [boxes()]) == 1.0
