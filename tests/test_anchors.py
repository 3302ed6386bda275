import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from edgegal.anchors import AnchorLevel, AnchorSpec, anchor_count, decode, encode, generate

SCALES = (10.0, 10.0, 5.0, 5.0)

specs = st.builds(
    AnchorSpec,
    levels=st.lists(
        st.builds(
            AnchorLevel,
            st.sampled_from([4, 8, 16, 32]),
            st.lists(st.floats(4, 200), min_size=1, max_size=2).map(tuple),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    ratios=st.sampled_from([(1.0,), (1.0, 2.0, 0.5), (3.0, 1 / 3)]),
)


def looped(spec, height, width):
    """The documented order, written as loops."""
    rows = []
    for level in spec.levels:
        for y in range(-(-height // level.stride)):
            for x in range(-(-width // level.stride)):
                for size in level.sizes:
                    for ratio in spec.ratios:
                        cx, cy = (x + 0.5) * level.stride, (y + 0.5) * level.stride
                        rows.append((cx, cy, size * ratio**0.5, size / ratio**0.5))
    return np.array(rows)


@settings(deadline=None, max_examples=50)
@given(specs, st.integers(1, 70), st.integers(1, 70))
def test_anchors_are_those_of_the_loops(spec, height, width):
    grid = generate(spec, height, width)
    assert grid.dtype == np.float32
    assert grid.shape == (anchor_count(spec, height, width), 4)
    assert_allclose(grid, looped(spec, height, width), rtol=1e-6)


def test_anchors_worked_by_hand():
    spec = AnchorSpec((AnchorLevel(16, (8.0,)),), ratios=(1.0, 4.0))
    assert generate(spec, 16, 32).tolist() == [[8, 8, 8, 8], [8, 8, 16, 4], [24, 8, 8, 8], [24, 8, 16, 4]]


def test_a_code_worked_by_hand():
    anchor = np.array([[100.0, 60.0, 40.0, 20.0]], np.float32)
    # Centre 110, 55; size 80 x 10.
    box = np.array([[70.0, 50.0, 150.0, 60.0]], np.float32)
    codes = [[10 * -5 / 20, 10 * 10 / 40, 5 * np.log(0.5), 5 * np.log(2)]]
    assert_allclose(encode(box, anchor, SCALES), codes, rtol=1e-6)
    assert_allclose(decode(np.array(codes), anchor, SCALES), box, rtol=1e-5)


def test_a_zero_code_is_the_anchor():
    anchor = np.array([[100.0, 60.0, 40.0, 20.0]], np.float32)
    assert decode(np.zeros((1, 4), np.float32), anchor, SCALES).tolist() == [[80, 50, 120, 70]]


centres, sides = st.floats(-100, 400, width=32), st.floats(0.5, 500, width=32)
four = st.tuples(centres, centres, sides, sides)


@settings(deadline=None)
@given(st.lists(st.tuples(four, four), min_size=1, max_size=8), st.sampled_from([SCALES, (1.0, 1.0, 1.0, 1.0)]))
def test_what_is_encoded_decodes_to_itself(pairs, scales):
    anchors = np.array([a for a, _ in pairs], np.float32)
    boxes = np.array([(x, y, x + w, y + h) for _, (x, y, w, h) in pairs], np.float32)
    again = decode(encode(boxes, anchors, scales), anchors, scales)
    assert again.dtype == np.float32
    assert_allclose(again, boxes, atol=2e-3, rtol=1e-4)


@given(st.lists(st.tuples(*[st.floats(allow_nan=False, width=32)] * 4), min_size=1, max_size=5))
def test_wild_codes_never_overflow_a_size(codes):
    anchors = np.tile(np.array([[100, 60, 40, 20]], np.float32), (len(codes), 1))
    with np.errstate(invalid="ignore", over="ignore"):
        boxes = decode(np.clip(np.array(codes, np.float32), -1e6, 1e6), anchors, SCALES)
    assert np.isfinite(boxes).all()
    assert (boxes[:, 2:] >= boxes[:, :2]).all()


def test_a_box_without_area_still_has_a_finite_code():
    anchor = np.array([[100.0, 60.0, 40.0, 20.0]], np.float32)
    assert np.isfinite(encode(np.array([[5.0, 5.0, 5.0, 5.0]]), anchor, SCALES)).all()


@pytest.mark.parametrize("level", [(0, (8.0,)), (-8, (8.0,)), (8, ()), (8, (8.0, 0.0))])
def test_a_level_that_cannot_be_is_refused(level):
    with pytest.raises(ValueError, match="anchor sizes"):
        AnchorLevel(*level)


@pytest.mark.parametrize(
    "change", [{"levels": ()}, {"ratios": ()}, {"ratios": (0.0,)}, {"coder_scales": (10, 10, 0, 5)}]
)
def test_a_spec_that_cannot_be_is_refused(change):
    with pytest.raises(ValueError, match="anchors need"):
        AnchorSpec(**{"levels": (AnchorLevel(8, (8.0,)),), **change})
