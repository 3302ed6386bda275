"""Anchor assignment and dense targets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegal import anchors
from edgegal.anchors import AnchorLevel, AnchorSpec
from edgegal.detections import iou_matrix
from edgegal.errors import InputError
from edgegal.training.matching import PUBLISHED_MATCHING, SMALL_GALAXY_MATCHING, Matching, dense_targets, match

pytestmark = pytest.mark.host

NOTHING = np.zeros((0, 4), np.float32)
SPEC = AnchorSpec((AnchorLevel(16, (20.0,)), AnchorLevel(32, (50.0,))))


def _boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def _corners(grid: np.ndarray) -> np.ndarray:
    return np.concatenate([grid[:, :2] - grid[:, 2:] / 2, grid[:, :2] + grid[:, 2:] / 2], axis=1)


CORNERS = _corners(anchors.generate(SPEC, 128, 128))


def test_hand_worked_assignment() -> None:
    grid = _boxes((0, 0, 10, 10), (0, 0, 10, 20), (20, 20, 30, 30), (40, 40, 50, 50), (100, 100, 110, 110))
    galaxies = _boxes((0, 0, 10, 12), (21, 20, 31, 30), (90, 90, 96, 96))
    assigned = match(grid, galaxies, _boxes((40, 40, 49, 50)))
    # IoU 10/12 and 12/20: both above one half. 9/11. Ignored. The third galaxy overlaps nothing: the nearest.
    assert assigned.tolist() == [0, 0, 1, -2, 2]


def test_below_one_half_is_background() -> None:
    # IoU 50/100 and 49/100.
    assert match(_boxes((0, 0, 10, 10), (0, 0, 10, 10)), _boxes((0, 0, 10, 5)), NOTHING).tolist() == [0, 0]
    grid = _boxes((0, 0, 10, 10), (0, 0, 10, 4.9))
    assert match(grid, _boxes((0, 0, 10, 10)), NOTHING).tolist() == [0, -1]


def test_two_galaxies_do_not_steal_each_others_only_anchor() -> None:
    """Both have the first anchor as their best: the better pair keeps it, the other galaxy gets its second best."""
    grid = _boxes((0, 0, 20, 20), (12, 12, 32, 32), (60, 60, 80, 80))
    galaxies = _boxes((4, 4, 14, 14), (1, 1, 19, 19))
    assert iou_matrix(galaxies, grid).argmax(axis=1).tolist() == [0, 0]
    assert match(grid, galaxies, NOTHING).tolist() == [1, 0, -1]
    assert match(grid, galaxies[::-1], NOTHING).tolist() == [0, 1, -1]
    # Twins, and but one anchor that overlaps them: the other twin gets the nearest that is free.
    assert sorted(match(grid[[0, 2]], _boxes((2, 2, 12, 12), (2, 2, 12, 12)), NOTHING).tolist()) == [0, 1]


def test_a_forced_anchor_is_taken_from_a_galaxy_that_has_another() -> None:
    """The second galaxy's best anchor overlaps the first more, which keeps its own best."""
    grid = _boxes((0, 0, 20, 20), (0, 0, 20, 26))
    galaxies = _boxes((0, 0, 20, 20), (0, 16, 20, 60))
    assert match(grid, galaxies, NOTHING).tolist() == [0, 1]


def test_more_galaxies_than_anchors() -> None:
    assert match(_boxes((0, 0, 10, 10)), _boxes((0, 0, 4, 4), (0, 0, 9, 9), (5, 5, 9, 9)), NOTHING).tolist() == [1]


