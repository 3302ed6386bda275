"""Framing of cutouts, real and simulated."""

import numpy as np
import pytest

pytest.importorskip("sep", reason="boxes of cutouts need sep: the training environment")

from edgegal.data.boxes import cutout_boxes
from edgegal.data.framing import framed
from edgegal.data.simulated import simulate_cutouts
from edgegal.preprocess import Stretch, resize
from edgegal.sky import KINDS

pytestmark = pytest.mark.host


def _galaxy(sigma: float) -> np.ndarray:
    y, x = np.indices((128, 128)) - 63.5
    light = 220 * np.exp(-(x**2 + y**2) / (2 * sigma**2))
    noise = np.random.default_rng(1).normal(8, 2, (128, 128, 3))
    return np.clip(light[..., None] + noise, 0, 255).astype(np.uint8)


def test_galaxies_of_any_size_fill_the_same_share_of_the_frame() -> None:
    views = framed(np.stack([_galaxy(s) for s in (7.0, 11.0, 16.0)]), 1.5, 96)
    sides = []
    for view in views:
        box = cutout_boxes(view).galaxy
        assert box is not None
        sides.append(float((box[2:] - box[:2]).max()))
    assert np.allclose(sides, 96 / 1.5, rtol=0.12)


def test_a_cutout_without_a_galaxy_is_taken_whole() -> None:
    plain = np.random.default_rng(0).normal(8, 2, (1, 128, 128, 3)).clip(0, 255).astype(np.uint8)
    assert framed(plain, 1.5, 64).shape == (1, 64, 64, 3)


def test_simulated_cutouts_take_turns_and_are_framed_like_real_ones() -> None:
    pictures, labels = simulate_cutouts(50, 3, 128, Stretch(), 1.5)
    assert pictures.shape == (50, 128, 128, 3)
    assert np.bincount(labels, minlength=len(KINDS)).tolist() == [10] * 5
    np.testing.assert_array_equal(pictures, simulate_cutouts(50, 3, 128, Stretch(), 1.5)[0])
    sides = [float((b[2:] - b[:2]).max()) for p in pictures if (b := cutout_boxes(p).galaxy) is not None]
    assert len(sides) >= 45
    assert 0.4 <= np.median(sides) / 128 <= 0.85


def test_a_galaxy_is_cut_alike_from_finer_pixels() -> None:
    """A bright core in a wide faint disk with knots: in three times the pixels the core alone would be boxed."""
    y, x = np.mgrid[:384, :384] - 191.5
    light = 160 * np.exp(-np.hypot(x, y) / 14) + 60 * np.exp(-np.hypot(x / 1.4, y) / 50)
    light += 25 * np.cos(3 * np.arctan2(y, x) + np.hypot(x, y) / 12) * np.exp(-np.hypot(x, y) / 60)
    light += np.random.default_rng(0).normal(8, 4, light.shape)
    fine = np.repeat(np.clip(light, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    coarse = resize(fine, 128, 128)
    wanted, found = (framed(picture[None], 1.6, 64).astype(np.float32) for picture in (coarse, fine))
    assert np.abs(wanted - found).mean() < 3
