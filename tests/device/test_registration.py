import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegal.device.registration import Motion, Reference
from edgegal.device.stars import Field, measure_field
from edgegal.errors import FrameError
from edgegal.frames import Frame
from edgegal.sky import Night, draw_stars


def star_field(dx: float, dy: float, noise_seed: int, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    """Stars moved by a whole number of pixels, with fresh noise: drawn large and cut, so nothing wraps around."""
    margin = 60
    rng = np.random.default_rng(11)
    light = draw_stars((size[0] + 2 * margin, size[1] + 2 * margin), 60, 3.0, 2000.0, rng).mean(axis=2)
    y, x = margin - int(dy), margin - int(dx)
    noise = np.random.default_rng(noise_seed).normal(500, 3, size)
    return light[y : y + size[0], x : x + size[1]] + noise


def measured(pixels: np.ndarray) -> Field:
    return measure_field(Frame(pixels.astype(np.float32), "test"))


def motion_between(first: np.ndarray, second: np.ndarray) -> Motion:
    return Reference(measured(first)).motion_of(measured(second))


def turned(degrees: float, dx: float, dy: float, scale: float = 1.0) -> Motion:
    """A turn about the middle of the frame, and a shift."""
    a = np.radians(degrees)
    matrix = scale * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    middle = np.array([WIDTH, HEIGHT]) / 2
    return Motion(np.column_stack([matrix, middle - matrix @ middle + (dx, dy)]))


WIDTH, HEIGHT = 640, 480
CORNERS = np.array([[0, 0], [WIDTH, 0], [0, HEIGHT], [WIDTH, HEIGHT], [WIDTH / 2, HEIGHT / 2]], float)


def sky(motion: Motion, noise_seed: int, stars: int = 260, noise: float = 3.0) -> np.ndarray:
    """Stars drawn where the motion takes them, profile by profile: nothing is interpolated."""
    rng = np.random.default_rng(7)
    places = rng.uniform((-200, -200), (WIDTH + 200, HEIGHT + 200), (stars, 2))
    peaks = 3000 / (rng.random(stars) * 60 + 0.3)
    pixels = np.random.default_rng(noise_seed).normal(500, noise, (HEIGHT, WIDTH))
    core = 3.0 / (2 * np.sqrt(2 ** (1 / 3) - 1))
    for (x, y), peak in zip(motion.apply(places), peaks, strict=True):
        columns = np.arange(max(0, int(x) - 20), min(WIDTH, int(x) + 21))
        rows = np.arange(max(0, int(y) - 20), min(HEIGHT, int(y) + 21))
        if len(columns) and len(rows):
            r2 = (columns + 0.5 - x) ** 2 + (rows[:, None] + 0.5 - y) ** 2
            pixels[rows[:, None], columns] += peak * (1 + r2 / core**2) ** -3
    return pixels


def error_px(found: Motion, true: Motion) -> float:
    """Largest distance between two motions over the frame."""
    return float(np.hypot(*(found.apply(CORNERS) - true.apply(CORNERS)).T).max())


@settings(max_examples=25, deadline=None)
@given(dx=st.integers(-50, 50), dy=st.integers(-50, 50))
def test_whole_pixel_shifts_are_measured(dx: int, dy: int) -> None:
    motion = motion_between(star_field(0, 0, 1), star_field(dx, dy, 2))
    assert motion.apply(np.array([[160.0, 120.0]]))[0] == pytest.approx((160 + dx, 120 + dy), abs=0.15)


@settings(max_examples=20, deadline=None)
@given(degrees=st.floats(-180, 180), dx=st.floats(-60, 60), dy=st.floats(-60, 60), scale=st.floats(0.995, 1.005))
def test_any_turn_shift_and_small_change_of_scale_is_measured_to_a_tenth_of_a_pixel(
    degrees: float, dx: float, dy: float, scale: float
) -> None:
    true = turned(degrees, dx, dy, scale)
    found = Reference(REST).motion_of(measured(sky(true, 2)))
    assert error_px(found, true) < 0.15
    assert found.stars >= 20
    assert found.residual_px < 0.2
    assert found.scale == pytest.approx(scale, abs=5e-4)
    assert np.cos(np.radians(found.rotation_deg - degrees)) == pytest.approx(1, abs=1e-6)


REST = measured(sky(Motion.none(), 1))


def test_a_meridian_flip_is_a_half_turn() -> None:
    true = turned(180, 12.3, -7.8)
    found = Reference(REST).motion_of(measured(sky(true, 2)), guess=turned(0.2, 3, 3))
    assert abs(found.rotation_deg) == pytest.approx(180, abs=0.05)
    assert error_px(found, true) < 0.15


def test_a_guess_far_off_does_no_harm() -> None:
    true = turned(4, 30, 20)
    assert error_px(Reference(REST).motion_of(measured(sky(true, 2)), turned(-90, 100, 0)), true) < 0.15


def test_a_mosaic_is_registered_from_its_cells() -> None:
    true = turned(11, 8.6, -5.3)

    def raw(pixels: np.ndarray) -> Field:
        return measure_field(Frame(pixels.astype(np.uint16), "raw", bayer="GRBG"))

    found = Reference(raw(sky(Motion.none(), 1))).motion_of(raw(sky(true, 2)))
    assert error_px(found, true) < 0.3


def test_a_mirrored_field_does_not_register() -> None:
    with pytest.raises(FrameError, match="does not register"):
        Reference(REST).motion_of(measured(sky(Motion.none(), 2)[:, ::-1]))


def test_a_night_is_followed_to_a_fraction_of_a_pixel_with_the_frame_before_as_a_guess() -> None:
    night = Night(seed=3, width=480, height=320, frames=6)
    reference = Reference(measured(night.frame(0).pixels))
    guess = None
    for i in range(6):
        guess = reference.motion_of(measured(night.frame(i).pixels), guess)
        middle = np.array([[240.0, 160.0]])
        assert guess.apply(middle)[0] - middle[0] == pytest.approx(night.shift(i), abs=0.3)


def test_motions_follow_each_other_and_turn_back() -> None:
    one, other = turned(30, 5, 6), turned(-100, 3, -9, 1.002)
    np.testing.assert_allclose(one.then(other).apply(CORNERS), other.apply(one.apply(CORNERS)))
    np.testing.assert_allclose(one.inverse().apply(one.apply(CORNERS)), CORNERS, atol=1e-9)


def test_opencv_counts_from_the_middle_of_the_first_pixel() -> None:
    motion = turned(180, 0, 0)
    # A half turn about the middle of the frame takes the first pixel to the last.
    assert motion.for_opencv @ (0, 0, 1) == pytest.approx((WIDTH - 1, HEIGHT - 1))


def test_a_box_turned_by_a_quarter_changes_its_sides() -> None:
    moved = turned(90, 0, 0).boxes(np.array([[310, 230, 350, 240.0]]))
    np.testing.assert_allclose(moved, [[320 + 5 - 5, 240 - 10 - 0, 330, 270]], atol=1e-3)


def test_a_field_of_galaxies_alone_registers_by_its_light() -> None:
    y, x = np.mgrid[:240, :320]
    noise = [np.random.default_rng(seed).normal(500, 3, (240, 320)) for seed in (1, 2)]

    def glow(dx: float, dy: float) -> np.ndarray:
        return 900 * np.exp(-np.hypot((x - 150 - dx) / 14, (y - 120 - dy) / 6))

    motion = motion_between(noise[0] + glow(0, 0), noise[1] + glow(9, -4))
    assert motion.stars == 0
    assert motion.matrix[:, 2] == pytest.approx((9, -4), abs=0.3)


def test_hot_pixels_do_not_hold_the_sky_in_place() -> None:
    hot = np.zeros((240, 320))
    rng = np.random.default_rng(4)
    hot[rng.integers(0, 240, 400), rng.integers(0, 320, 400)] = 5000
    motion = motion_between(star_field(0, 0, 1) + hot, star_field(14, 9, 2) + hot)
    assert motion.matrix[:, 2] == pytest.approx((14, 9), abs=0.3)


def test_pixels_that_are_not_numbers_do_no_harm() -> None:
    broken = star_field(5, -7, 2).astype(np.float32)
    broken[:, 100] = np.nan
    broken[50, 50] = np.inf
    assert motion_between(star_field(0, 0, 1), broken).matrix[:, 2] == pytest.approx((5, -7), abs=0.3)


@pytest.mark.parametrize("seed", range(6))
def test_noise_does_not_register_to_noise(seed: int) -> None:
    one, two = (np.random.default_rng((seed, i)).normal(1000, 10, (240, 320)) for i in (0, 1))
    with pytest.raises(FrameError, match="does not register"):
        motion_between(one, two)


@pytest.mark.parametrize("seed", range(4))
def test_another_field_does_not_register(seed: int) -> None:
    one, two = (Night(seed=s, width=480, height=320, frames=1).frame(0).pixels for s in (seed, seed + 50))
    with pytest.raises(FrameError, match="does not register"):
        motion_between(one, two)


def test_a_frame_of_another_size_does_not_register() -> None:
    with pytest.raises(FrameError, match="does not register"):
        motion_between(star_field(0, 0, 1), star_field(0, 0, 1)[:-2])


@pytest.mark.parametrize("shape", [(1, 300), (300, 1)])
def test_a_single_line_does_not_register(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).normal(500, 1, shape).astype(np.float32)
    # Enough light to go by.
    pixels.ravel()[100:200] += 5000 * np.hanning(100).astype(np.float32)
    field = measure_field(Frame(pixels, "line"))
    with pytest.raises(FrameError, match="single line"):
        Reference(field).motion_of(field)
