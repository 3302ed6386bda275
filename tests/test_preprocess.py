import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from edgegal.errors import FrameError
from edgegal.frames import Frame
from edgegal.preprocess import (
    Sky,
    Stretch,
    as_view,
    crop_square,
    debayer,
    measure_sky,
    network_input,
    resize,
    stretch_linear,
)

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")
BAYER_DTYPES = (np.uint8, np.uint16, np.int32, np.float32, np.float64)


def night(height=90, width=121, channels=0, seed=0):
    """Sky of level 1000 and noise 20 with one bright disc; float64."""
    shape = (height, width, channels) if channels else (height, width)
    pixels = np.random.default_rng(seed).normal(1000, 20, shape)
    y, x = np.mgrid[:height, :width]
    pixels[(x - width / 2) ** 2 + (y - height / 2) ** 2 < 64] += 30_000
    return pixels


def mosaic(rgb, pattern):
    """What a sensor behind a colour filter array records of an RGB scene."""
    raw = np.empty(rgb.shape[:2], rgb.dtype)
    for i, colour in enumerate(pattern):
        y, x = divmod(i, 2)
        raw[y::2, x::2] = rgb[y::2, x::2, "RGB".index(colour)]
    return raw


# --- the stretch


def test_stretch_agrees_with_the_formula_written_out():
    stretch = Stretch(black_sigma=2, soft_sigma=5, white_sigma=500)
    view = stretch_linear(np.array([[100.0, 110.0], [150.0, 5080.0]]), stretch, Sky((100.0,), 10.0))

    def grey(sigmas):
        return int(255 * np.arcsinh((sigmas + 2) / 5) / np.arcsinh(100))

    assert view[..., 0].tolist() == [[grey(0), grey(1)], [grey(5), 255]]
    assert_array_equal(view[..., 0], view[..., 2])


def by_the_formula(pixels, stretch, sky):
    """The stretch in double precision, one operation a line."""
    with np.errstate(all="ignore"):
        above = (pixels.astype(np.float64) - np.array(sky.level)) / sky.sigma
    above = np.clip(np.nan_to_num(above, nan=-stretch.black_sigma, posinf=1e30, neginf=-1e30), -1e30, 1e30)
    above = above + stretch.black_sigma
    gain = 255 / np.arcsinh(stretch.white_sigma / stretch.soft_sigma)
    if above.ndim == 2:
        above = np.repeat(above[..., None], 3, axis=2)
    intensity = np.maximum(above.mean(axis=2, keepdims=True), 1e-3)
    return np.floor(np.clip(above * np.arcsinh(intensity / stretch.soft_sigma) * gain / intensity, 0, 255))


@settings(max_examples=100, deadline=None)
@given(
    values=hnp.arrays(
        np.float64,
        st.one_of(
            st.tuples(st.integers(1, 6), st.integers(1, 6)),
            st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3)),
        ),
        elements=st.floats(-2e4, 7e4) | st.sampled_from([np.nan, np.inf]),
    ),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.float32, np.float64]),
    sigma=st.floats(0.5, 500),
    black=st.floats(-2, 5),
    soft=st.floats(0.5, 50),
    white=st.floats(20, 3000),
)
def test_the_fast_stretch_is_the_formula_within_a_grey_level(values, dtype, sigma, black, soft, white):
    pixels = values.astype(dtype) if np.issubdtype(dtype, np.floating) else None
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        pixels = np.clip(np.nan_to_num(values, posinf=limits.max), limits.min, limits.max).astype(dtype)
    stretch = Stretch(black, soft, white)
    sky = Sky(tuple(float(v) for v in (700, 650, 600)[: 3 if pixels.ndim == 3 else 1]), sigma)
    expected = by_the_formula(pixels, stretch, sky)
    assert np.abs(stretch_linear(pixels, stretch, sky) - expected).max() <= 1


def test_a_colour_far_beyond_white_stays_white():
    """Where channels below black take the brightness away that the third has, its product fits no integer."""
    pixels = np.array([[[31071146.0, -15534599.0, -15534599.0]]], np.float32)
    view = stretch_linear(pixels, Stretch(0, 1, 20), Sky((700.0, 650.0, 600.0), 1.0))
    assert view[0, 0].tolist() == [255, 0, 0]


