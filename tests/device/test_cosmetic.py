from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegal.device.cosmetic import CosmeticCorrection, bad_pixels_of_dark, hot_pixels
from edgegal.errors import FrameError
from edgegal.frames import BayerPattern, Frame
from edgegal.sky import draw_stars

SHAPE = (240, 320)


def mosaic_of_stars(seeing: float, bayer: BayerPattern, seed: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    light = draw_stars(SHAPE, 60, seeing, 8000.0, rng)
    raw = np.empty(SHAPE, np.float32)
    for i, colour in enumerate(bayer):
        y, x = divmod(i, 2)
        # The sky of a town: each colour at its own level.
        raw[y::2, x::2] = light[y::2, x::2, "RGB".index(colour)] + (500, 800, 300)["RGB".index(colour)]
    return raw + rng.normal(0, 3, SHAPE).astype(np.float32)


@settings(max_examples=20)
@given(seeing=st.floats(1.3, 6.0), seed=st.integers(0, 999), bayer=st.sampled_from(["RGGB", "BGGR", "GRBG", "GBRG"]))
def test_no_star_is_eaten_however_sharp(seeing: float, seed: int, bayer: BayerPattern) -> None:
    assert not hot_pixels(mosaic_of_stars(seeing, bayer, seed), 2).any()


@settings(max_examples=15)
@given(seed=st.integers(0, 999), bayer=st.sampled_from(["RGGB", "GBRG", None]))
def test_lone_hot_pixels_are_found_and_filled(seed: int, bayer: BayerPattern | None) -> None:
    raw = mosaic_of_stars(2.5, bayer or "RGGB", seed) if bayer else np.full(SHAPE, 500, np.float32)
    raw = raw + np.random.default_rng(seed).normal(0, 3, SHAPE).astype(np.float32)
    # A lattice: no two are neighbours.
    rows, columns = (part.ravel() for part in np.mgrid[7:233:16, 9:311:16])
    spoilt = raw.copy()
    spoilt[rows, columns] += 2500
    result = CosmeticCorrection()(Frame(spoilt, "hot", bayer=bayer))
    mended = np.abs(result.frame.pixels - raw)[rows, columns]
    # One on top of a star is taken for it.
    assert (mended < 30).mean() > 0.9
    assert result.replaced <= len(rows)
    untouched = np.ones(SHAPE, bool)
    untouched[rows, columns] = False
    np.testing.assert_array_equal(result.frame.pixels[untouched], spoilt[untouched])


def test_known_pixels_and_those_without_a_number_are_filled_with_their_own_colour() -> None:
    raw = mosaic_of_stars(3.0, "RGGB")
    raw[:] = np.where(np.arange(SHAPE[1]) % 2, 800, 500)
    known = np.zeros(SHAPE, bool)
    known[20:23, 30:33] = True
    raw[21, 31] = 9000
    raw[0, 0] = np.nan
    result = CosmeticCorrection(known)(Frame(raw, "raw", bayer="RGGB"))
    assert result.frame.pixels[21, 31] == 800
    assert result.frame.pixels[0, 0] == 500
    assert result.replaced == 10


def test_integers_stay_integers_and_the_frame_that_came_in_is_left_alone() -> None:
    raw = np.full(SHAPE, 500, np.uint16) + np.random.default_rng(0).integers(0, 9, SHAPE, np.uint16)
    raw[50, 60] = 40_000
    frame = Frame(raw, "raw", bayer="RGGB")
    result = CosmeticCorrection()(frame)
    assert frame.pixels[50, 60] == 40_000
    assert result.frame.pixels.dtype == np.uint16
    assert result.frame.pixels[50, 60] < 520
    assert result.replaced == 1


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("laid", [np.asfortranarray, lambda pixels: pixels[::-1].copy()[::-1]])
def test_pixels_are_filled_however_they_lie_in_memory(laid: Callable[[Any], Any], overwrite: bool) -> None:
    pixels = np.random.default_rng(1).normal(1000, 10, (60, 80)).astype(np.float32)
    pixels[20, 30] = 9000
    corrected = CosmeticCorrection()(Frame(laid(pixels), "x", linear=True), overwrite)
    assert corrected.replaced == 1
    assert corrected.frame.pixels[20, 30] < 1100


def test_a_colour_picture_passes_unchanged() -> None:
    frame = Frame(np.zeros((9, 9, 3), np.uint8), "picture", linear=False)
    assert CosmeticCorrection()(frame).frame is frame


def test_bad_pixels_of_another_sensor_are_refused() -> None:
    with pytest.raises(FrameError, match=r"\(240, 320\).*\(8, 8\)"):
        CosmeticCorrection(np.zeros(SHAPE, bool))(Frame(np.zeros((8, 8), np.uint16), "other"))


def test_hot_and_dead_pixels_stand_out_of_a_dark() -> None:
    dark = np.random.default_rng(1).normal(100, 2, SHAPE).astype(np.float32)
    dark[::2, ::2] += 40
    bad = np.zeros(SHAPE, bool)
    for place, value in (((5, 5), 900), ((5, 6), 400), ((100, 200), 0), ((30, 30), np.nan)):
        dark[place], bad[place] = value, True
    np.testing.assert_array_equal(bad_pixels_of_dark(dark, 2), bad)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (5, 3)])
@pytest.mark.parametrize("bayer", [None, "RGGB"])
def test_a_tiny_or_blank_frame_passes(shape: tuple[int, int], bayer: BayerPattern | None) -> None:
    assert CosmeticCorrection()(Frame(np.full(shape, 7, np.uint16), "tiny", bayer=bayer)).replaced == 0
