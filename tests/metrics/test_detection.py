import contextlib
import io

import numpy as np
import pytest
from hypothesis import assume, given, settings
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


def coco_stats(found: list[Detections], truth: list[Detections]) -> dict[str, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(sets: list[Detections]) -> list[dict[str, object]]:
        return [
            {
                "image_id": i,
                "category_id": int(c) + 1,
                "bbox": [*map(float, b[:2]), *map(float, b[2:] - b[:2])],
                "area": float((b[2:] - b[:2]).prod()),
                "iscrowd": 0,
                "score": float(s),
            }
            for i, d in enumerate(sets, start=1)
            for b, s, c in zip(d.boxes, d.scores, d.classes, strict=True)
        ]

    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        annotations = [{**row, "id": k} for k, row in enumerate(rows(truth), start=1)]
        reference.dataset = {
            "images": [{"id": i + 1} for i in range(len(truth))],
            "annotations": annotations,
            "categories": [{"id": 1}, {"id": 2}],
        }
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(rows(found)), "bbox")
        evaluation.params.maxDets = [1, 2, 100]
        evaluation.evaluate()
        evaluation.accumulate()
    # (overlap, recall, class, area, limit) and (overlap, class, area, limit); -1 where a class has no true box.
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]

    def mean(values: np.ndarray) -> float:
        return float(values[values > -1].mean())

    return {
        "map": mean(precision[:, :, :, 0, 2]),
        "map50": mean(precision[0, :, :, 0, 2]),
        "ar1": mean(recall[:, :, 0, 0]),
        "ar2": mean(recall[:, :, 0, 1]),
        "ar100": mean(recall[:, :, 0, 2]),
    }


@pytest.mark.host
@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_agrees_with_pycocotools(pairs: list[tuple[Detections, Detections]]) -> None:
    found, truth = [p[0] for p in pairs], [p[1] for p in pairs]
    # COCO has no figure without truth, and its loader refuses an empty result.
    assume(sum(map(len, truth)) and sum(map(len, found)))
    expected = coco_stats(found, truth)
    assert metrics.mean_average_precision(found, truth) == pytest.approx(expected["map"], abs=1e-9)
    assert metrics.mean_average_precision(found, truth, (0.5,)) == pytest.approx(expected["map50"], abs=1e-9)
    for limit in (1, 2, 100):
        assert metrics.average_recall(found, truth, limit) == pytest.approx(expected[f"ar{limit}"], abs=1e-9)


def test_a_true_box_is_taken_once_by_the_better_score() -> None:
    truth = boxes((0, 0, 10, 10))
    found = boxes((0, 0, 10, 9), (0, 0, 10, 10), scores=[0.6, 0.9])
    match = metrics.match_picture(found, truth)
    np.testing.assert_array_equal(match.hits[:, 0], [True, False])
    np.testing.assert_allclose(match.scores, [0.9, 0.6], rtol=1e-6)


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


@settings(max_examples=60, deadline=None)
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
