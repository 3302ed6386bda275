import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from edgegal.detections import Detections, iou_matrix
from edgegal.slicing import Slicing, detect_sliced, offsets, pyramid, tiles

DEFAULT = Slicing(256)
SMALL = Slicing(64, overlap=16)


def view_of(width, height):
    return np.zeros((height, width, 3), np.uint8)


class Seer:
    """A detector that knows the true boxes: reports each one's visible part in every tile, cut at the tile's border.

    `blur` moves each edge by up to that many pixels of the tile, as a network would; what is smaller than 4 pixels in
    a tile it does not see.
    """

    def __init__(self, truth, view, slicing, seed, blur=0.0):
        self.truth = np.asarray(truth, float).reshape(-1, 4)
        self.tiles = tiles(view, slicing)
        self.side = slicing.tile
        self.rng = np.random.default_rng(seed)
        self.blur = blur

    def __call__(self, pixels):
        tile = next(self.tiles)
        assert pixels.shape == (self.side, self.side, 3)
        assert_array_equal(pixels, tile.pixels)
        boxes = self.truth / (tile.scale * 2) - [tile.left, tile.top, tile.left, tile.top]
        seen = np.clip(boxes, 0, self.side)
        sizes = seen[:, 2:] - seen[:, :2]
        seen = seen[(sizes > 0).all(axis=1) & (sizes.max(axis=1) >= 4)]
        seen = np.clip(seen + self.rng.uniform(-self.blur, self.blur, seen.shape), 0, self.side)
        n = len(seen)
        return Detections(
            seen.astype(np.float32), self.rng.uniform(0.3, 1, n).astype(np.float32), np.zeros(n, np.int32)
        )


@st.composite
def scenes(draw, widest, highest):
    """Picture size and disjoint boxes from 8 pixels to the whole frame."""
    width, height = draw(st.integers(1, widest)), draw(st.integers(1, highest))
    boxes = []
    for _ in range(draw(st.integers(1, 12))):
        side = draw(st.floats(8, max(width, height, 8)))
        w, h = min(side, width), min(side * draw(st.floats(0.3, 1)), height)
        if max(w, h) < 8:
            continue
        x, y = draw(st.floats(0, width - w)), draw(st.floats(0, height - h))
        box = (x, y, x + w, y + h)
        if all(x >= b[2] + 2 or b[0] >= box[2] + 2 or y >= b[3] + 2 or b[1] >= box[3] + 2 for b in boxes):
            boxes.append(box)
    return width, height, boxes


def expect_each_once(found, truth, least_iou):
    truth = np.array(truth, np.float32).reshape(-1, 4)
    overlaps = iou_matrix(truth, found.boxes)
    assert len(found) == len(truth), f"{len(truth)} galaxies, {found.boxes.tolist()} found"
    assert ((overlaps >= least_iou).sum(axis=1) == 1).all()


@settings(max_examples=150, deadline=None)
@given(scenes(400, 300), st.integers(0, 99))
@example((1, 1, []), 0)
@example((65, 64, [(40, 10, 65, 30)]), 0)
def test_every_galaxy_is_found_once_at_its_place(scene, seed):
    width, height, truth = scene
    view = view_of(width, height)
    found = detect_sliced(view, Seer(truth, view, SMALL, seed), SMALL)
    expect_each_once(found, truth, 0.99)


@settings(max_examples=25, deadline=None)
@given(scenes(1500, 1200), st.integers(0, 99))
@example((1500, 1200, [(0, 0, 1500, 1200)]), 0)
@example((1500, 1200, [(1490, 1190, 1500, 1200), (250, 250, 262, 258)]), 0)
@example((1500, 7, [(0, 0, 1500, 7)]), 0)
def test_frames_of_cameras_too(scene, seed):
    width, height, truth = scene
    view = view_of(width, height)
    found = detect_sliced(view, Seer(truth, view, DEFAULT, seed), DEFAULT)
    expect_each_once(found, truth, 0.99)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(100, 700),
    st.integers(100, 700),
    st.floats(16, 300),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_a_network_that_places_edges_by_guess_reports_a_galaxy_once(width, height, side, x, y, seed):
    """A part of a galaxy whose box ends a few pixels before the seam is still a part."""
    side = min(side, width, height)
    x, y = x * (width - side), y * (height - side)
    view = view_of(width, height)
    truth = [(x, y, x + side, y + side)]
    found = detect_sliced(view, Seer(truth, view, DEFAULT, seed, blur=1.0), DEFAULT)
    assert len(found) == 1
    assert iou_matrix(np.array(truth, np.float32), found.boxes)[0, 0] > 0.3


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(2, 300), st.data())
def test_any_stretch_up_to_the_overlap_lies_whole_in_a_tile(extent, tile, data):
    overlap = data.draw(st.integers(0, tile - 1))
    starts = offsets(extent, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(0, extent - tile)
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps <= tile - overlap).all(), "neighbours share less than the overlap"


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(32, 128), st.data())
def test_tiles_cover_every_level_and_halve_to_one_tile(width, height, side, data):
    slicing = Slicing(side, overlap=data.draw(st.integers(0, side // 4)))
    levels = {}
    for tile in tiles(view_of(width, height), slicing):
        assert tile.pixels.shape == (side, side, 3)
        seen = levels.setdefault((tile.width, tile.height), np.zeros((tile.height, tile.width), bool))
        seen[tile.top : tile.top + side, tile.left : tile.left + side] = True
        assert tile.scale == (width / tile.width, height / tile.height)
    assert all(seen.all() for seen in levels.values())
    assert next(iter(levels)) == (width, height)
    assert max(list(levels)[-1]) <= side
    assert all(max(level) > side for level in list(levels)[:-1])


def test_a_pyramid_shows_the_same_sky_at_every_level():
    picture = np.random.default_rng(0).integers(0, 256, (300, 500, 3), np.uint8)
    scales = []
    for scale, level in pyramid(picture, 64):
        scales.append(scale)
        assert level.shape == (round(300 / scale), round(500 / scale), 3)
        assert_allclose(level.mean(), picture.mean(), atol=1)
    assert scales == [1, 2, 4, 8]


def test_a_small_picture_is_one_tile_on_its_own_sky():
    picture = np.full((10, 20, 3), [9, 8, 7], np.uint8)
    picture[5, 5] = 255
    (tile,) = tiles(picture, SMALL)
    assert_array_equal(tile.pixels[:10, :20], picture)
    assert (tile.pixels[10:] == [9, 8, 7]).all()
    assert (tile.pixels[:, 20:] == [9, 8, 7]).all()


def test_a_box_in_the_padding_is_no_galaxy():
    def detect(_):
        return Detections(np.array([[30, 30, 40, 40]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32))

    assert len(detect_sliced(view_of(20, 20), detect, SMALL)) == 0


def test_knots_inside_a_better_galaxy_are_absorbed_and_neighbours_are_not():
    boxes = np.array([[5, 5, 55, 55], [10, 10, 20, 20], [50, 50, 60, 60]], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    found = detect_sliced(view_of(64, 64), lambda _: Detections(boxes, scores, np.zeros(3, np.int32)), SMALL)
    assert_array_equal(found.boxes, boxes[[0, 2]])


@pytest.mark.parametrize("overlap", [-1, 64, 100])
def test_an_overlap_that_leaves_no_step_is_refused(overlap):
    with pytest.raises(ValueError, match=f"overlap {overlap} must be"):
        Slicing(64, overlap)
