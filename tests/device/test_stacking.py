import threading
import warnings
from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from edgegal.device.registration import Motion
from edgegal.device.stacking import LiveStack, Stack
from edgegal.device.stars import Field, measure_field
from edgegal.errors import FrameError
from edgegal.frames import BayerPattern, Frame
from edgegal.preprocess import Stretch, measure_sky, stretch_linear
from edgegal.sky import Night, draw_stars


def night(frames: int = 8, seed: int = 3) -> Night:
    return Night(seed=seed, width=320, height=256, frames=frames)


def noiseless(index: int) -> np.ndarray:
    """Exposure `index` of the night before the camera's noise, in the camera's units."""
    dark = night(9)
    dx, dy = dark.shift(index)
    shift = np.array([[1, 0, dx - dark.margin], [0, 1, dy - dark.margin]], np.float32)
    return 800 + 20 * cv2.warpAffine(dark.scene.light, shift, (dark.width, dark.height), flags=cv2.INTER_LINEAR)


def pictured(stack: LiveStack, frame: Frame, field: Field | None = None) -> Frame:
    """What the stack is with one more frame."""
    return stack.push(frame, field).stack.picture()


def test_noise_falls_with_the_root_of_the_frames() -> None:
    stack = LiveStack(16)
    frames = list(night(9))
    single = measure_sky(frames[0].pixels).sigma
    for frame in frames:
        stacked = pictured(stack, frame)
    # Interpolation between pixels smooths a little more.
    assert single / 4.5 < measure_sky(stacked.pixels).sigma < single / 2.6


def test_stars_stay_as_sharp_and_as_bright_as_in_the_first_frame() -> None:
    stack = LiveStack(16)
    frames = list(night(6))
    for frame in frames:
        stacked = pictured(stack, frame)
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
        stacked = pictured(stack, Frame(p, "still"))
    # A shift measured as a hundredth of a pixel moves the steepest star flanks a little.
    difference = np.abs(stacked.pixels - np.mean(pixels, axis=0))
    assert np.quantile(difference, 0.99) < 1.5


def test_what_later_frames_did_not_cover_keeps_what_it_had() -> None:
    stack = LiveStack(16)
    for frame in night(6):
        stacked = pictured(stack, frame)
    coverage = stack.stack.coverage
    assert np.isfinite(stacked.pixels).all()
    # The field drifts right and up: its left columns are covered by all, its last ones by the first frame alone.
    assert coverage[120, 20] == pytest.approx(6)
    assert coverage[120, -1] == pytest.approx(1, abs=0.1)
    assert coverage.min() >= 1
    edge, middle = stacked.pixels[:, -6:], stacked.pixels[:, 40:-40]
    assert np.median(edge) == pytest.approx(np.median(middle), rel=0.05)


def test_the_mean_forgets_beyond_its_depth() -> None:
    frame = next(iter(night(1)))
    stack = LiveStack(3)
    rng = np.random.default_rng(2)
    for i in range(14):
        pixels = frame.pixels + rng.normal(0, 20, frame.pixels.shape).astype(np.float32)
        # As slow as a comet: less in one frame than the noise would let pass.
        pixels[100:110, 150:160] += 20 * i
        stacked = pictured(stack, replace(frame, pixels=pixels))
    assert stack.stack.coverage.max() == pytest.approx(3)
    gone = np.median((pixels - stacked.pixels)[100:110, 150:160])
    # A mean that forgets a third with each frame lags two steps behind; one of all frames would lag 6.5.
    assert gone == pytest.approx(2 * 20, abs=10)


@pytest.mark.parametrize("depth", [2, 40, 250])
def test_forgetting_changes_no_mean(depth: int) -> None:
    """Counts are kept in few bits: what they round may not show where the first frames saw nothing."""
    rng = np.random.default_rng(3)
    stack = Stack((40, 40), depth)
    for i in range(7 * depth):
        pixels = rng.normal(1000, 1, (40, 40)).astype(np.float32)
        pixels[20:] = np.nan if 0 < i < depth else pixels[20:]
        stack.add(Frame(pixels, "sky"), Motion.none())
    mean = stack.picture().pixels
    assert np.mean(mean[20:]) == pytest.approx(np.mean(mean[:20]), abs=0.5 / np.sqrt(depth))
    assert np.mean(mean) == pytest.approx(1000, abs=0.5)
    assert stack.coverage[:20].max() == pytest.approx(depth, rel=1e-3)
    assert np.median(stack.coverage[20:]) == pytest.approx(depth, rel=0.01)


