import sys

import numpy as np
import pytest

from edgegal.device.background import measure_background, subtract_background
from edgegal.sky import draw_stars


@pytest.fixture(params=["sep", "own mesh"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of measuring; sep is hidden for the second."""
    if request.param == "sep":
        pytest.importorskip("sep")
    else:
        monkeypatch.setitem(sys.modules, "sep", None)
    return request.param


def slope(shape: tuple[int, int]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]] / max(shape)
    return 1000 + 300 * x - 150 * y + 100 * x * y


@pytest.mark.parametrize("shape", [(360, 480), (700, 1100)])
def test_a_gradient_under_stars_is_measured(way: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    stars = draw_stars(shape, 120, 3.0, 5000.0, rng).mean(axis=2)
    background = measure_background(slope(shape) + stars + rng.normal(0, 10, shape))
    inner = np.s_[40:-40, 40:-40]
    assert np.abs(background.level - slope(shape))[inner].max() < 12
    assert background.level.dtype == np.float32


def test_colours_are_measured_apart_and_keep_their_typical_level(way: str) -> None:
    shape = (360, 480)
    sky = np.dstack([slope(shape), 2 * slope(shape), np.full(shape, 500.0)])
    pixels = sky + np.random.default_rng(0).normal(0, 5, sky.shape)
    background = measure_background(pixels)
    flat = subtract_background(pixels, background)
    for i, typical in enumerate(background.typical):
        assert typical == pytest.approx(np.median(sky[..., i]), rel=0.01)
        assert (
            np.ptp([np.median(flat[y, x, i]) for y in (np.s_[:90], np.s_[270:]) for x in (np.s_[:90], np.s_[390:])])
            < 12
        )


def test_a_galaxy_stays(way: str) -> None:
    y, x = np.mgrid[:480, :640]
    galaxy = 400 * np.exp(-np.hypot((x - 320) / 12, (y - 240) / 9))
    pixels = 1000 + galaxy + np.random.default_rng(0).normal(0, 5, galaxy.shape)
    flat = subtract_background(pixels, measure_background(pixels))
    assert (flat - 1000)[200:280, 280:360].sum() == pytest.approx(galaxy[200:280, 280:360].sum(), rel=0.1)


def test_pixels_without_a_number_take_no_part(way: str) -> None:
    pixels = slope((360, 480)).astype(np.float32)
    pixels[100:140, 200:260] = np.nan
    level = measure_background(pixels).level
    assert np.isfinite(level).all()
    assert np.abs(level - slope((360, 480)))[60:-60, 60:-60].max() < 25


def test_the_two_ways_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sep")
    rng = np.random.default_rng(3)
    pixels = (
        slope((480, 640)) + draw_stars((480, 640), 200, 3.0, 5000.0, rng).mean(axis=2) + rng.normal(0, 10, (480, 640))
    )
    by_sep = measure_background(pixels).level
    monkeypatch.setitem(sys.modules, "sep", None)
    assert np.median(np.abs(measure_background(pixels).level - by_sep)) < 2
