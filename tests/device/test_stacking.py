from dataclasses import replace

import numpy as np
import pytest

from edgegal.device.stacking import LiveStack
from edgegal.errors import FrameError
from edgegal.frames import Frame
from edgegal.preprocess import measure_sky
from edgegal.sky import Night, draw_stars


def night(frames: int = 8, seed: int = 3) -> Night:
    return Night(seed=seed, width=320, height=256, frames=frames)


def test_noise_falls_with_the_root_of_the_frames() -> None:
    stack = LiveStack(16)
    frames = list(night(9))
    single = measure_sky(frames[0].pixels).sigma
    for frame in frames:
        stacked = stack.add(frame)
    # Interpolation between pixels smooths a little more.
    assert single / 4.5 < measure_sky(stacked.pixels).sigma < single / 2.6


def test_stars_stay_as_sharp_and_as_bright_as_in_the_first_frame() -> None:
    stack = LiveStack(16)
    frames = list(night(6))
    for frame in frames:
        stacked = stack.add(frame)
    sky = np.median(frames[0].pixels)
    bright = (frames[0].pixels > sky + 1000) & (frames[0].pixels < 60000)
    assert bright.sum() > 50
    ratio = (stacked.pixels[bright] - sky).sum() / (frames[0].pixels[bright].astype(float) - sky).sum()
    assert ratio == pytest.approx(1, abs=0.1)


def test_a_still_field_is_the_plain_mean() -> None:
    rng = np.random.default_rng(5)
    light = 500 + draw_stars((160, 200), 40, 3.0, 3000.0, rng)
    pixels = [(light + rng.normal(0, 2, light.shape)).astype(np.float32) for _ in range(4)]
    stack = LiveStack(10)
    for p in pixels:
        stacked = stack.add(Frame(p, "still"))
    # A shift measured as a hundredth of a pixel moves the steepest star flanks a little.
    difference = np.abs(stacked.pixels - np.mean(pixels, axis=0))
    assert np.quantile(difference, 0.99) < 1.5


def test_what_later_frames_did_not_cover_keeps_what_it_had() -> None:
    stack = LiveStack(16)
    for frame in night(6):
        stacked = stack.add(frame)
    coverage = stack.coverage
    assert np.isfinite(stacked.pixels).all()
    # The field drifts right and up: its left columns are covered by all, its last ones by the first frame alone.
    assert coverage[120, 20] == pytest.approx(6)
    assert coverage[120, -1] == pytest.approx(1, abs=0.1)
    assert coverage.min() >= 1
    edge, middle = stacked.pixels[:, -6:], stacked.pixels[:, 40:-40]
    assert np.median(edge) == pytest.approx(np.median(middle), rel=0.05)


def test_the_mean_forgets_beyond_its_depth() -> None:
    frames = list(night(1)) * 12
    stack = LiveStack(3)
    for i, frame in enumerate(frames):
        brighter = replace(frame, pixels=frame.pixels.astype(np.float32) + (1000 if i >= 2 else 0))
        stacked = stack.add(brighter)
    assert stack.coverage.max() == 3
    assert np.median(stacked.pixels - frames[0].pixels) == pytest.approx(1000, abs=30)


def test_a_dead_pixel_is_filled_by_frames_that_saw_its_sky() -> None:
    stack = LiveStack(16)
    for frame in night(5):
        pixels = frame.pixels.astype(np.float32)
        pixels[100, 150] = np.nan
        stacked = stack.add(replace(frame, pixels=pixels))
        if frame.index == 0:
            assert np.isnan(stacked.pixels[100, 150]).all()
    assert np.isfinite(stacked.pixels).all()


def test_bayer_frames_are_stacked_in_colour() -> None:
    raw = [replace(f, pixels=f.pixels[..., 1], bayer="RGGB") for f in night(2)]
    stack = LiveStack(4)
    for frame in raw:
        stacked = stack.add(frame)
    assert stacked.pixels.shape == (256, 320, 3)
    assert stacked.bayer is None


def test_display_pictures_stack_to_display_pictures() -> None:
    stack = LiveStack(4)
    for frame in night(3):
        picture = np.clip(frame.pixels / 40, 0, 255).astype(np.uint8)
        stacked = stack.add(replace(frame, pixels=picture, linear=False))
    assert stacked.pixels.dtype == np.uint8
    assert not stacked.linear
    assert stacked.index == 2


def test_a_cloud_is_refused_and_leaves_the_stack_alone() -> None:
    frames = list(night(3))
    stack = LiveStack(8)
    stack.add(frames[0])
    cloud = replace(frames[1], pixels=np.random.default_rng(0).normal(900, 20, frames[1].pixels.shape))
    with pytest.raises(FrameError, match="does not register"):
        stack.add(cloud)
    assert stack.coverage.max() == 1
    stack.add(frames[2])
    assert stack.coverage.max() == 2


def test_the_stack_starts_anew_where_the_telescope_now_points() -> None:
    stack = LiveStack(8)
    for frame in night(2, seed=3):
        stack.add(frame)
    elsewhere = list(night(4, seed=8))
    for frame in elsewhere[:2]:
        with pytest.raises(FrameError):
            stack.add(frame)
    stacked = stack.add(elsewhere[2])
    np.testing.assert_allclose(stacked.pixels, elsewhere[2].pixels)
    stack.add(elsewhere[3])
    assert stack.coverage.max() == 2


def test_frames_of_a_new_size_start_a_new_stack() -> None:
    stack = LiveStack(8)
    stack.add(next(iter(night(1))))
    small = next(iter(Night(seed=1, width=300, height=260, frames=1)))
    assert stack.add(small).size == (300, 260)


def test_a_stack_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LiveStack(0)