def test_stretch_of_colour_keeps_the_ratio_of_channels_above_black():
    stretch = Stretch(black_sigma=0, soft_sigma=10, white_sigma=1000)
    view = stretch_linear(np.full((4, 4, 3), [100.0, 50.0, 25.0]), stretch, Sky((0.0, 0.0, 0.0), 1.0))
    assert_allclose(view[0, 0] / view[0, 0, 0], [1, 0.5, 0.25], atol=0.01)


def test_view_does_not_depend_on_channel_gain_of_the_sky():
    """A colour cast of the sky is taken out: each channel has its own level."""
    pixels = night(channels=3)
    assert_array_equal(stretch_linear(pixels, Stretch()), stretch_linear(pixels + np.array([0, 500, 9000]), Stretch()))


@pytest.mark.parametrize("channels", [0, 3])
@settings(max_examples=30, deadline=None)
@given(gain=st.floats(1e-3, 1e3), offset=st.floats(-1e5, 1e6), seed=st.integers(0, 99))
def test_gain_and_pedestal_drop_out(channels, gain, offset, seed):
    pixels = night(channels=channels, seed=seed)
    plain = stretch_linear(pixels, Stretch()).astype(int)
    other = stretch_linear(gain * pixels + offset, Stretch()).astype(int)
    assert np.abs(plain - other).max() <= 1


@pytest.mark.parametrize(
    "dtype", [np.uint16, np.int16, np.int32, np.uint32, np.int64, np.float32, np.float64, ">u2", ">f4"]
)
def test_every_dtype_of_the_same_light_gives_the_same_view(dtype):
    pixels = np.rint(night())
    assert_array_equal(stretch_linear(pixels.astype(dtype), Stretch()), stretch_linear(pixels, Stretch()))


def test_a_pedestal_beyond_float32_does_not_swallow_the_noise():
    pixels = np.rint(night()).astype(np.int32)
    assert_array_equal(stretch_linear(pixels + 2_000_000_000, Stretch()), stretch_linear(pixels, Stretch()))


@pytest.mark.parametrize("channels", [0, 3])
def test_pixels_without_a_number_spoil_only_themselves(channels):
    pixels = night(channels=channels)
    holes = pixels.copy()
    holes[3, 4], holes[5, 6], holes[7, 8] = np.nan, np.inf, -np.inf
    view, clean = stretch_linear(holes, Stretch()), stretch_linear(pixels, Stretch())
    assert view[3, 4].tolist() == [0, 0, 0]
    assert view[5, 6].tolist() == [255, 255, 255]
    assert view[7, 8].tolist() == [0, 0, 0]
    away = np.ones(pixels.shape[:2], bool)
    away[[3, 5, 7], [4, 6, 8]] = False
    assert np.abs(view[away].astype(int) - clean[away]).max() <= 1


@pytest.mark.parametrize("colour", [(np.inf, -np.inf, 100), (3e38, 3e38, 100)])
def test_channels_whose_sum_is_no_number_are_stretched_without_a_word(colour):
    pixels = night(channels=3).astype(np.float32)
    pixels[3, 4] = colour
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        view = stretch_linear(pixels, Stretch())
    assert view[3, 4, 0] == 255


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_frame_without_a_finite_pixel_is_refused_by_name(bad):
    with pytest.raises(FrameError, match=r"night\.fits: the frame has no finite pixel"):
        as_view(Frame(np.full((8, 8), bad), "night.fits"), Stretch())


def test_the_few_finite_rows_of_a_large_frame_are_found():
    pixels = np.full((1000, 1000), np.nan, np.float32)
    pixels[500, ::7] = 100.0
    assert measure_sky(pixels).level == (100.0,)


@pytest.mark.parametrize("value", [0, 7, 65535])
@pytest.mark.parametrize("shape", [(1, 1), (1, 640), (640, 1), (30, 40), (30, 40, 3)])
def test_a_constant_frame_is_an_even_dark_sky(shape, value):
    view = stretch_linear(np.full(shape, value, np.uint16), Stretch())
    assert view.shape == (*shape[:2], 3)
    assert len(np.unique(view)) == 1
    assert view.max() < 20


