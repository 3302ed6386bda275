import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from edgegal import zoo
from edgegal.detections import Detections, iou_matrix
from edgegal.inference import open_detector
from edgegal.runtimes import installed
from edgegal.slicing import Slicing, detect_sliced, level_sizes, offsets, tiles

DEFAULT = Slicing(256)
SMALL = Slicing(64, overlap=32)
SMALLEST = 8
MERGES = ("nms", "wbf")


def view_of(width, height):
    """A slope of light: no tile of it is of one colour."""
    y, x = np.ogrid[:height, :width]
    grey = (127 * y / height + 128 * x / width).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


class Seer:
    """A detector that knows the true boxes, and of each sees what a tile shows of it: the whole, or the part inside.

    Wholes and parts score alike. `blur` is the largest error of an edge, over the length of the box it belongs to and
    at most half a pixel and 3 % of its longer side; what shows less than `SMALLEST` pixels in a tile it does not see.
    """

    def __init__(self, truth, view, slicing, seed, blur=0.08):
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
        visible = (sizes > 0).all(axis=1) & (sizes.max(axis=1) >= SMALLEST - 1e-3)
        seen, sizes = seen[visible], sizes[visible]
        reach = np.minimum(self.blur * sizes, 0.5 + 0.03 * sizes.max(axis=1, keepdims=True, initial=0))
        seen = np.clip(seen + self.rng.uniform(-1, 1, seen.shape) * np.tile(reach, 2), 0, self.side)
        n = len(seen)
        return Detections(
            seen.astype(np.float32), self.rng.uniform(0.3, 1, n).astype(np.float32), np.zeros(n, np.int32)
        )


def apart(a, b):
    """Whether two boxes leave a tenth of the larger one between them, and two pixels."""
    gap = 2 + 0.1 * max(a[2] - a[0], a[3] - a[1], b[2] - b[0], b[3] - b[1])
    return a[0] >= b[2] + gap or b[0] >= a[2] + gap or a[1] >= b[3] + gap or b[1] >= a[3] + gap


@st.composite
def scenes(draw, widest, highest):
    """Picture size and boxes from `SMALLEST` pixels to the whole frame, apart from each other."""
    width, height = draw(st.integers(1, widest)), draw(st.integers(1, highest))
    boxes = []
    for _ in range(draw(st.integers(1, 12))):
        side = draw(st.floats(SMALLEST, max(width, height, SMALLEST)))
        w, h = side, side * draw(st.floats(0.3, 1))
        if draw(st.booleans()):
            w, h = h, w
        w, h = min(w, width), min(h, height)
        if max(w, h) < SMALLEST:
            continue
        x, y = draw(st.floats(0, width - w)), draw(st.floats(0, height - h))
        box = (x, y, x + w, y + h)
        if all(apart(box, other) for other in boxes):
            boxes.append(box)
    return width, height, boxes


def expect_each_once(found, truth, least_iou=0.6):
    truth = np.array(truth, np.float32).reshape(-1, 4)
    overlaps = iou_matrix(truth, found.boxes)
    assert len(found) == len(truth), f"{truth.tolist()} are there, {found.boxes.tolist()} found"
    assert ((overlaps >= least_iou).sum(axis=1) == 1).all(), f"{truth.tolist()} are there, {found.boxes.tolist()} found"


@pytest.mark.parametrize("merge", MERGES)
@settings(max_examples=75)
@given(scenes(400, 300), st.integers(32, 56), st.integers(0, 99))
@example((1, 1, []), 32, 0)
@example((65, 64, [(40, 10, 65, 30)]), 32, 0)
@example((128, 128, [(44, 44, 84, 84)]), 32, 0)
@example((400, 300, [(0, 0, 400, 300)]), 32, 0)
def test_every_galaxy_is_found_once_and_whole(merge, scene, overlap, seed):
    width, height, truth = scene
    view, slicing = view_of(width, height), Slicing(64, overlap, merge=merge)
    expect_each_once(detect_sliced(view, Seer(truth, view, slicing, seed), slicing), truth)


@pytest.mark.parametrize("merge", MERGES)
@settings(max_examples=25)
@given(scenes(1500, 1200), st.integers(0, 99))
@example((1500, 1200, [(0, 0, 1500, 1200)]), 0)
@example((1500, 1200, [(1490, 1190, 1500, 1200), (250, 250, 262, 258)]), 0)
@example((1500, 8, [(0, 0, 1500, 8)]), 0)
def test_frames_of_cameras_too(merge, scene, seed):
    width, height, truth = scene
    view, slicing = view_of(width, height), Slicing(256, merge=merge)
    expect_each_once(detect_sliced(view, Seer(truth, view, slicing, seed), slicing), truth)


@settings(max_examples=50)
@given(st.integers(257, 900), st.floats(8, 300), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.integers(0, 99))
def test_a_galaxy_on_the_crossing_of_two_seams_is_found_once(extent, side, across, down, seed):
    """Where four tiles meet, as far off it as the galaxy reaches."""
    side = min(side, extent)
    seam = offsets(extent, 256, 64)[1]
    x, y = (float(np.clip(seam + side * (off - 0.5), 0, extent - side)) for off in (across, down))
    view = view_of(extent, extent)
    truth = [(x, y, x + side, y + side)]
    expect_each_once(detect_sliced(view, Seer(truth, view, DEFAULT, seed), DEFAULT), truth)


