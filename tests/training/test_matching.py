"""Anchor assignment and dense targets."""

import numpy as np

from edgegal import anchors
from edgegal.anchors import AnchorLevel, AnchorSpec
from edgegal.training.matching import dense_targets, match

NOTHING = np.zeros((0, 4), np.float32)


def _boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_hand_worked_assignment() -> None:
    grid = _boxes((0, 0, 10, 10), (0, 0, 10, 20), (20, 20, 30, 30), (40, 40, 50, 50), (100, 100, 110, 110))
    galaxies = _boxes((0, 0, 10, 12), (21, 20, 31, 30), (60, 60, 70, 70))
    assigned = match(grid, galaxies, _boxes((40, 40, 49, 50)))
    # IoU 10/12 and 12/20: both above one half. 9/11. Ignored. The third galaxy overlaps nothing: it still gets one.
    assert assigned[:4].tolist()[1:] == [0, 1, -2]
    assert 2 in assigned
    assert (assigned == -1).sum() <= 1


def test_every_galaxy_gets_an_anchor() -> None:
    spec = AnchorSpec((AnchorLevel(16, (20.0,)), AnchorLevel(32, (50.0,))))
    grid = anchors.generate(spec, 128, 128)
    corners = np.concatenate([grid[:, :2] - grid[:, 2:] / 2, grid[:, :2] + grid[:, 2:] / 2], axis=1)
    rng = np.random.default_rng(0)
    for _ in range(50):
        start = rng.uniform(0, 100, (3, 2))
        galaxies = np.concatenate([start, start + rng.uniform(4, 60, (3, 2))], axis=1).astype(np.float32)
        taken = set(match(corners, galaxies, NOTHING).tolist())
        distinct_best = len({int(i) for i in anchors_best(corners, galaxies)})
        assert len(taken & {0, 1, 2}) >= distinct_best


def anchors_best(corners: np.ndarray, galaxies: np.ndarray) -> list[int]:
    """Best anchor of each galaxy by brute force."""
    best = []
    for g in galaxies:
        wide = np.clip(np.minimum(corners[:, 2], g[2]) - np.maximum(corners[:, 0], g[0]), 0, None)
        high = np.clip(np.minimum(corners[:, 3], g[3]) - np.maximum(corners[:, 1], g[1]), 0, None)
        cross = wide * high
        area = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
        best.append(int((cross / (area + (g[2] - g[0]) * (g[3] - g[1]) - cross)).argmax()))
    return best


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


def test_an_empty_field_is_all_background() -> None:
    spec = AnchorSpec((AnchorLevel(16, (20.0,)),))
    codes, scores = dense_targets(spec, anchors.generate(spec, 64, 64), NOTHING, NOTHING)
    assert codes[:, 4].sum() == 0
    assert scores[:, 0].sum() == 0
    assert (scores[:, 1] == 1).all()
