import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from edgegal.anchors import (
    AnchorLevel,
    AnchorSpec,
    anchor_count,
    cell_shapes,
    decode,
    encode,
    fpn_anchors,
    generate,
    ssd_anchors,
)
from edgegal.bundle.manifest import DetectorDescription

SCALES = (10.0, 10.0, 5.0, 5.0)

specs = st.builds(
    AnchorSpec,
    levels=st.lists(
        st.builds(
            AnchorLevel,
            st.sampled_from([4, 8, 16, 32]),
            st.lists(st.floats(4, 200), min_size=1, max_size=2).map(tuple),
            st.lists(st.tuples(st.floats(4, 200), st.sampled_from([1.0, 0.2])), max_size=2).map(tuple),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    ratios=st.sampled_from([(1.0,), (1.0, 2.0, 0.5), (3.0, 1 / 3)]),
    layout=st.sampled_from(["stride", "even", "origin"]),
)


def centre(cell, extent, stride, layout):
    cells = -(-extent // stride)
    if layout == "even":
        return (cell + 0.5) / cells * extent
    return cell * stride if layout == "origin" and extent % stride else (cell + 0.5) * stride


def looped(spec, height, width):
    """The documented order, written as loops."""
    rows = []
    for level in spec.levels:
        for y in range(-(-height // level.stride)):
            for x in range(-(-width // level.stride)):
                shapes = [(size, ratio) for size in level.sizes for ratio in spec.ratios]
                for size, ratio in (*shapes, *level.shapes):
                    cx = centre(x, width, level.stride, spec.layout)
                    cy = centre(y, height, level.stride, spec.layout)
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


@pytest.mark.parametrize(
    ("layout", "centres"), [("stride", [64, 192, 320]), ("even", [160 / 3, 160, 800 / 3]), ("origin", [0, 128, 256])]
)
def test_level_seven_at_320_pixels(layout, centres):
    """128 does not divide 320: three cells, placed as each recipe does."""
    grid = generate(AnchorSpec((AnchorLevel(128, (512.0,)),), (1.0,), layout=layout), 320, 320)
    assert_allclose(grid[:3, 0], centres, rtol=1e-6)
    assert_allclose(grid[::3, 1], centres, rtol=1e-6)


@given(specs, st.integers(1, 4), st.integers(1, 4))
def test_anchors_lie_alike_around_the_middle(spec, rows, columns):
    """Where every stride divides the picture, all layouts are one, with centres inside; half a turn changes none."""
    height, width = 32 * rows, 32 * columns
    grid = generate(spec, height, width)
    assert_allclose(grid, generate(AnchorSpec(spec.levels, spec.ratios), height, width), rtol=1e-6)
    assert ((grid[:, :2] > 0) & (grid[:, :2] < (width, height))).all()
    turned = np.column_stack([width - grid[:, 0], height - grid[:, 1], grid[:, 2:]])
    assert {tuple(row) for row in np.round(turned, 3)} == {tuple(row) for row in np.round(grid, 3)}


@given(specs)
def test_a_ratio_changes_no_area(spec):
    for level in spec.levels:
        sizes = [size for size in level.sizes for _ in spec.ratios] + [size for size, _ in level.shapes]
        assert_allclose(cell_shapes(spec, level).prod(axis=1), np.square(sizes), rtol=1e-6)


def test_anchors_of_ssd_worked_by_hand():
    spec = ssd_anchors(300)
    finest, second, *_, coarsest = (cell_shapes(spec, level) for level in spec.levels)
    assert_allclose(finest, [[30, 30], [60 * 2**0.5, 60 / 2**0.5], [60 / 2**0.5, 60 * 2**0.5]])
    long, short = 105 * 3**0.5, 105 / 3**0.5
    between = (105 * 150) ** 0.5
    assert_allclose(second[[0, 3, 4, 5]], [[105, 105], [long, short], [short, long], [between, between]])
    assert_allclose(coarsest[[0, 5]], [[285, 285], [300 * 0.95**0.5] * 2])
    assert [level.stride for level in spec.levels] == [16, 32, 64, 128, 256, 512]


def test_anchors_of_a_pyramid_worked_by_hand():
    spec = fpn_anchors(levels=(3, 4), ratios=(1.0,))
    assert [level.stride for level in spec.levels] == [8, 16]
    assert_allclose([level.sizes for level in spec.levels], [[32, 32 * 2**0.5], [64, 64 * 2**0.5]])
    assert_allclose(fpn_anchors(8.0, per_level=3).levels[0].sizes, [8, 8 * 2 ** (1 / 3), 8 * 2 ** (2 / 3)])


@pytest.mark.parametrize(
    ("spec", "size", "count"),
    [
        (ssd_anchors(300), 300, 1917),
        (ssd_anchors(320), 320, 2034),
        (fpn_anchors(), 320, 12804),
        (fpn_anchors(24, per_level=3, layout="even"), 320, 19206),
    ],
)
def test_recipes_have_their_published_number_of_anchors(spec, size, count):
    assert anchor_count(spec, size, size) == count


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


@pytest.mark.parametrize("level", [(0, (8.0,)), (-8, (8.0,)), (8, ()), (8, (8.0, 0.0)), (8, (), ((9.0, 0.0),))])
def test_a_level_that_cannot_be_is_refused(level):
    with pytest.raises(ValueError, match="anchor sizes"):
        AnchorLevel(*level)


@pytest.mark.parametrize(
    "change", [{"levels": ()}, {"ratios": ()}, {"ratios": (0.0,)}, {"coder_scales": (10, 10, 0, 5)}]
)
def test_a_spec_that_cannot_be_is_refused(change):
    with pytest.raises(ValueError, match="anchors need"):
        AnchorSpec(**{"levels": (AnchorLevel(8, (8.0,)),), **change})


def test_a_description_names_only_what_its_anchors_have():
    """What earlier versions wrote comes out as it went in, to the letter, and what they could not write comes back."""
    description = {
        "labels": ["galaxy"],
        "scheme": "galaxy",
        "preprocess": {"width": 64, "height": 64},
        "provenance": {
            "architecture": "SSD",
            "parameters": 1,
            "datasets": [],
            "dataset_sha256": "0" * 64,
            "seed": 0,
            "versions": {},
            "trained": "2026-01-02T03:04:05Z",
        },
        "tile_overlap": 16,
    }
    before = {
        "levels": [{"stride": 8, "sizes": [14.0]}],
        "ratios": [1.0, 2.0],
        "coder_scales": [10.0, 10.0, 5.0, 5.0],
    }
    read = DetectorDescription.model_validate({**description, "anchors": before})
    assert json.dumps(read.model_dump(mode="json")["anchors"]) == json.dumps(before)
    for spec in (ssd_anchors(64), fpn_anchors(8.0)):
        read = DetectorDescription.model_validate({**description, "anchors": spec})
        assert DetectorDescription.model_validate_json(read.model_dump_json()).anchors == spec
