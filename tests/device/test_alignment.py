from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from edgegal.device.alignment import Aligned
from edgegal.device.registration import Motion
from edgegal.frames import Frame

WIDTH, HEIGHT = 46, 38
NO_OFFSET = np.zeros(3, np.float32)
# A step of OpenCV's table between two pixels of one colour, which are two apart, on the ramps below.
ROUNDED = 0.2


def turned(degrees: float, dx: float, dy: float, scale: float = 1.0) -> Motion:
    """A turn about the middle of the frame, and a shift."""
    angle = np.radians(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([WIDTH, HEIGHT]) / 2
    return Motion(np.column_stack([turn, middle - turn @ middle + (dx, dy)]))


def channel_of(pattern: str, y: Any, x: Any) -> np.ndarray:
    """Index of the colour in RGB of pixels of a mosaic."""
    return np.array(["RGB".index(colour) for colour in pattern])[np.asarray(y) % 2 * 2 + np.asarray(x) % 2]


def ramp(y: Any, x: Any, channel: Any) -> np.ndarray:
    """Light that interpolation neither rounds off nor sharpens: each channel a slope of its own."""
    return np.asarray(500 + 300 * channel + (2 - channel) * x + (1 + channel) * y, np.float32)


def mosaic(pattern: str, dtype: Any = np.float32) -> Frame:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return Frame(ramp(y, x, channel_of(pattern, y, x)).astype(dtype), "ramp", bayer=pattern)  # type: ignore[arg-type]


def seen(
    frame: Frame, motion: Motion, offset: np.ndarray = NO_OFFSET, band: int = HEIGHT, block: int = HEIGHT
) -> np.ndarray:
    """``(h, w, channels)`` all that a stack sees of a frame, asked for in parts."""
    aligned, rows = Aligned(frame, motion), []
    for first in range(0, HEIGHT, band):
        last = min(first + band, HEIGHT)
        part = aligned.band(first, last, offset)
        rows += [np.dstack(part.rows(top, min(top + block, last))).copy() for top in range(first, last, block)]
    return np.concatenate(rows)


motions = st.builds(
    turned,
    degrees=st.sampled_from([0.0, 0.3, -1.5, 1.5, 20.0, 90.0, 179.6, 180.0, -77.0]),
    dx=st.floats(-8, 8),
    dy=st.floats(-8, 8),
)
patterns = st.sampled_from(["RGGB", "BGGR", "GRBG", "GBRG"])


@settings(max_examples=60, deadline=None)
@given(motions, patterns, st.integers(1, 20), st.sampled_from([np.float32, np.uint16]))
def test_every_colour_of_a_mosaic_is_where_it_belongs(motion: Motion, pattern: str, block: int, dtype: Any) -> None:
    offset = np.array([7, -3, 40], np.float32)
    found = seen(mosaic(pattern, dtype), motion, offset, band=2 * block, block=block)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    there = motion.apply(np.stack([x + 0.5, y + 0.5], axis=-1).reshape(-1, 2)).reshape(HEIGHT, WIDTH, 2) - 0.5
    # The outermost pixels have neighbours of their colour on one side alone.
    inner = ((there >= 2) & (there <= np.array([WIDTH, HEIGHT]) - 3)).all(axis=2)
    expected = np.dstack([ramp(there[..., 1], there[..., 0], channel) + offset[channel] for channel in range(3)])
    assert_allclose(found[inner], expected[inner], atol=ROUNDED)
    outside = ((there < -1.1) | (there > np.array([WIDTH, HEIGHT]) + 0.1)).any(axis=2)
    assert np.isnan(found[outside]).any(axis=1).all()


@settings(max_examples=40, deadline=None)
@given(motions, patterns)
def test_a_mosaic_is_interpolated_from_the_pixels_of_each_colour(motion: Motion, pattern: str) -> None:
    """Against scipy's interpolation of each of the four places in the Bayer cell."""
    rng = np.random.default_rng(4)
    # Smooth, so that OpenCV's table of 32 places between pixels does not show.
    light = ndimage.gaussian_filter(rng.normal(0, 1, (HEIGHT, WIDTH)), 4).astype(np.float32)
    light *= 100 / np.ptp(light)
    found = seen(Frame(light, "smooth", bayer=pattern), motion)  # type: ignore[arg-type]
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    there = motion.apply(np.stack([x + 0.5, y + 0.5], axis=-1).reshape(-1, 2)).reshape(HEIGHT, WIDTH, 2) - 0.5
    channels: list[list[np.ndarray]] = [[], [], []]
    for place in range(4):
        top, left = divmod(place, 2)
        places = [(there[..., 1] - top) / 2, (there[..., 0] - left) / 2]
        between = ndimage.map_coordinates(light[top::2, left::2], places, order=1, mode="nearest")
        channels["RGB".index(pattern[place])].append(between)
    expected = np.dstack([np.mean(those, axis=0) for those in channels])
    covered = np.isfinite(found).all(axis=2)
    assert covered.any()
    assert_allclose(found[covered], expected[covered], atol=1.0)


@settings(max_examples=30, deadline=None)
@given(motions, st.sampled_from(["RGGB", None]), st.integers(1, 7), st.integers(1, HEIGHT))
def test_the_parts_do_not_depend_on_how_they_are_asked_for(motion: Motion, pattern: Any, block: int, band: int) -> None:
    rng = np.random.default_rng(1)
    frame = Frame(rng.normal(500, 30, (HEIGHT, WIDTH)).astype(np.float32), "noise", bayer=pattern)
    offset = NO_OFFSET if pattern else NO_OFFSET[:1]
    whole = seen(frame, motion, offset)
    assert_allclose(seen(frame, motion, offset, band=band, block=block), whole, atol=2e-3)


@settings(max_examples=30, deadline=None)
@given(motions, st.sampled_from(["RGGB", "colour", "mono"]), st.integers(1, 9))
def test_a_sample_is_what_the_rows_hold_there(motion: Motion, kind: str, step: int) -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    if kind == "RGGB":
        frame = mosaic(kind)
    else:
        colour = np.dstack([ramp(y, x, channel) for channel in range(3)])
        frame = Frame(colour if kind == "colour" else colour[..., 0].copy(), "ramp")
    offset = NO_OFFSET[:1] if kind == "mono" else NO_OFFSET
    rows = seen(frame, motion, offset)[::step, ::step]
    sample = np.dstack(Aligned(frame, motion).sample(step))
    # Of pixels upon the very edge the two may think differently.
    both = np.isfinite(rows) & np.isfinite(sample)
    assert np.count_nonzero(np.isfinite(rows) != np.isfinite(sample)) <= 6 * (WIDTH + HEIGHT) / step
    assert_allclose(sample[both], rows[both], atol=ROUNDED)


def test_a_frame_that_has_not_moved_is_itself() -> None:
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    found = seen(Frame(pixels, "colour", linear=False), Motion.none(), band=7, block=3)
    assert found.dtype == np.float32
    assert_array_equal(found, pixels)


@pytest.mark.parametrize("pattern", ["RGGB", None])
def test_rows_beyond_the_frame_are_unknown(pattern: Any) -> None:
    frame = Frame(np.full((HEIGHT, WIDTH), 500, np.float32), "sky", bayer=pattern)
    found = seen(frame, Motion.shift(0, -HEIGHT / 2), NO_OFFSET if pattern else NO_OFFSET[:1], band=4, block=2)
    assert np.isnan(found[: HEIGHT // 2 - 2]).all()
    assert (found[HEIGHT // 2 + 2 :, :-1] == 500).all()


@pytest.mark.parametrize("shape", [(HEIGHT - 1, WIDTH), (HEIGHT, WIDTH - 1)])
def test_a_mosaic_of_an_odd_size_is_seen_to_its_last_line(shape: tuple[int, int]) -> None:
    height, width = shape
    y, x = np.mgrid[:height, :width]
    frame = Frame(ramp(y, x, channel_of("RGGB", y, x)), "odd", bayer="RGGB")
    rows = np.dstack(Aligned(frame, Motion.shift(0.5, 0.5)).band(0, height, NO_OFFSET).rows(0, height))
    assert rows.shape == (height, width, 3)
    assert np.isfinite(rows[:-1, :-1]).all()