@settings(max_examples=50)
@given(scenes(300, 300), st.integers(0, 99))
def test_an_enlarged_finest_level_reports_in_pixels_of_the_frame(scene, seed):
    width, height, truth = scene
    view, slicing = view_of(width, height), Slicing(64, 32, zoom=2)
    expect_each_once(detect_sliced(view, Seer(truth, view, slicing, seed), slicing), truth)


def test_enlarging_shows_what_is_too_small_otherwise():
    view, truth = view_of(150, 100), [(70, 50, 75, 55)]
    for zoom, found in ((1, 0), (2, 1)):
        slicing = Slicing(64, 32, zoom=zoom)
        assert len(detect_sliced(view, Seer(truth, view, slicing, 0), slicing)) == found


def test_with_one_level_only_what_the_overlap_holds_is_sure():
    view, truth = view_of(300, 200), [(20, 20, 40, 40), (100, 20, 250, 170)]
    slicing = Slicing(64, 32, levels=1)
    expect_each_once(detect_sliced(view, Seer(truth, view, slicing, 0), slicing), truth[:1])


def test_fusing_averages_what_the_tiles_saw():
    view, truth = view_of(200, 200), [(90, 90, 120, 110)]
    errors = {}
    for merge in MERGES:
        slicing = Slicing(64, 48, merge=merge)
        runs = [detect_sliced(view, Seer(truth, view, slicing, seed), slicing).boxes[0] for seed in range(12)]
        errors[merge] = np.abs(np.array(runs) - truth[0]).mean()
    assert errors["wbf"] < 0.8 * errors["nms"]


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


@settings(max_examples=40)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(32, 128), st.data())
def test_tiles_cover_every_level_down_to_one_tile(width, height, side, data):
    slicing = Slicing(side, overlap=data.draw(st.integers(0, side // 2)))
    levels = {}
    for tile in tiles(view_of(width, height), slicing):
        assert tile.pixels.shape == (side, side, 3)
        seen = levels.setdefault((tile.width, tile.height), np.zeros((tile.height, tile.width), bool))
        seen[tile.top : tile.top + side, tile.left : tile.left + side] = True
        assert tile.scale == (width / tile.width, height / tile.height)
    assert all(seen.all() for seen in levels.values())
    assert list(levels) == level_sizes(width, height, slicing)


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(16, 320), st.data())
def test_levels_shrink_alike_and_never_by_much(width, height, side, data):
    slicing = Slicing(side, overlap=data.draw(st.integers(0, side - 1)))
    sizes = level_sizes(width, height, slicing)
    assert sizes[0] == (width, height)
    whole = next(i for i, size in enumerate(sizes) if max(size) <= side)
    assert [max(size) for size in sizes[whole + 1 :]] == [round(0.75 * side)] * (max(sizes[whole]) > 0.75 * side)
    sizes = sizes[: whole + 1]
    longest = np.array([max(size) for size in sizes], float)
    assert (longest[:-1] > side).all()
    # A rounded side is off by half a pixel.
    assert (longest[:-1] / longest[1:] <= 2.5 * (1 + 0.5 / longest[1:])).all()
    assert (longest[:-2] / longest[1:-1] >= 2 * (1 - 0.5 / longest[1:-1])).all(), "only the last step may be short"
    for w, h in sizes:
        assert_allclose([w, h], np.array([width, height]) * (longest[0] and max(w, h) / longest[0]), atol=1.6)


@pytest.mark.parametrize(
    ("width", "height", "most"), [(640, 480, 11), (1280, 960, 43), (1920, 1080, 72), (3840, 2160, 268)]
)
def test_a_camera_frame_takes_few_tiles(width, height, most):
    assert sum(1 for _ in tiles(view_of(width, height), DEFAULT)) <= most


def test_levels_can_be_limited_and_the_finest_enlarged():
    assert len(level_sizes(1920, 1080, Slicing(256, levels=2))) == 2
    assert level_sizes(300, 200, Slicing(256, levels=1, zoom=2)) == [(600, 400)]
    assert level_sizes(100, 80, DEFAULT) == [(100, 80)]


def test_every_level_shows_the_same_sky():
    picture = np.random.default_rng(0).integers(0, 256, (300, 500, 3), np.uint8)
    means = {}
    for tile in tiles(picture, Slicing(64, overlap=0)):
        means.setdefault(tile.width, []).append(tile.pixels[: tile.height, : tile.width].mean())
    assert len(means) == 5
    for values in means.values():
        assert_allclose(np.mean(values), picture.mean(), atol=1)


def test_the_last_level_is_for_galaxies_that_fill_the_frame():
    """What is small there was seen better before, at its own size."""
    seen = iter([[[50, 50, 60, 60]], [[1, 1, 34, 34], [4, 40, 20, 47]]])

    def detect(_):
        boxes = np.array(next(seen), np.float32)
        return Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), np.int32))

    found = detect_sliced(view_of(64, 64), detect, SMALL)
    assert next(seen, None) is None
    assert_allclose(sorted(found.boxes.tolist()), [[4 / 3, 4 / 3, 34 * 4 / 3, 34 * 4 / 3], [50, 50, 60, 60]], rtol=1e-5)
    enlarged = [tile.again for tile in tiles(view_of(30, 30), Slicing(64, overlap=32, zoom=2))]
    assert enlarged == [False, True]


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


