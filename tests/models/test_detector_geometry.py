"""What a detector's boxes go through, against independent implementations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.host

keras = pytest.importorskip("keras", reason="the independent implementations need the host environment")

from edgegal.anchors import decode, encode, generate  # noqa: E402
from edgegal.detections import Detections, iou_matrix, non_maximum_suppression  # noqa: E402
from edgegal.models.detector import ANCHORS  # noqa: E402

seeds = st.integers(0, 2**31)


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    start = rng.uniform(0, 80, (count, 2))
    return np.concatenate([start, start + rng.uniform(2, 40, (count, 2))], axis=1).astype(np.float32)


@settings(max_examples=25)
@given(seeds)
def test_codes_are_those_of_keras(seed: int) -> None:
    """The variances .1 .1 .2 .2 are the inverse of the scales 10 10 5 5."""
    boxes = _boxes(np.random.default_rng(seed), 30)
    grid = generate(ANCHORS, 64, 64)[:30]
    formats = {"anchor_format": "center_xywh", "box_format": "xyxy", "variance": [0.1, 0.1, 0.2, 0.2]}
    tools = keras.utils.bounding_boxes
    codes = encode(boxes, grid, ANCHORS.coder_scales)
    theirs = tools.encode_box_to_deltas(grid, boxes, encoding_format="center_yxhw", **formats)
    np.testing.assert_allclose(codes, keras.ops.convert_to_numpy(theirs), rtol=1e-4, atol=1e-4)
    again = tools.decode_deltas_to_boxes(grid, codes, encoded_format="center_yxhw", **formats)
    np.testing.assert_allclose(
        decode(codes, grid, ANCHORS.coder_scales), keras.ops.convert_to_numpy(again), rtol=1e-4, atol=1e-3
    )


@settings(max_examples=50)
@given(seeds)
def test_overlaps_are_those_of_pycocotools(seed: int) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(seed)
    ours, theirs = _boxes(rng, 12).astype(np.float64), _boxes(rng, 9).astype(np.float64)
    with_sides = [np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], axis=1) for b in (ours, theirs)]
    expected = coco.iou(*with_sides, [0] * len(theirs))
    np.testing.assert_allclose(iou_matrix(ours, theirs), expected, rtol=1e-12, atol=1e-15)


@settings(max_examples=50)
@given(seeds, st.sampled_from([0.2, 0.45, 0.6]))
def test_suppression_is_that_of_tensorflow_class_by_class(seed: int, iou: float) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(seed)
    found = Detections(
        _boxes(rng, 60), rng.permutation(60).astype(np.float32) / 60, rng.integers(0, 3, 60).astype(np.int32)
    )
    expected = []
    for label in range(3):
        (members,) = np.nonzero(found.classes == label)
        kept = tensorflow.image.non_max_suppression(found.boxes[members], found.scores[members], 60, iou).numpy()
        expected.extend(members[kept].tolist())
    expected.sort(key=lambda index: -found.scores[index])
    kept = non_maximum_suppression(found, iou)
    np.testing.assert_array_equal(kept.boxes, found.boxes[expected])
    np.testing.assert_array_equal(kept.classes, found.classes[expected])