def test_hand_worked_assignment_of_a_small_galaxy() -> None:
    """IoU of .4, .33, .28 and .2 with a galaxy that fits no anchor, and of 1 and .45 with one that does."""
    grid = _boxes((0, 0, 10, 4), (0, 0, 3.3, 10), (0, 0, 2.8, 10), (0, 0, 2, 10), (50, 50, 60, 60), (50, 50, 60, 54.5))
    galaxies = _boxes((0, 0, 10, 10), (50, 50, 60, 60))
    assert match(grid, galaxies, NOTHING).tolist() == [0, -1, -1, -1, 1, -1]
    # Enough is .8 x .4 = .32 for the first, and .5 for the second, whose best is 1; from .8 of it neither way.
    assert match(grid, galaxies, NOTHING, SMALL_GALAXY_MATCHING).tolist() == [0, 0, -2, -1, 1, -2]
    # Of an anchor that overlaps it by less than a quarter nobody learns a galaxy but where it is the best.
    assert match(grid[2:4] * [0.8, 1, 0.8, 1], galaxies[:1], NOTHING, SMALL_GALAXY_MATCHING).tolist() == [0, -1]


def test_hand_worked_weights() -> None:
    spec = AnchorSpec((AnchorLevel(32, (32.0,)),), ratios=(1.0,))
    grid = anchors.generate(spec, 64, 64)
    galaxies = _boxes((0, 0, 32, 32), (32, 0, 64, 32))
    codes, scores = dense_targets(spec, grid, galaxies, NOTHING, matching=Matching(examples=4, usual=9))
    # One example each: twice the weight, for the square root of 4. The picture: over the square root of 4 x 9.
    assert scores.tolist() == pytest.approx(np.array([[1, 2 / 6], [1, 2 / 6], [0, 1 / 6], [0, 1 / 6]]))
    assert codes[:, 4].tolist() == pytest.approx([2 / 6, 2 / 6, 0, 0])
    for matching in (PUBLISHED_MATCHING, SMALL_GALAXY_MATCHING):
        assert (dense_targets(spec, grid, NOTHING, NOTHING, matching=matching)[1][:, -1] == 1).all()


def test_an_anchor_between_two_galaxies_learns_the_one_it_fits_beyond_what_is_enough() -> None:
    """It overlaps the large one by .5, just enough, and the small one by .27, of which .25 is enough."""
    grid = _boxes((0, 0, 20, 10), (0, 0, 2, 10), (0, 0, 20, 19))
    galaxies = _boxes((0, 0, 20, 20), (0, 0, 5.4, 10))
    overlap = iou_matrix(galaxies, grid[:1])
    assert overlap[:, 0] == pytest.approx([0.5, 0.27])
    small = Matching(best_share=0.55, least_iou=0.25)
    # The best anchors of the two overlap them by .95 and .37.
    assert match(grid, galaxies, NOTHING).tolist() == [0, 1, 0]
    assert match(grid, galaxies, NOTHING, small).tolist() == [1, 1, 0]


def test_a_galaxy_with_many_examples_weighs_none_of_them_less() -> None:
    weights = Matching(examples=4).weights(np.array([0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0], np.int32))
    assert weights.tolist() == pytest.approx([2**0.5, *[1] * 9, 2**0.5])


def test_weights_for_small_galaxies() -> None:
    """Two examples that weigh 2 each, for 8 / 2, and a picture of 4 in all: over the square root of 4 x 20."""
    assert SMALL_GALAXY_MATCHING.weights(np.zeros(2, np.int32)).tolist() == [2, 2]
    assert SMALL_GALAXY_MATCHING.scale(4) == pytest.approx(80**-0.5)
    assert PUBLISHED_MATCHING.scale(4) == 0.25


edges = st.floats(-10, 120, width=32)
sides = st.floats(0.5, 90, width=32)
box_lists = st.lists(
    st.tuples(edges, edges, sides, sides).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])), max_size=8
).map(lambda rows: _boxes(*rows))


@settings(max_examples=100)
@given(box_lists, box_lists)
def test_what_holds_of_every_assignment(galaxies: np.ndarray, ignore: np.ndarray) -> None:
    assigned = match(CORNERS, galaxies, ignore)
    assert assigned.shape == (len(CORNERS),)
    assert set(range(len(galaxies))) <= set(assigned.tolist()) <= set(range(-2, len(galaxies)))
    overlap = np.zeros((len(CORNERS), 1)) if not len(galaxies) else iou_matrix(CORNERS, galaxies)
    good = overlap.max(axis=1) >= 0.5
    assert (assigned[good] >= 0).all()
    # Beyond those, one anchor a galaxy at most was forced.
    assert ((assigned >= 0) & ~good).sum() <= len(galaxies)
    hidden = iou_matrix(CORNERS, ignore).max(axis=1, initial=0) >= 0.25
    assert (assigned[~hidden] != -2).all()
    assert (assigned[hidden] != -1).all()