def test_a_stack_of_all_frames_counts_as_many_as_it_can() -> None:
    assert Stack((2, 2), None).depth == Stack((2, 2), 100_000).depth == 65_535


@pytest.mark.parametrize("bayer", ["RGGB", "GBRG"])
def test_what_one_frame_does_not_cover_spoils_nothing(bayer: BayerPattern) -> None:
    """Each channel lies on pixels of its own, and its edge elsewhere."""
    rng = np.random.default_rng(1)
    stack = Stack((64, 80, 3), 10)
    for x, y in ((0, 0), (3.3, -2.2), (-4.6, 1.9), (0, 0)):
        pixels = 500 + 300 * (x > 0) + rng.normal(0, 2, (64, 80)).astype(np.float32)
        stack.add(Frame(pixels, "sky", bayer=bayer), Motion.shift(x, y))
    picture = stack.picture().pixels
    # The first frame saw all of it; the sky of the others is lifted to its own.
    np.testing.assert_allclose(picture, 500, atol=10)
    assert np.median(stack.coverage[8:-8, 8:-8]) == pytest.approx(4)
    assert np.median(stack.coverage[:, :2]) == pytest.approx(3)
    assert np.median(stack.coverage[:, -2:]) == pytest.approx(3)


def test_a_brighter_sky_leaves_neither_a_step_nor_a_hole() -> None:
    stack = LiveStack(None)
    for i, frame in enumerate(night(6)):
        stacked = pictured(stack, replace(frame, pixels=frame.pixels + np.float32(700 if i >= 3 else 0)))
    assert stack.stack.coverage.max() == 6
    middle, edge = stacked.pixels[40:-40, 40:-40], stacked.pixels[40:-40, -6:]
    assert np.median(middle) == pytest.approx(np.median(edge), rel=0.02)


def streak(frame: Frame, row: int) -> Frame:
    """A satellite: a line three pixels wide, brighter than most stars."""
    pixels = frame.pixels.astype(np.float32)
    pixels[row : row + 3] += 3000
    return replace(frame, pixels=pixels)


@pytest.mark.parametrize("passes", [(0,), (1,), (4,), (0, 3), (7,), (2, 6, 8)])
def test_satellites_do_not_show_whichever_frames_they_cross(passes: tuple[int, ...]) -> None:
    frames = list(night(9))
    crossed, clean = LiveStack(None), LiveStack(None)
    for frame in frames:
        spoilt = streak(frame, 60 + 15 * frame.index) if frame.index in passes else frame
        with_satellites = pictured(crossed, spoilt)
        without = pictured(clean, frame)
    rows = np.r_[55:215]
    difference = np.abs(with_satellites.pixels - without.pixels)[rows].mean(axis=2)
    noise = float(np.nanmedian(clean.stack.noise))
    # One frame less is a noise of its own.
    assert np.quantile(difference, 0.99) < 3 * noise
    assert np.median(with_satellites.pixels[rows]) == pytest.approx(np.median(without.pixels[rows]), abs=noise)


def test_a_cosmic_ray_does_not_show() -> None:
    stack = LiveStack(None)
    for frame in night(6):
        pixels = frame.pixels.astype(np.float32)
        if frame.index == 4:
            pixels[120:122, 150:152] = 60000
        push = stack.push(replace(frame, pixels=pixels))
        if frame.index == 4:
            assert 4 / pixels[..., 0].size <= push.left_out < 0.002
    assert push.stack.picture().pixels[116:126, 140:152].max() < 3000


def test_light_that_stays_is_let_in() -> None:
    """A supernova between two frames, or a cloud gone: after a few frames the stack shows it."""
    stack = LiveStack(None)
    for i, frame in enumerate([*night(1)] * 16):
        pixels = frame.pixels.astype(np.float32)
        if i >= 6:
            pixels[100:104, 100:104] += 5000
        stacked = pictured(stack, replace(frame, pixels=pixels))
    assert (stacked.pixels - frame.pixels)[101:103, 101:103].mean() > 1000


