import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from edgegal.detections import Detections, contained, iou_matrix, non_maximum_suppression, weighted_box_fusion


def detections(boxes, scores=None, classes=None):
    n = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(n, 4),
        np.array([0.5] * n if scores is None else scores, np.float32),
        np.array([0] * n if classes is None else classes, np.int32),
    )


def same(a, b):
    assert_array_equal(a.boxes, b.boxes)
    assert_array_equal(a.scores, b.scores)
    assert_array_equal(a.classes, b.classes)


def naive_iou(a, b):
    """Intersection over union of two boxes, in Python's floats."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    overlap = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap
    return overlap / union if union > 0 else 0.0


def naive_suppression(found, iou):
    """Indices kept: greedy, best first, the first of equal scores first."""
    kept = []
    for i in sorted(range(len(found)), key=lambda i: (-found.scores[i], i)):
        rivals = [k for k in kept if found.classes[k] == found.classes[i]]
        if all(naive_iou(found.boxes[k].tolist(), found.boxes[i].tolist()) <= iou for k in rivals):
            kept.append(i)
    return kept


def naive_fusion(found, iou):
    """Boxes and scores of algorithm 1 of Solovyev et al. 2021, each mean taken anew from the members of its group."""

    def mean(group):
        total = sum(found.scores[i] for i in group)
        return [sum(found.scores[i] * float(found.boxes[i, k]) for i in group) / total for k in range(4)]

    groups = []
    for i in sorted(range(len(found)), key=lambda i: (-found.scores[i], i)):
        rivals = [g for g in groups if found.classes[g[0]] == found.classes[i]]
        overlaps = [naive_iou(mean(g), found.boxes[i].tolist()) for g in rivals]
        # Two roads to one mean may differ in the last bit, and so choose differently between equals.
        assume(len(overlaps) < 2 or np.diff(sorted(overlaps)[-2:]) > 1e-9 or max(overlaps) <= iou)
        if overlaps and max(overlaps) > iou:
            rivals[overlaps.index(max(overlaps))].append(i)
        else:
            groups.append([i])
    return [mean(g) for g in groups], [found.scores[g[0]] for g in groups], [found.classes[g[0]] for g in groups]


# Quarter pixels, so that areas are exact and a tie is a tie; around zero, for boxes that leave the picture.
coordinates = st.integers(-400, 400).map(lambda v: v / 4)
sides = st.integers(1, 400).map(lambda v: v / 4)
boxes = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), coordinates, coordinates, sides, sides)
scored = st.lists(st.tuples(boxes, st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.integers(0, 2)), max_size=25)


@settings(deadline=None)
@given(st.lists(boxes, max_size=6), st.lists(boxes, max_size=6))
def test_iou_is_that_of_the_definition(a, b):
    matrix = iou_matrix(np.array(a, np.float32).reshape(-1, 4), np.array(b, np.float32).reshape(-1, 4))
    assert matrix.shape == (len(a), len(b))
    assert matrix.dtype == np.float32
    assert_allclose(matrix, np.array([[naive_iou(p, q) for q in b] for p in a]).reshape(matrix.shape), atol=1e-6)


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 12)] * 4), min_size=2, max_size=2))
def test_iou_counts_the_shared_pixels(corners):
    masks, placed = [], []
    for x, y, w, h in corners:
        mask = np.zeros((30, 30), bool)
        mask[y : y + h, x : x + w] = True
        masks.append(mask)
        placed.append((x, y, x + w, y + h))
    union = (masks[0] | masks[1]).sum()
    wanted = (masks[0] & masks[1]).sum() / union if union else 0.0
    assert iou_matrix(np.array(placed[:1], float), np.array(placed[1:], float))[0, 0] == pytest.approx(wanted)


@settings(max_examples=300, deadline=None)
@given(scored, st.sampled_from([0.0, 0.3, 0.45, 0.6, 1.0]))
def test_suppression_agrees_with_the_greedy_definition(items, iou):
    found = detections([i[0] for i in items], [i[1] for i in items], [i[2] for i in items])
    # Two float32 roads to one quotient may differ in the last bit exactly at the threshold.
    overlaps = iou_matrix(found.boxes, found.boxes)
    if (np.abs(overlaps - iou) < 1e-6).any() and 0 < iou < 1:
        return
    same(non_maximum_suppression(found, iou, limit=1000), found.select(np.array(naive_suppression(found, iou), int)))


def test_suppression_keeps_classes_apart_at_negative_coordinates():
    found = detections([(-200, -200, -190, -190), (5, 5, 15, 15), (-184, -184, -174, -174)], [0.9, 0.8, 0.7], [1, 0, 0])
    assert len(non_maximum_suppression(found, 0.45)) == 3


def test_suppression_sees_fractions_of_a_pixel():
    assert len(non_maximum_suppression(detections([(0.1, 0, 0.4, 1), (0.5, 0, 0.9, 1)]), 0.1)) == 2
    assert len(non_maximum_suppression(detections([(0.1, 0, 0.9, 1), (0.2, 0, 0.9, 1)]), 0.5)) == 1


def test_suppression_stops_at_the_limit_with_the_best():
    found = detections([(i * 20, 0, i * 20 + 10, 10) for i in range(8)], np.linspace(0.1, 0.8, 8))
    assert_allclose(non_maximum_suppression(found, 0.5, limit=3).scores, [0.8, 0.7, 0.6])


@settings(deadline=None)
@given(st.lists(boxes, max_size=6), st.lists(boxes, max_size=6))
def test_contained_is_the_share_of_the_first(a, b):
    shares = contained(np.array(a, np.float32).reshape(-1, 4), np.array(b, np.float32).reshape(-1, 4))
    wanted = np.zeros((len(a), len(b)))
    for i, p in enumerate(a):
        for j, q in enumerate(b):
            wide, high = (max(0, min(p[k + 2], q[k + 2]) - max(p[k], q[k])) for k in (0, 1))
            wanted[i, j] = wide * high / ((p[2] - p[0]) * (p[3] - p[1]))
    assert_allclose(shares, wanted, atol=1e-6)
    assert contained(np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)).tolist() == [[0]]


# Few boxes and near each other, so that groups form.
near = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), *[st.integers(0, 20)] * 2, *[st.integers(10, 40)] * 2)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(near, st.integers(1, 200).map(lambda v: v / 200), st.integers(0, 1)), max_size=12),
    # No overlap of two boxes of whole pixels is exactly one of these.
    st.sampled_from([0.3001, 0.5503, 0.8007]),
)
def test_fusion_agrees_with_the_published_algorithm(items, iou):
    found = detections([i[0] for i in items], [i[1] for i in items], [i[2] for i in items])
    fused = weighted_box_fusion(found, iou)
    boxes, scores, classes = naive_fusion(found, iou)
    assert_allclose(fused.boxes, np.array(boxes).reshape(-1, 4), atol=1e-3)
    assert_allclose(fused.scores, scores)
    assert_array_equal(fused.classes, classes)


def test_fusion_worked_by_hand():
    found = detections([(0, 0, 10, 10), (2, 0, 12, 10), (100, 0, 110, 10)], [0.9, 0.3, 0.5])
    fused = weighted_box_fusion(found, 0.5)
    assert_allclose(fused.boxes, [[0.5, 0, 10.5, 10], [100, 0, 110, 10]], atol=1e-6)
    assert_allclose(fused.scores, [0.9, 0.5])


def test_fusion_keeps_classes_apart_and_stops_at_the_limit():
    found = detections([(0, 0, 10, 10)] * 3, [0.5, 0.9, 0.7], [0, 1, 2])
    assert_array_equal(weighted_box_fusion(found, 0.5, limit=2).classes, [1, 2])


def test_fusion_of_boxes_that_score_nothing_is_their_mean():
    fused = weighted_box_fusion(detections([(0, 0, 10, 10), (1, 0, 11, 10)], [0, 0]), 0.5)
    assert_allclose(fused.boxes, [[0.5, 0, 10.5, 10]])
    assert fused.scores.tolist() == [0]


@pytest.mark.parametrize(
    "shapes", [((2, 4), (1,), (2,)), ((2, 4), (2,), (2, 1)), ((2, 3), (2,), (2,)), ((4,), (4,), (4,))]
)
def test_parts_that_do_not_agree_are_refused(shapes):
    with pytest.raises(ValueError, match="do not agree"):
        Detections(np.zeros(shapes[0], np.float32), np.zeros(shapes[1], np.float32), np.zeros(shapes[2], np.int32))


def test_nothing_found_is_a_detections_like_any_other():
    empty = Detections.empty()
    for result in (
        Detections.concatenate([]),
        Detections.concatenate([empty, empty]),
        empty.clipped(10, 10),
        empty.moved(1, 2, 3),
        empty.above(0.5),
        non_maximum_suppression(empty, 0.5),
        weighted_box_fusion(empty, 0.5),
    ):
        same(result, empty)
    assert empty.centres.shape == empty.sizes.shape == (0, 2)


@given(scored)
def test_taking_apart_and_joining_gives_the_same(items):
    found = detections([i[0] for i in items], [i[1] for i in items], [i[2] for i in items])
    parts = [found.select(np.array([i])) for i in range(len(found))]
    same(Detections.concatenate(parts), found)
    same(found.above(0.5), found.select(np.flatnonzero(found.scores >= 0.5)))


@given(scored)
def test_clipped_boxes_lie_inside_and_nothing_visible_is_lost(items):
    found = detections([i[0] for i in items], [i[1] for i in items], [i[2] for i in items])
    clipped = found.clipped(50, 30)
    assert (clipped.boxes >= 0).all()
    assert (clipped.boxes <= [50, 30, 50, 30]).all()
    assert (clipped.sizes > 0).all()
    visible = iou_matrix(found.boxes, np.array([[0, 0, 50, 30]], np.float32))[:, 0] > 0
    assert len(clipped) == visible.sum()


def test_boxes_that_are_not_numbers_are_clipped_away():
    assert len(detections([(np.nan, 0, 5, 5), (0, 0, np.inf, 5)]).clipped(10, 10)) == 1


def test_moving_scales_first():
    moved = detections([(1, 2, 3, 6)]).moved(10, 20, 2)
    assert moved.boxes.tolist() == [[12, 24, 16, 32]]
    assert moved.centres.tolist() == [[14, 28]]
    assert moved.sizes.tolist() == [[4, 8]]
    assert moved.boxes.dtype == np.float32