@settings(max_examples=100)
@given(box_lists)
def test_small_galaxies_lose_no_example_to_the_other_matching(galaxies: np.ndarray) -> None:
    published, small = (match(CORNERS, galaxies, NOTHING, m) for m in (PUBLISHED_MATCHING, SMALL_GALAXY_MATCHING))
    assert (small[published >= 0] >= 0).all()
    assert set(range(len(galaxies))) <= set(small.tolist())
    # What is no example of either lies closer to one than background does.
    near = iou_matrix(CORNERS, galaxies).max(axis=1, initial=0)
    assert (near[small == -2] >= 0.8 * SMALL_GALAXY_MATCHING.least_iou - 1e-6).all()
    assert (near[small == -1] < 0.8 * 0.5).all()


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_galaxies_does_not_matter(seed: int) -> None:
    """Crowded enough that galaxies compete for anchors."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(30, 70, (6, 2))
    galaxies = np.concatenate([start, start + rng.uniform(15, 25, (6, 2))], axis=1).astype(np.float32)
    order = rng.permutation(6)
    first, second = match(CORNERS, galaxies, NOTHING), match(CORNERS, galaxies[order], NOTHING)
    np.testing.assert_array_equal(first, np.where(second < 0, second, order[second]))


def test_targets_decode_back_to_the_galaxies() -> None:
    spec = AnchorSpec((AnchorLevel(8, (14.0, 22.0)), AnchorLevel(16, (34.0,))))
    grid = anchors.generate(spec, 64, 64)
    galaxies = _boxes((5, 6, 20, 18), (30, 30, 62, 60))
    codes, scores = dense_targets(spec, grid, galaxies, NOTHING)
    positive = scores[:, 0] == 1
    decoded = anchors.decode(codes[positive, :4], grid[positive], spec.coder_scales)
    for box in decoded:
        assert np.abs(galaxies - box).max(axis=1).min() < 1e-3
    np.testing.assert_allclose(codes[positive, 4].sum(), 1, rtol=1e-5)
    assert (codes[~positive, 4] == 0).all()
    assert (scores[:, 1] > 0).all()


def test_each_anchor_has_the_class_of_its_galaxy() -> None:
    spec = AnchorSpec((AnchorLevel(32, (32.0,)),), ratios=(1.0,))
    grid = anchors.generate(spec, 64, 64)
    galaxies = _boxes((32, 32, 64, 64), (0, 0, 32, 32))
    _, scores = dense_targets(spec, grid, galaxies, _boxes((0, 32, 32, 64)), np.array([2, 0]), n_classes=3)
    # Anchors: the second galaxy, nothing, ignored, the first galaxy. Weight one over two positives.
    assert scores.tolist() == [[1, 0, 0, 0.5], [0, 0, 0, 0.5], [0, 0, 0, 0.0], [0, 0, 1, 0.5]]
    assert scores.dtype == np.float32


@pytest.mark.parametrize("label", [-1, 2])
def test_a_class_the_detector_does_not_tell_is_refused(label: int) -> None:
    grid = anchors.generate(SPEC, 64, 64)
    with pytest.raises(InputError, match="the detector tells 2"):
        dense_targets(SPEC, grid, _boxes((1, 1, 9, 9)), NOTHING, np.array([label]), n_classes=2)


def test_an_empty_field_is_all_background() -> None:
    spec = AnchorSpec((AnchorLevel(16, (20.0,)),))
    codes, scores = dense_targets(spec, anchors.generate(spec, 64, 64), NOTHING, NOTHING)
    assert codes[:, 4].sum() == 0
    assert scores[:, 0].sum() == 0
    assert (scores[:, 1] == 1).all()