@pytest.mark.parametrize("bayer", [None, "RGGB"])
def test_noise_falls_as_the_root_of_the_frames_within_a_tenth_and_the_stack_knows_it(
    bayer: BayerPattern | None,
) -> None:
    """Against the same exposures without noise, moved in the same way."""
    quiet, noisy = LiveStack(None), LiveStack(None)
    # A stack one deep is the last frame, moved.
    quiet_one, noisy_one = LiveStack(1), LiveStack(1)
    single = []
    inner = np.s_[30:-30, 30:-30]
    for frame in night(9):
        light, real = replace(frame, pixels=noiseless(frame.index).astype(np.float32)), frame
        if bayer:
            light, real = (replace(f, pixels=f.pixels[..., 1].astype(np.float32), bayer=bayer) for f in (light, real))
        field = measure_field(light)
        moved = pictured(noisy_one, real, field).pixels - pictured(quiet_one, light, field).pixels
        stacked = pictured(noisy, real, field).pixels - pictured(quiet, light, field).pixels
        single.append(spread(moved.mean(axis=2)[inner]))
    noise = spread(stacked.mean(axis=2)[inner])
    assert np.sqrt(np.mean(np.square(single))) / noise == pytest.approx(3, rel=0.1)
    assert np.nanmedian(noisy.stack.noise[inner]) == pytest.approx(noise, rel=0.1)