def test_a_better_companion_in_the_halo_of_a_galaxy_stays():
    boxes = np.array([[5, 5, 55, 55], [40, 40, 52, 54]], np.float32)
    scores = np.array([0.8, 0.9], np.float32)
    found = detect_sliced(view_of(64, 64), lambda _: Detections(boxes, scores, np.zeros(2, np.int32)), SMALL)
    assert_array_equal(found.scores, scores[::-1])


@pytest.mark.parametrize("scores", [(0.9, 0.8), (0.8, 0.9), (0.9, 0.9)])
def test_two_measures_of_one_galaxy_that_overlap_too_little_become_one(scores):
    boxes = np.array([[10, 10, 40, 30], [12, 15, 38, 25]], np.float32)
    found = detect_sliced(
        view_of(48, 48), lambda _: Detections(boxes, np.array(scores, np.float32), np.zeros(2, np.int32)), SMALL
    )
    assert_array_equal(found.boxes, boxes[[int(scores[1] > scores[0])]])


def test_an_object_of_another_class_is_never_absorbed():
    boxes = np.array([[5, 5, 55, 55], [10, 10, 20, 20]], np.float32)
    found = detect_sliced(
        view_of(64, 64),
        lambda _: Detections(boxes, np.array([0.9, 0.8], np.float32), np.array([0, 1], np.int32)),
        SMALL,
    )
    assert_array_equal(found.classes, [0, 1])


def test_the_limit_keeps_the_best_of_what_is_left_after_merging():
    boxes = np.array([[i * 15, 2, i * 15 + 10, 12] for i in range(4)], np.float32)
    scores = np.array([0.5, 0.9, 0.6, 0.7], np.float32)
    found = detect_sliced(
        view_of(64, 64), lambda _: Detections(boxes, scores, np.zeros(4, np.int32)), Slicing(64, 32, limit=2)
    )
    assert_allclose(found.scores, [0.9, 0.7])


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"overlap": -1}, "overlap -1 must be"),
        ({"overlap": 64}, "overlap 64 must be"),
        ({"overlap": 100}, "overlap 100 must be"),
        ({"merge": "best"}, "merge 'best' must be nms or wbf"),
        ({"levels": 0}, "levels 0 must be"),
        ({"zoom": 0}, "zoom 0 must be"),
    ],
)
def test_what_no_frame_can_be_cut_by_is_refused(settings, wrong):
    with pytest.raises(ValueError, match=wrong):
        Slicing(64, **{"overlap": 32, **settings})


def degenerate(height, width):
    noise = np.random.default_rng(height).normal(20, 4, (height, width, 3))
    black = np.zeros((height, width, 3), np.uint8)
    one_star = black.copy()
    one_star[height // 2, width // 2] = 255
    return {
        "black": black,
        "one colour": black + np.uint8([90, 20, 200]),
        "saturated": black + np.uint8(255),
        "noise": np.clip(noise, 0, 255).astype(np.uint8),
        "one pixel": one_star,
    }


@pytest.mark.skipif(not installed(), reason="no runtime is installed")
@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (2, 2), (100, 80), (256, 256), (257, 300)])
@pytest.mark.parametrize("merge", MERGES)
def test_the_shipped_detector_finds_nothing_where_nothing_is(size, merge):
    detector = open_detector(zoo.resolve(zoo.DEFAULT))
    slicing = Slicing(detector.stage.preprocess.width, detector.stage.tile_overlap, merge=merge)
    for name, view in degenerate(*size).items():
        assert len(detect_sliced(view, detector, slicing)) == 0, name


def test_a_tile_of_one_colour_is_not_asked_about():
    def detect(_):
        return Detections(np.array([[1, 1, 20, 20]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32))

    assert len(detect_sliced(np.full((50, 50, 3), 255, np.uint8), detect, SMALL)) == 0
    bordered = np.zeros((200, 64, 3), np.uint8)
    bordered[:30] = view_of(64, 30)
    assert len(detect_sliced(bordered, detect, Slicing(64, 0, levels=1))) == 1


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("box", [(np.nan, 0, 5, 5), (np.inf, 0, np.inf, 5), (-np.inf, -5, 3, 3), (9, 9, 9, 9)])
def test_boxes_that_are_none_do_not_reach_the_frame(box):
    found = detect_sliced(
        view_of(100, 90),
        lambda _: Detections(np.array([box], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32)),
        SMALL,
    )
    assert np.isfinite(found.boxes).all()
    assert (found.sizes > 0).all()
