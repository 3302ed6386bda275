import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegal.device.registration import Reference
from edgegal.errors import FrameError
from edgegal.sky import Night, draw_stars


def star_field(dx: float, dy: float, noise_seed: int, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    """Stars moved by a whole number of pixels, with fresh noise: drawn large and cut, so nothing wraps around."""
    margin = 60
    rng = np.random.default_rng(11)
    light = draw_stars((size[0] + 2 * margin, size[1] + 2 * margin), 60, 3.0, 2000.0, rng).mean(axis=2)
    y, x = margin - int(dy), margin - int(dx)
    noise = np.random.default_rng(noise_seed).normal(500, 3, size)
    return light[y : y + size[0], x : x + size[1]] + noise


@settings(max_examples=25, deadline=None)
@given(dx=st.integers(-50, 50), dy=st.integers(-50, 50))
def test_whole_pixel_shifts_are_measured(dx: int, dy: int) -> None:
    shift = Reference(star_field(0, 0, 1)).shift_of(star_field(dx, dy, 2))
    assert (shift.dx, shift.dy) == pytest.approx((dx, dy), abs=0.3)


def test_a_drifting_night_is_followed_to_a_fraction_of_a_pixel() -> None:
    night = Night(seed=3, width=480, height=320, frames=6)
    reference = Reference(night.frame(0).pixels)
    for i in range(6):
        shift = reference.shift_of(night.frame(i).pixels)
        assert (shift.dx, shift.dy) == pytest.approx(night.shift(i), abs=0.35)


def test_a_frame_larger_than_is_correlated_is_measured_in_its_own_pixels() -> None:
    size = (700, 1900)
    shift = Reference(star_field(0, 0, 1, size)).shift_of(star_field(31, -17, 2, size))
    assert (shift.dx, shift.dy) == pytest.approx((31, -17), abs=0.6)


def test_a_reference_gives_the_same_answer_every_time() -> None:
    reference = Reference(star_field(0, 0, 1))
    answers = {reference.shift_of(star_field(9, 4, 2)) for _ in range(4)}
    assert len(answers) == 1
    assert answers.pop().agreement > 0.9


def test_hot_pixels_do_not_hold_the_sky_in_place() -> None:
    hot = np.zeros((240, 320))
    rng = np.random.default_rng(4)
    hot[rng.integers(0, 240, 400), rng.integers(0, 320, 400)] = 5000
    shift = Reference(star_field(0, 0, 1) + hot).shift_of(star_field(14, 9, 2) + hot)
    assert (shift.dx, shift.dy) == pytest.approx((14, 9), abs=0.3)


def test_pixels_that_are_not_numbers_do_no_harm() -> None:
    broken = star_field(5, -7, 2).astype(np.float32)
    broken[:, 100] = np.nan
    broken[50, 50] = np.inf
    shift = Reference(star_field(0, 0, 1)).shift_of(broken)
    assert (shift.dx, shift.dy) == pytest.approx((5, -7), abs=0.3)


@pytest.mark.parametrize("seed", range(6))
def test_noise_does_not_register_to_noise(seed: int) -> None:
    one, two = (np.random.default_rng((seed, i)).normal(1000, 10, (240, 320)) for i in (0, 1))
    with pytest.raises(FrameError, match="does not register"):
        Reference(one).shift_of(two)


def test_another_field_does_not_register() -> None:
    one, two = (Night(seed=seed, width=480, height=320, frames=1).frame(0).pixels for seed in (4, 5))
    with pytest.raises(FrameError, match="does not register"):
        Reference(one).shift_of(two)


def test_a_frame_of_another_size_does_not_register() -> None:
    with pytest.raises(FrameError, match="does not register"):
        Reference(star_field(0, 0, 1)).shift_of(star_field(0, 0, 1)[:-2])