def spread(values: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def test_a_dead_pixel_is_filled_by_frames_that_saw_its_sky() -> None:
    stack = LiveStack(16)
    for frame in night(5):
        pixels = frame.pixels.astype(np.float32)
        pixels[100, 150] = np.nan
        stacked = pictured(stack, replace(frame, pixels=pixels))
        if frame.index == 0:
            assert np.isnan(stacked.pixels[100, 150]).all()
    assert np.isfinite(stacked.pixels).all()


def test_bayer_frames_are_stacked_in_colour() -> None:
    raw = [replace(f, pixels=f.pixels[..., 1], bayer="RGGB") for f in night(2)]
    stack = LiveStack(4)
    for frame in raw:
        stacked = pictured(stack, frame)
    assert stacked.pixels.shape == (256, 320, 3)
    assert stacked.bayer is None


def test_display_pictures_stack_to_display_pictures() -> None:
    stack = LiveStack(4)
    for frame in night(3):
        picture = np.clip(frame.pixels / 40, 0, 255).astype(np.uint8)
        stacked = pictured(stack, replace(frame, pixels=picture, linear=False))
    assert stacked.pixels.dtype == np.uint8
    assert not stacked.linear
    assert stacked.index == 2


def test_a_cloud_is_refused_and_leaves_the_stack_alone() -> None:
    frames = list(night(3))
    stack = LiveStack(8)
    stack.push(frames[0])
    cloud = replace(frames[1], pixels=np.random.default_rng(0).normal(900, 20, frames[1].pixels.shape))
    with pytest.raises(FrameError, match="does not register"):
        stack.push(cloud)
    assert stack.stack.coverage.max() == 1
    stack.push(frames[2])
    assert stack.stack.coverage.max() == 2


@pytest.mark.parametrize("bayer", [None, "RGGB"])
def test_a_stack_seen_in_strips_is_its_picture(bayer: BayerPattern | None) -> None:
    stack = LiveStack(8)
    for frame in night(4):
        raw = frame.pixels[..., 1] if bayer else frame.pixels
        push = stack.push(replace(frame, pixels=raw.astype(np.float32), bayer=bayer))
    picture = push.stack.picture().pixels
    assert_array_equal(stretch_linear(push.stack, Stretch()), stretch_linear(picture, Stretch()))
    assert measure_sky(push.stack) == measure_sky(picture)


def test_a_picture_of_a_stack_is_not_changed_by_the_next_frame() -> None:
    stack = LiveStack(8)
    frames = list(night(3))
    stack.push(frames[0])
    before = stack.push(frames[1]).stack.picture()
    kept = before.pixels.copy()
    stack.push(frames[2])
    assert_array_equal(before.pixels, kept)


def test_a_frame_waits_for_a_slow_reader_and_says_so_as_long_as_that_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    beats = threading.Semaphore(0)
    monkeypatch.setattr("edgegal.device.stacking.beat", beats.release)
    monkeypatch.setattr("edgegal.device.stacking._LOOK_S", 0.01)
    live = LiveStack(2)
    first, second = night(2)
    stack = live.push(first).stack
    adding = threading.Thread(target=live.push, args=(second,))
    with stack.held() as facts:
        adding.start()
        for _ in range(600):
            stack.planes(0, 1)
            if beats.acquire(timeout=0.05):
                break
        else:
            pytest.fail("nobody said that it goes on")
        # One more may be on its way; then nothing is read, and nothing said.
        beats.acquire(timeout=0.2)
        assert not beats.acquire(timeout=0.2)
        assert facts.frames == stack.frames == 1
    adding.join()
    assert stack.frames == 2


def test_pixels_without_a_number_are_left_out_without_a_word() -> None:
    frames = [replace(frame, pixels=frame.pixels.astype(np.float32)) for frame in night(3)]
    for frame in frames:
        frame.pixels[100, 100] = np.inf, -np.inf, 0
        frame.pixels[101, 100] = 3e38
    live = LiveStack(None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for frame in frames:
            stack = live.push(frame).stack
    elsewhere = np.delete(stack.picture().pixels, np.s_[95:107], axis=0)
    assert np.isfinite(elsewhere).all()


def test_a_stack_knows_when_it_was_begun_and_how_long_it_is_exposed() -> None:
    stack = LiveStack(2)
    frames = list(night(3))
    for frame in frames:
        stack.push(replace(frame, exposure_s=10))
    with stack.stack.held() as facts:
        assert (facts.frames, facts.begun, facts.exposure_s) == (3, frames[0].time, 30)
        assert (facts.last.time, facts.last.size) == (frames[2].time, frames[2].size)
    stack.push(replace(frames[2], exposure_s=None))
    with stack.stack.held() as facts:
        assert facts.exposure_s is None


def test_the_stack_before_still_has_its_picture() -> None:
    stack = LiveStack(8)
    first = stack.push(next(iter(night(1)))).stack
    small = next(iter(Night(seed=1, width=300, height=260, frames=1)))
    assert stack.push(small).stack is not first
    assert first.picture().size == (320, 256)


def test_the_stack_starts_anew_where_the_telescope_now_points() -> None:
    stack = LiveStack(8)
    for frame in night(2, seed=3):
        stack.push(frame)
    elsewhere = list(night(4, seed=8))
    for frame in elsewhere[:2]:
        with pytest.raises(FrameError):
            stack.push(frame)
    stacked = pictured(stack, elsewhere[2])
    np.testing.assert_allclose(stacked.pixels, elsewhere[2].pixels)
    stack.push(elsewhere[3])
    assert stack.stack.coverage.max() == 2


def test_frames_of_a_new_size_start_a_new_stack() -> None:
    stack = LiveStack(8)
    stack.push(next(iter(night(1))))
    small = next(iter(Night(seed=1, width=300, height=260, frames=1)))
    assert pictured(stack, small).size == (300, 260)


def test_a_stack_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LiveStack(0)


def test_whoever_looks_at_a_stack_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgegal.device.stacking._GIVE_UP_S", 0.1)
    stack = LiveStack(8)
    pushed = stack.push(next(iter(night(1)))).stack
    with pushed.held(), pytest.raises(FrameError, match="does not go on"):
        pushed.picture()
    assert np.isfinite(pushed.picture().pixels).all()


@pytest.mark.parametrize("shape", [(1, 40), (40, 1)])
def test_what_a_mosaic_of_one_line_does_not_have_is_unknown(shape: tuple[int, int]) -> None:
    stack = Stack((*shape, 3), None)
    stack.add(Frame(np.full(shape, 500, np.float32), "line", bayer="RGGB"), Motion.none())
    assert np.isnan(stack.picture().pixels).all()
