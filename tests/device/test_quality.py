from dataclasses import replace

import cv2
import numpy as np
import pytest

from edgegal.device.quality import FrameQuality, Judge, frame_quality
from edgegal.device.stars import measure_field
from edgegal.frames import Frame
from edgegal.sky import Night

GOOD = FrameQuality(stars=60, fwhm_px=3.0, elongation=1.1, background=500.0, gradient=20.0, sigma=10.0)


def settled() -> Judge:
    judge = Judge()
    for i in range(6):
        assert judge(replace(GOOD, stars=60 + i)).good
    return judge


@pytest.mark.parametrize(
    ("change", "fault", "words"),
    [
        ({"stars": 20}, "few stars", "20 instead of 62"),
        ({"stars": 0, "fwhm_px": float("nan"), "elongation": float("nan")}, "few stars", "cloud"),
        ({"fwhm_px": 5.0}, "wide stars", "5.0 px instead of 3.0"),
        ({"elongation": 1.9}, "trailed stars", "1.9"),
        ({"background": 900.0}, "bright sky", "40 sigma"),
        ({"gradient": 400.0}, "uneven sky", "38 sigma"),
    ],
)
def test_a_bad_frame_is_dropped_with_its_reason(change: dict[str, float], fault: str, words: str) -> None:
    verdict = settled()(replace(GOOD, **change))  # type: ignore[arg-type]
    assert (verdict.good, verdict.fault) == (False, fault)
    assert words in verdict.reason


def test_small_changes_pass_and_bad_frames_do_not_move_the_measure() -> None:
    judge = settled()
    assert judge(replace(GOOD, stars=45, fwhm_px=3.8, background=600)).good
    for _ in range(10):
        assert not judge(replace(GOOD, stars=5)).good
    assert judge(GOOD).good
    assert not judge(replace(GOOD, stars=20)).good


def test_the_first_frames_pass_for_want_of_comparison() -> None:
    judge = Judge()
    assert all(judge(q).good for q in (replace(GOOD, stars=3), GOOD, GOOD))


def test_a_change_that_lasts_becomes_the_measure() -> None:
    judge = settled()
    refocused = replace(GOOD, fwhm_px=6.0)
    verdicts = [judge(refocused).good for _ in range(judge.patience + 3)]
    assert verdicts == [False] * judge.patience + [True] * 3


def test_a_field_of_few_stars_is_not_called_clouded() -> None:
    judge = Judge()
    for stars in (6, 5, 6, 7, 2, 6):
        assert judge(replace(GOOD, stars=stars)).good


def shaken(pixels: np.ndarray) -> np.ndarray:
    kernel = np.zeros((15, 15), np.float32)
    kernel[7] = 1 / 15
    return cv2.filter2D(pixels, -1, kernel)


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda p: cv2.GaussianBlur(p, (0, 0), 2.5), {"wide stars", "few stars"}),
        (lambda p: shaken(p), {"trailed stars", "few stars"}),
        (lambda p: 0.03 * (p - 800) + 800 + np.random.default_rng(0).normal(0, 20, p.shape), {"few stars"}),
        (lambda p: p + np.linspace(0, 4000, p.shape[1])[None, :, None], {"bright sky", "uneven sky"}),
    ],
    ids=["defocus", "wind", "cloud", "lamp"],
)
def test_spoilt_exposures_of_a_night_are_told(spoil, fault) -> None:  # type: ignore[no-untyped-def]
    judge = Judge()
    night = Night(seed=3, width=480, height=320, frames=7)
    for frame in night:
        pixels = frame.pixels.astype(np.float32)
        if frame.index == 6:
            pixels = spoil(pixels).astype(np.float32)
        verdict = judge(frame_quality(measure_field(replace(frame, pixels=pixels))))
        assert verdict.good == (frame.index < 6), verdict.reason
    assert verdict.fault in fault


def test_a_satellite_is_no_fault() -> None:
    judge = Judge()
    for frame in Night(seed=3, width=480, height=320, frames=6):
        pixels = frame.pixels.astype(np.float32)
        if frame.index == 5:
            cv2.line(pixels, (0, 40), (480, 250), (9000.0,) * 3, 2, cv2.LINE_AA)
        assert judge(frame_quality(measure_field(replace(frame, pixels=pixels)))).good


def test_an_empty_sky_has_no_width() -> None:
    noise = np.random.default_rng(3).normal(500, 4, (200, 200)).astype(np.float32)
    quality = frame_quality(measure_field(Frame(noise, "void")))
    assert quality.stars <= 1
    assert quality.background == pytest.approx(500, abs=2)
    assert quality.sigma == pytest.approx(4, rel=0.1)
    assert quality.gradient < 3
