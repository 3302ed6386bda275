"""The simulated sky."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegal import sky


@pytest.mark.parametrize("kind", range(len(sky.KINDS)), ids=sky.KINDS)
def test_a_galaxy_is_finite_light_that_fades_outward(kind: int) -> None:
    light = sky.draw_galaxy(kind, 12.0, np.random.default_rng(3)).light
    middle = light.shape[0] // 2
    grey = light.mean(axis=2)
    assert np.isfinite(light).all()
    assert light.min() >= 0
    core = grey[middle - 12 : middle + 13, middle - 12 : middle + 13]
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    assert border.max() < 0.1 * core.max()


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("round", 0.8, 1.01), ("in-between", 0.45, 0.8), ("cigar", 0.2, 0.45), ("edge-on", 0.0, 0.4)],
)
def test_kinds_differ_in_axis_ratio(kind: str, low: float, high: float) -> None:
    """Axis ratio from the second moments of the light, over 12 galaxies."""
    ratios = []
    for seed in range(12):
        grey = sky.draw_galaxy(sky.KINDS.index(kind), 10.0, np.random.default_rng(seed)).light.mean(axis=2)
        y, x = np.indices(grey.shape) - grey.shape[0] // 2
        moments = np.array([[(grey * x * x).sum(), (grey * x * y).sum()], [(grey * x * y).sum(), (grey * y * y).sum()]])
        small, large = np.linalg.eigvalsh(moments)
        ratios.append(np.sqrt(small / large))
    assert low <= np.median(ratios) <= high


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), galaxies=st.integers(0, 8))
def test_boxes_hold_light_and_stay_inside(seed: int, galaxies: int) -> None:
    scene = sky.draw_scene(120, 160, np.random.default_rng(seed), galaxies, stars=0, sizes=(12, 60))
    assert len(scene.boxes) == len(scene.kinds) <= galaxies
    for x0, y0, x1, y1 in scene.boxes.astype(int):
        assert 0 <= x0 < x1 <= 160
        assert 0 <= y0 < y1 <= 120
        assert scene.light[y0:y1, x0:x1].mean(axis=2).max() > scene.sigma


def test_a_galaxy_is_as_long_as_asked() -> None:
    sides = []
    for seed in range(20):
        light = sky.galaxy_of_side(seed % 5, 40.0, 2.0, 1.0, np.random.default_rng(seed)).mean(axis=2)
        box = sky.box_above(light, 2.0)
        assert box is not None
        sides.append(max(box[2] - box[0], box[3] - box[1]))
    assert 30 <= np.median(sides) <= 50


def test_box_above_is_tight() -> None:
    light = np.zeros((9, 11))
    light[2:5, 3:9] = 5
    assert sky.box_above(light, 1) == (3, 2, 9, 5)
    assert sky.box_above(light, 6) is None


def test_a_night_repeats_and_drifts() -> None:
    night = sky.Night(seed=4, width=200, height=150, frames=3, drift=(4.0, -2.0))
    again = sky.Night(seed=4, width=200, height=150, frames=3, drift=(4.0, -2.0))
    frames = list(night)
    assert [f.index for f in frames] == [0, 1, 2]
    np.testing.assert_array_equal(frames[1].pixels, again.frame(1).pixels)
    assert frames[0].pixels.dtype == np.uint16
    assert frames[2].time is not None
    assert frames[0].time is not None
    assert (frames[2].time - frames[0].time).total_seconds() == 2 * night.cadence_s
    np.testing.assert_allclose(night.boxes(2) - night.boxes(0), np.tile([8, -4, 8, -4], (len(night.scene.boxes), 1)))


def test_a_deeper_picture_shows_galaxies_larger() -> None:
    night = sky.Night(seed=4, width=300, height=200, frames=4)
    single, deep = (np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (night.boxes(0), night.boxes(0, stacked=16)))
    assert (deep >= single).all()
    assert deep.sum() > 1.2 * single.sum()
    shown = night.scene.boxes_in(night.scene.sigma)
    assert (shown[:, :2] <= night.scene.boxes[:, :2]).all()
    assert (shown[:, 2:] >= night.scene.boxes[:, 2:]).all()


def test_the_noise_of_a_night_is_what_it_says() -> None:
    quiet = sky.Night(seed=1, width=256, height=256, frames=1, galaxies=0, stars=0, noise=1.0)
    loud = sky.Night(seed=1, width=256, height=256, frames=1, galaxies=0, stars=0, noise=3.0)
    spread = [float(np.std(n.frame(0).pixels.astype(float))) for n in (quiet, loud)]
    assert spread[0] == pytest.approx(20, rel=0.05)
    assert spread[1] / spread[0] == pytest.approx(3, rel=0.05)


def test_spikes_lie_along_the_axes() -> None:
    rng = np.random.default_rng
    plain = sky.draw_stars((61, 61), 1, 3.0, 500.0, rng(0))
    spiked = sky.draw_stars((61, 61), 1, 3.0, 500.0, rng(0), spikes=True)
    extra = (spiked - plain).mean(axis=2)
    y, x = np.unravel_index(extra.argmax(), extra.shape)
    reach = 6
    inside = [(y, min(x + reach, 60)), (min(y + reach, 60), x), (y, max(x - reach, 0)), (max(y - reach, 0), x)]
    diagonal = extra[min(y + reach, 60), min(x + reach, 60)]
    assert max(extra[p] for p in inside) > 20 * max(diagonal, 1e-9)


def test_boxes_turn_with_the_field() -> None:
    still, turning = sky.Night(5, 300, 300, 2, drift=(0, 0)), sky.Night(5, 300, 300, 2, drift=(0, 0), rotation=90)
    np.testing.assert_allclose(
        turning.boxes(1)[:, 2:] - turning.boxes(1)[:, :2], box_sizes(turning)[:, ::-1], atol=1e-3
    )
    middle = turning.boxes(0)[:, :2] / 2 + turning.boxes(0)[:, 2:] / 2 - 150
    turned = turning.boxes(1)[:, :2] / 2 + turning.boxes(1)[:, 2:] / 2 - 150
    # Anticlockwise with rows that count downwards.
    np.testing.assert_allclose(turned, np.stack([middle[:, 1], -middle[:, 0]], axis=1), atol=1e-3)
    np.testing.assert_array_equal(still.boxes(0), still.boxes(1))


def box_sizes(night: sky.Night) -> np.ndarray:
    boxes = night.boxes(0)
    return boxes[:, 2:] - boxes[:, :2]
