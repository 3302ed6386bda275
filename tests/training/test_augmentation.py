"""What augmentation may change and what it must leave."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.preprocess import resize
from edgegal.training.augmentation import CHALLENGE, COURSE, TELESCOPE, THESIS, Augmentation, augmented

pytestmark = pytest.mark.host

PRESETS = [TELESCOPE, COURSE, CHALLENGE, THESIS]


def blob(side: int, x: float, y: float, width: float = 4.0, height: float = 4.0) -> np.ndarray:
    """A bright ellipse on dark sky, centred on continuous coordinates x, y."""
    ys, xs = np.mgrid[:side, :side] + 0.5
    light = 20 + 200 * np.exp(-((xs - x) ** 2) / (2 * width**2) - (ys - y) ** 2 / (2 * height**2))
    return np.repeat(light[..., None], 3, axis=2).astype(np.uint8)


def centre(picture: np.ndarray) -> tuple[float, float]:
    """Centre of the light above the sky, in continuous coordinates."""
    light = np.clip(picture[..., 0].astype(float) - 30, 0, None)
    ys, xs = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    return float((light * xs).sum() / light.sum()), float((light * ys).sum() / light.sum())


@given(st.sampled_from(PRESETS), st.integers(16, 150), st.integers(16, 96), st.integers(0, 2**32))
def test_any_size_comes_out_as_asked_and_again_the_same(preset: Augmentation, side: int, size: int, seed: int) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    before = picture.copy()
    varied = augmented(picture, size, preset, np.random.default_rng(seed))
    assert varied.shape == (size, size, 3)
    assert varied.dtype == np.uint8
    np.testing.assert_array_equal(varied, augmented(picture, size, preset, np.random.default_rng(seed)))
    np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_draw_differs(preset: Augmentation) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (128, 128, 3), np.uint8)
    assert len({augmented(picture, 64, preset, rng).tobytes() for _ in range(32)}) == 32


def test_the_defaults_only_resize() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(augmented(picture, 128, Augmentation(), rng), picture)
    np.testing.assert_array_equal(augmented(picture, 64, Augmentation(), rng), resize(picture, 64, 64))


def test_turning_keeps_the_centre_and_flipping_and_zooming_too() -> None:
    rng = np.random.default_rng(3)
    turned = Augmentation(rotation=180, zoom=(0.8, 1.25), flip_horizontal=True, flip_vertical=True, shear=0.2)
    for _ in range(30):
        assert centre(augmented(blob(128, 64, 64), 64, turned, rng)) == pytest.approx((32, 32), abs=0.1)


def test_shifts_reach_their_limits_and_no_further() -> None:
    rng = np.random.default_rng(4)
    shifted = Augmentation(shift=(0.2, 0.1))
    found = np.array([centre(augmented(blob(128, 64, 64), 64, shifted, rng)) for _ in range(300)]) / 64 - 0.5
    assert np.abs(found).max(axis=0) == pytest.approx([0.2, 0.1], abs=0.012)


def test_zoom_and_margin_magnify() -> None:
    wide = blob(128, 64 + 16, 64)
    rng = np.random.default_rng(0)
    assert centre(augmented(wide, 64, Augmentation(margin=1.5), rng))[0] == pytest.approx(32 + 12, abs=0.1)
    assert centre(augmented(wide, 64, Augmentation(zoom=(2, 2)), rng))[0] == pytest.approx(32 + 16, abs=0.1)


def test_where_mirroring_changes_the_label_handedness_stays() -> None:
    """Three blobs whose order around the centre tells a picture from its mirror image."""
    picture = np.max([blob(128, 64, 38, 3, 3), blob(128, 90, 64, 6, 6), blob(128, 60, 90, 9, 9)], axis=0)

    def handedness(varied: np.ndarray) -> float:
        light = (varied[..., 0] > 90).astype(np.uint8)
        _, _, stats, centres = cv2.connectedComponentsWithStats(light)
        a, b, c = centres[1:][np.argsort(stats[1:, cv2.CC_STAT_AREA])]
        (ux, uy), (vx, vy) = b - a, c - b
        return float(np.sign(ux * vy - uy * vx))

    free = Augmentation(rotation=180, flip_horizontal=True, flip_vertical=True, fill="black")
    for scheme_safe, expected in ((True, {-1.0, 1.0}), (False, {handedness(picture)})):
        rng = np.random.default_rng(5)
        chosen = free.for_scheme(scheme_safe)
        assert {handedness(augmented(picture, 64, chosen, rng)) for _ in range(40)} == expected


def test_grey_pictures_come_as_often_as_asked() -> None:
    rng = np.random.default_rng(6)
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[...] = (200, 90, 30)
    grey = [np.ptp(augmented(picture, 32, Augmentation(grey=0.3), rng)[0, 0]) == 0 for _ in range(1000)]
    assert np.mean(grey) == pytest.approx(0.3, abs=0.06)


def test_each_degradation_does_what_it_says() -> None:
    picture = np.random.default_rng(7).integers(60, 190, (64, 64, 3), np.uint8)

    def roughness(**how: object) -> float:
        varied = augmented(picture, 64, replace(Augmentation(chance=1.0), **how), np.random.default_rng(1))  # type: ignore[arg-type]
        return float(np.abs(np.diff(varied.astype(float), axis=0)).mean())

    plain = roughness()
    assert roughness(blur=1.5) < 0.7 * plain
    assert roughness(resolution=4.0) < 0.9 * plain
    assert roughness(noise=40.0) > 1.05 * plain
    assert roughness(jpeg=5) < 0.95 * plain
    flat = np.full((64, 64, 3), 100, np.uint8)
    levels = [
        augmented(flat, 8, Augmentation(chance=1, background=12), np.random.default_rng(s))[0, 0] for s in range(200)
    ]
    assert np.ptp(levels, axis=0) == pytest.approx([32, 32, 32], abs=6)


def test_contrast_keeps_the_mean_and_gamma_keeps_black_and_white() -> None:
    picture = np.random.default_rng(8).integers(100, 156, (64, 64, 3), np.uint8)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        varied = augmented(picture, 64, Augmentation(contrast=0.5), rng)
        assert varied.mean() == pytest.approx(picture.mean(), abs=0.6)
        ends = augmented(np.uint8([[[0] * 3, [255] * 3]] * 2), 2, Augmentation(gamma=1.5), rng)
        assert ends[0, :, 0].tolist() == [0, 255]