@settings(max_examples=100, deadline=None)
@given(
    pixels=hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int32, np.float32, np.float64]),
        st.one_of(
            st.tuples(st.integers(1, 12), st.integers(1, 12)),
            st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3)),
        ),
    )
)
def test_any_numbers_give_a_view_or_a_frame_error(pixels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            view = stretch_linear(pixels, Stretch())
        except FrameError:
            usable = np.abs(pixels.astype(np.float64)) <= np.finfo(np.float32).max
            assert not usable.reshape(pixels.shape[0] * pixels.shape[1], -1).all(axis=1).any()
            return
    assert view.shape == (*pixels.shape[:2], 3)
    assert view.dtype == np.uint8


def test_brighter_light_is_never_darker():
    ramp = np.sort(night().ravel()).reshape(1, -1)
    assert (np.diff(stretch_linear(ramp, Stretch())[0, :, 0].astype(int)) >= 0).all()


def test_sky_is_the_median_and_the_noise_under_the_stars():
    sky = measure_sky(night(400, 400))
    assert sky.level[0] == pytest.approx(1000, abs=1)
    assert sky.sigma == pytest.approx(20, rel=0.03)


# --- colour filter arrays


@pytest.mark.parametrize("dtype", BAYER_DTYPES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_mosaicked_scene_comes_back_in_its_colours(pattern, dtype):
    y, x = np.mgrid[:32, :48]
    # Planes: bilinear interpolation gives them back exactly inside the border.
    scene = np.stack([40 + 3 * x, 200 - 2 * y, 20 + x + 2 * y], axis=2).astype(dtype)
    rgb = debayer(mosaic(scene, pattern), pattern)
    assert rgb.shape == scene.shape
    assert_allclose(rgb[2:-2, 2:-2].astype(float), scene[2:-2, 2:-2].astype(float), atol=1)


@pytest.mark.parametrize("dtype", BAYER_DTYPES)
def test_demosaicing_keeps_camera_types_and_floats_the_rest(dtype):
    wanted = {np.uint8: np.uint8, np.uint16: np.uint16, np.float32: np.float32}.get(dtype, np.float64)
    assert debayer(np.ones((8, 8), dtype), "RGGB").dtype == wanted


def test_float_demosaicing_agrees_with_the_camera_road():
    raw = np.random.default_rng(5).integers(0, 65536, (40, 50)).astype(np.uint16)
    for pattern in PATTERNS:
        camera = debayer(raw, pattern).astype(float)
        assert_allclose(debayer(raw.astype(np.float32), pattern)[2:-2, 2:-2], camera[2:-2, 2:-2], atol=1)


def test_one_hot_pixel_does_not_cost_a_float_mosaic_its_depth():
    raw = np.random.default_rng(1).normal(100, 1, (40, 40)).astype(np.float32)
    hot = raw.copy()
    hot[20, 20] = 1e9
    assert_array_equal(debayer(hot, "RGGB")[:15], debayer(raw, "RGGB")[:15])


@pytest.mark.parametrize("place", [(10, 10), (10, 11), (11, 11), (0, 0)])
def test_a_dead_pixel_of_a_mosaic_is_filled_by_its_neighbours(place):
    raw = np.full((20, 20), 500.0, np.float32)
    raw[place] = np.nan
    assert_allclose(debayer(raw, "GBRG"), 500.0)


@pytest.mark.parametrize("shape", [(2, 2), (2, 9), (9, 2)])
@pytest.mark.parametrize("dtype", BAYER_DTYPES)
def test_a_mosaic_too_small_for_opencv_is_not_black(shape, dtype):
    assert_array_equal(debayer(np.full(shape, 77, dtype), "GRBG"), np.full((*shape, 3), 77))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_view_of_a_red_galaxy_is_red(pattern):
    scene = np.random.default_rng(3).normal(1000, 5, (64, 64, 3))
    scene[24:40, 24:40] += [4000, 1000, 400]
    raw = np.rint(mosaic(scene, pattern)).astype(np.uint16)
    red, green, blue = as_view(Frame(raw, "camera", bayer=pattern), Stretch())[32, 32].astype(int)
    assert red > green > blue


# --- views


def test_a_display_picture_passes_unchanged():
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    assert_array_equal(as_view(Frame(picture, "p.png", linear=False), Stretch()), picture)
    grey = as_view(Frame(picture[..., 0], "p.png", linear=False), Stretch())
    assert_array_equal(grey, np.repeat(picture[..., :1], 3, axis=2))


def test_a_view_seen_again_is_the_same_view():
    view = as_view(Frame(night(channels=3), "night"), Stretch())
    assert_array_equal(as_view(Frame(view, "again", linear=False), Stretch()), view)


def test_display_pixels_of_another_depth_are_refused_by_name():
    with pytest.raises(FrameError, match=r"p\.png: display pixels are uint8, not uint16"):
        as_view(Frame(np.zeros((4, 4), np.uint16), "p.png", linear=False), Stretch())


def test_the_pattern_of_a_frame_that_already_has_colours_is_ignored():
    pixels = night(channels=3)
    assert_array_equal(
        as_view(Frame(pixels, "seestar", bayer="GRBG"), Stretch()), as_view(Frame(pixels, "seestar"), Stretch())
    )


def test_pictures_that_lie_upside_down_in_memory_are_read_as_seen():
    pixels = np.rint(night()).astype(np.uint16)
    for bayer in (None, "RGGB"):
        flipped = as_view(Frame(pixels[::-1, ::-1], "camera", bayer=bayer), Stretch())
        assert_array_equal(flipped, as_view(Frame(pixels[::-1, ::-1].copy(), "camera", bayer=bayer), Stretch()))


# --- resizing, crops, network input


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_resize_gives_the_size_asked_for_within_the_range_of_the_picture(h, w, height, width):
    picture = np.random.default_rng(0).integers(50, 200, (h, w, 3), np.uint8)
    resized = resize(picture, height, width)
    assert resized.shape == (height, width, 3)
    assert resized.dtype == np.uint8
    assert picture.min() <= resized.min()
    assert resized.max() <= picture.max()


def test_shrinking_averages_every_pixel():
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    means = picture.reshape(10, 4, 15, 4, 3).mean(axis=(1, 3))
    assert_allclose(resize(picture, 10, 15), means, atol=0.51)


def test_crop_inside_is_the_pixels_themselves():
    view = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    assert_array_equal(crop_square(view, (30, 20), 16, 16), view[12:28, 22:38])


@settings(max_examples=100, deadline=None)
@given(x=st.floats(-300, 300), y=st.floats(-300, 300), side=st.floats(0.1, 400), size=st.integers(1, 64))
def test_a_crop_anywhere_has_its_size_and_sky_where_the_view_ends(x, y, side, size):
    view = np.full((50, 60, 3), 200, np.uint8)
    view[:2] = 30
    crop = crop_square(view, (x, y), side, size)
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8
    outside = x + side / 2 < -1 or y + side / 2 < -1 or x - side / 2 > 61 or y - side / 2 > 51
    if outside:
        assert (crop == 200).all(), "a square that misses the view is filled with its median colour"


def test_a_crop_over_the_edge_keeps_the_galaxy_in_the_middle():
    view = np.full((50, 60, 3), 10, np.uint8)
    view[0, 0] = 255
    crop = crop_square(view, (0.5, 0.5), 9, 9)
    assert np.argwhere(crop[..., 0] == 255).tolist() == [[4, 4]]
    assert (crop != 10).any(axis=2).sum() == 1


@pytest.mark.parametrize(("shape", "batch"), [((4, 5, 3), 1), ((2, 4, 5, 3), 2)])
def test_network_input_is_a_batch_of_plain_floats(shape, batch):
    pictures = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    values = network_input(pictures)
    assert values.shape == (batch, 4, 5, 3)
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    assert_array_equal(values.reshape(shape), pictures)
