"""The one road from sensor pixels to what a network sees.

Training, calibration, benchmarks and the device all call these functions, and a bundle's manifest carries the
`Stretch` and `Preprocess` values they take, so a model cannot meet a picture prepared in another way.

Linear pixels are stretched with the colour-preserving inverse hyperbolic sine of Lupton et al. 2004 (PASP 116, 133),
in units of the sky noise above the sky level, so exposure, gain and bit depth drop out. Pixels already stretched for
display (8-bit pictures) pass unchanged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.errors import FrameError
from edgegal.frames import BayerPattern, Frame, View

__all__ = [
    "Preprocess",
    "Sky",
    "Stretch",
    "Strips",
    "as_view",
    "crop_square",
    "debayer",
    "measure_sky",
    "network_input",
    "resize",
    "stretch_linear",
]

_SKY_SAMPLES = 30_000
_MAD_TO_SIGMA = 1.4826
# The first quartile of normal noise lies this many sigma below its middle.
_QUARTILE_SIGMA = 0.6745
# Far enough that demosaicing and resampling no longer tie the noise of two pixels together; even, for raw Bayer frames.
_LAG = 4

# The reciprocal of anything less does not fit float32.
_LEAST_SIGMA = 1e-37
# Nothing physical is that many times as bright, and the square still fits float32.
_LARGEST_SQUARED = 1e18
# Whole numbers that rounding errors may have lowered are not cut to the grey level below.
_ROUNDED = 1 + 1e-6
# Fainter light, in sigmas, is not divided by.
_LEAST_LIGHT = 1e-3
# Pixels stretched at a time: what they pass through stays in the cache of a small computer.
_BLOCK_PIXELS = 1 << 15

# A manifest may come from anywhere: beyond these an input fills the memory of a small computer.
_MAX_SIDE = 4096
_MAX_CROP_SCALE = 10

# OpenCV leaves the whole picture black when a side is shorter.
_MIN_OPENCV_BAYER = 3

# OpenCV names a pattern by the second row, from its second column.
_BAYER_TO_RGB: dict[BayerPattern, int] = {
    "RGGB": cv2.COLOR_BayerBG2RGB,
    "BGGR": cv2.COLOR_BayerRG2RGB,
    "GRBG": cv2.COLOR_BayerGB2RGB,
    "GBRG": cv2.COLOR_BayerGR2RGB,
}

# Weights of the known pixels around a missing one; the centre outweighs all where the colour was measured there.
_RED_BLUE_KERNEL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float64)
_GREEN_KERNEL = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], np.float64)
_GAP_KERNEL = np.ones((5, 5))


@dataclass(frozen=True)
class Stretch:
    """Display stretch of linear pixels, in units of the sky noise sigma.

    Attributes
    ----------
    black_sigma
        Black lies this many sigma below the sky level.
    soft_sigma
        Below this the stretch is nearly linear, above nearly logarithmic.
    white_sigma
        White lies this many sigma above black.
    """

    black_sigma: float = 1.0
    soft_sigma: float = 8.0
    white_sigma: float = 300.0

    def __post_init__(self) -> None:
        if self.soft_sigma <= 0 or self.white_sigma <= 0:
            raise ValueError(f"soft_sigma {self.soft_sigma} and white_sigma {self.white_sigma} must be positive")


@dataclass(frozen=True)
class Preprocess:
    """What a network's input is made of.

    The input is float32 ``(1, height, width, 3)``, colour order RGB, values 0-255: scaling to the network's own range
    happens inside the graph.

    Attributes
    ----------
    height, width
        Input size in pixels.
    stretch
        Stretch that made linear frames into the views the network was trained on.
    crop_scale
        Classifiers only: side of the square crop over the longer side of the detection box.
    """

    height: int
    width: int
    stretch: Stretch = Stretch()
    crop_scale: float = 1.0

    def __post_init__(self) -> None:
        if not (1 <= self.height <= _MAX_SIDE and 1 <= self.width <= _MAX_SIDE):
            raise ValueError(f"an input of {self.width} x {self.height} is not within 1 to {_MAX_SIDE} pixels")
        if not 0 < self.crop_scale <= _MAX_CROP_SCALE:
            raise ValueError(f"crop_scale {self.crop_scale} is not within 0 to {_MAX_CROP_SCALE}")


@dataclass(frozen=True)
class Sky:
    """Sky level per channel and one noise sigma, in the frame's own units."""

    level: tuple[float, ...]
    sigma: float


class Strips(Protocol):
    """A linear picture whose rows are made as they are asked for, so that it need not be held whole."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(h, w)`` or ``(h, w, 3)`` RGB."""

    def planes(self, top: int, bottom: int) -> Sequence[NDArray[Any]]:
        """Rows from `top` to before `bottom`, ``(rows, w)`` of each channel, the caller's own.

        float32, or float64 where float32 would round.
        """

    def every(self, step: int, first: int = 0) -> NDArray[Any]:
        """``(channels, n)``: every `step`-th pixel, counted row by row from the `first`."""


@dataclass(frozen=True)
class _Whole:
    """An array as strips."""

    pixels: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.pixels.shape

    def planes(self, top: int, bottom: int) -> Sequence[NDArray[Any]]:
        rows = self.pixels[top:bottom].astype(_working_type(self.pixels.dtype), order="C")
        if rows.ndim == 2:
            return [rows]
        planes = [np.empty(rows.shape[:2], rows.dtype) for _ in range(rows.shape[2])]
        cv2.split(rows, planes)
        return planes

    def every(self, step: int, first: int = 0) -> NDArray[Any]:
        pixels = self.pixels.reshape(self.shape[0] * self.shape[1], -1)[first::step]
        return np.ascontiguousarray(pixels.T, dtype=_working_type(pixels.dtype))


def _in_strips(pixels: "NDArray[Any] | Strips") -> Strips:
    return _Whole(pixels) if isinstance(pixels, np.ndarray) else pixels


def measure_sky(pixels: NDArray[Any] | Strips) -> Sky:
    """Level and noise of the sky, from a regular sample of finite pixels.

    Where sky fills most of the frame these are the median and the scaled median absolute deviation. A galaxy that fills
    the frame would pass for bright, noisy sky: the noise is therefore at most that of differences between pixels a few
    apart, and the level at most what the darkest quarter and that noise allow.

    Parameters
    ----------
    pixels
        ``(h, w)`` or ``(h, w, 3)``, any real dtype; NaN and infinities are left out.

    Raises
    ------
    FrameError
        When no pixel is finite.
    """
    picture = _in_strips(pixels)
    # An odd step does not fall in with even widths or with a Bayer pattern.
    step = max(1, picture.shape[0] * picture.shape[1] // _SKY_SAMPLES) | 1
    every = picture.every(step)
    sample = _finite(every)
    if not sample.size:
        # A frame may be blank but for a few rows that the sample misses.
        sample = _finite(picture.every(1))
    if not sample.size:
        raise FrameError("the frame has no finite pixel")
    sample = np.sort(sample, axis=1)
    quartile, level = _quantile(sample, 0.25), _quantile(sample, 0.5)
    sigma = _MAD_TO_SIGMA * _median(np.abs(sample - level[:, None]))
    if sigma == 0:
        # More than half the pixels are equal (few grey levels, a blank frame): take the spread, else one unit.
        sigma = float(np.std(sample, dtype=np.float64)) or 1.0
    sigma = min(sigma, _difference_noise(every, picture.every(step, _LAG)) or sigma)
    level = np.minimum(level, quartile + _QUARTILE_SIGMA * sigma)
    return Sky(tuple(float(v) for v in level), sigma)


def _difference_noise(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Noise sigma from pixels and those `_LAG` beyond in their rows; 0 when it cannot be told."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = _finite(second - first[:, : second.shape[1]])
    if not difference.size:
        return 0.0
    middle = _quantile(np.sort(difference, axis=1), 0.5)
    return _MAD_TO_SIGMA * _median(np.abs(difference - middle[:, None])) / np.sqrt(2)


def _quantile(rising: NDArray[Any], share: float) -> NDArray[Any]:
    """Quantile of each row, whose values rise: numpy sorts several times faster than it partitions."""
    place = share * (rising.shape[1] - 1)
    below = int(place)
    above = min(below + 1, rising.shape[1] - 1)
    low, high = rising[:, below].astype(np.float64), rising[:, above].astype(np.float64)
    quantile: NDArray[Any] = (low + (place - below) * (high - low)).astype(rising.dtype)
    return quantile


def _median(values: NDArray[Any]) -> float:
    return float(_quantile(np.sort(values, axis=None)[None], 0.5)[0])


def _finite(values: NDArray[Any]) -> NDArray[Any]:
    """The columns of finite values."""
    # What float32 cannot hold is a damaged pixel too, and its square would overflow.
    finite = (np.abs(values) <= np.finfo(np.float32).max).all(axis=0)
    return values if finite.all() else values[:, finite]


def _working_type(dtype: np.dtype[Any]) -> type[np.float32] | type[np.float64]:
    """float32 where it holds every value exactly, else float64: a large pedestal must not swallow the noise."""
    return np.float32 if np.can_cast(dtype, np.float32) else np.float64


def stretch_linear(pixels: NDArray[Any] | Strips, stretch: Stretch, sky: Sky | None = None) -> View:
    """Stretch linear pixels for display.

    Parameters
    ----------
    pixels
        ``(h, w)`` or ``(h, w, 3)`` RGB, any real dtype; NaN becomes black, infinity white.
    stretch
        The curve.
    sky
        Level and noise; measured on `pixels` when None.

    Returns
    -------
    View
        ``(h, w, 3)`` uint8 RGB.
    """
    picture = _in_strips(pixels)
    sky = sky or measure_sky(picture)
    height, width = picture.shape[:2]
    view = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BLOCK_PIXELS // width)
    with np.errstate(invalid="ignore", over="ignore"):
        for top in range(0, height, rows):
            planes = picture.planes(top, min(top + rows, height))
            above = [
                _above_black(plane, stretch, level, sky.sigma) for plane, level in zip(planes, sky.level, strict=True)
            ]
            grey = _stretched(above, stretch, max(sky.sigma, _LEAST_SIGMA))
            cv2.merge(grey if len(grey) == 3 else grey * 3, view[top : top + rows])
    return view


def _above_black(plane: NDArray[Any], stretch: Stretch, level: float, sigma: float) -> NDArray[np.float32]:
    """Light above black, in place where the type allows it."""
    plane -= plane.dtype.type(level - stretch.black_sigma * sigma)
    return plane.astype(np.float32, copy=False)


def _stretched(above: Sequence[NDArray[np.float32]], stretch: Stretch, sigma: float) -> list[NDArray[np.uint8]]:
    """Light above black, of one channel or of three, on the curve."""
    light = above[0] if len(above) == 1 else above[0] + above[1] + above[2]
    soft = stretch.soft_sigma * sigma
    ceiling = np.float32(_LARGEST_SQUARED * min(soft, 1.0))
    # Not a number either where a sum of them is none.
    if not max(float(light.max()), -float(light.min())) <= ceiling:
        above = [_bounded(plane, ceiling) for plane in above]
        light = np.sum(above, axis=0)
    scaled = np.maximum(light, np.float32(len(above) * _LEAST_LIGHT * sigma))
    scaled *= np.float32(1 / (len(above) * soft))
    factor = _arcsinh(scaled)
    factor /= scaled
    factor *= np.float32(_ROUNDED * 255 / (np.arcsinh(stretch.white_sigma / stretch.soft_sigma) * soft))
    return [_to_bytes(plane, factor) for plane in above]


def _bounded(plane: NDArray[np.float32], ceiling: np.float32) -> NDArray[np.float32]:
    """Within what can be squared; NaN lies at black."""
    bounded: NDArray[np.float32] = np.clip(plane, -ceiling, ceiling)
    cv2.patchNaNs(bounded, 0.0)
    return bounded


def _arcsinh(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inverse hyperbolic sine of values from 0 to what can be squared: numpy's own is not vectorised on ARM."""
    root = np.square(values)
    root += 1
    np.sqrt(root, out=root)
    root += values
    return cv2.log(root, root)


def _to_bytes(plane: NDArray[np.float32], factor: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Values cut to 0-255 and to whole numbers."""
    plane *= factor
    np.clip(plane, 0, 255, out=plane)
    grey = np.empty(plane.shape, np.uint8)
    np.copyto(grey, plane, casting="unsafe")
    return grey


def debayer(pixels: NDArray[Any], pattern: BayerPattern) -> NDArray[Any]:
    """Bilinear demosaicing of raw pixels.

    Parameters
    ----------
    pixels
        ``(h, w)``, any real dtype; pixels that are not finite take no part, their neighbours fill in.
    pattern
        Colours of the top-left 2x2 block.

    Returns
    -------
    array
        ``(h, w, 3)`` RGB: uint8 and uint16 keep their type, the rest becomes float32, or float64 where float32 would
        round. A channel with no finite pixel near is NaN.
    """
    if pixels.dtype in (np.uint8, np.uint16) and min(pixels.shape) >= _MIN_OPENCV_BAYER:
        return cv2.cvtColor(pixels, _BAYER_TO_RGB[pattern])
    # OpenCV demosaics unsigned integers only. Other types: a weighted mean of the pixels of each colour.
    raw = pixels.astype(_working_type(pixels.dtype))
    if raw.dtype == np.float32 and min(pixels.shape) >= _MIN_OPENCV_BAYER and cv2.checkRange(raw)[0]:
        return _debayer_finite(raw, pattern)
    finite = np.isfinite(raw)
    known = np.where(finite, raw, 0)
    channels = []
    for colour in "RGB":
        weight = (_filter_mask(pixels.shape, pattern, colour) & finite).astype(raw.dtype)
        channel = _weighted_mean(known, weight, _GREEN_KERNEL if colour == "G" else _RED_BLUE_KERNEL)
        gaps = np.isnan(channel)
        if gaps.any():
            channel[gaps] = _weighted_mean(known, weight, _GAP_KERNEL)[gaps]
        channels.append(channel)
    rgb = np.stack(channels, axis=-1)
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize <= 2:
        return np.rint(np.nan_to_num(rgb)).astype(pixels.dtype)
    return rgb


def _debayer_finite(raw: NDArray[Any], pattern: BayerPattern) -> NDArray[Any]:
    """Demosaicing without gaps: the weights of the known pixels are the same everywhere, mirrored at the borders."""
    channels = []
    for colour in "RGB":
        known = np.zeros_like(raw)
        for at in (i for i, c in enumerate(pattern) if c == colour):
            y, x = divmod(at, 2)
            known[y::2, x::2] = raw[y::2, x::2]
        kernel = _GREEN_KERNEL if colour == "G" else _RED_BLUE_KERNEL
        channels.append(cv2.filter2D(known, -1, kernel / 4, borderType=cv2.BORDER_REFLECT_101))
    return cv2.merge(channels)


def _weighted_mean(values: NDArray[Any], weight: NDArray[Any], kernel: NDArray[np.float64]) -> NDArray[Any]:
    """Mean of the neighbours under `kernel` that carry weight; NaN where none does."""
    total = cv2.filter2D(values * weight, -1, kernel, borderType=cv2.BORDER_CONSTANT)
    share = cv2.filter2D(weight, -1, kernel, borderType=cv2.BORDER_CONSTANT)
    return np.divide(total, share, out=np.full_like(values, np.nan), where=share > 0)


def _filter_mask(shape: tuple[int, ...], pattern: BayerPattern, colour: str) -> NDArray[np.bool_]:
    """Which pixels of a ``(h, w)`` sensor lie behind a filter of `colour`."""
    block = np.array(list(pattern)).reshape(2, 2) == colour
    mask: NDArray[np.bool_] = np.tile(block, (-(-shape[0] // 2), -(-shape[1] // 2)))[: shape[0], : shape[1]]
    return mask


def as_view(frame: Frame, stretch: Stretch) -> View:
    """The display picture of a frame: demosaiced, stretched when linear, RGB uint8.

    Raises
    ------
    FrameError
        When the frame has no finite pixel, or claims to be display-ready without being 8-bit.
    """
    pixels = frame.pixels
    if frame.bayer is not None and pixels.ndim == 2:
        pixels = debayer(pixels, frame.bayer)
    if frame.linear:
        try:
            return stretch_linear(pixels, stretch)
        except FrameError as error:
            raise FrameError(f"{frame.source}: {error.message}") from None
    if pixels.dtype != np.uint8:
        raise FrameError(f"{frame.source}: display pixels are uint8, not {pixels.dtype}")
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    return pixels


def resize(picture: View, height: int, width: int) -> View:
    """Resize ``(h, w, 3)`` or ``(h, w)``: area averaging when shrinking, bilinear when growing."""
    shrinking = height <= picture.shape[0] and width <= picture.shape[1]
    mode = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return cv2.resize(picture, (width, height), interpolation=mode)


def crop_square(view: View, centre: tuple[float, float], side: float, size: int) -> View:
    """A square cut around `centre`, resized to `size` pixels.

    Where the square leaves the view it is filled with the view's median colour, which is sky.

    Parameters
    ----------
    view
        ``(h, w, 3)`` uint8 RGB.
    centre
        x, y in pixels, continuous coordinates: 0, 0 is the outer corner of the top-left pixel.
    side
        Side of the square in pixels of `view`, at least 1.
    size
        Side of the result.
    """
    side_px = max(1, round(side))
    left, top = round(centre[0] - side_px / 2), round(centre[1] - side_px / 2)
    right, bottom = left + side_px, top + side_px
    height, width = view.shape[:2]
    inside = view[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if inside.shape[:2] != (side_px, side_px):
        sky = np.median(view[:: max(1, height // 64), :: max(1, width // 64)].reshape(-1, 3), axis=0)
        canvas = np.empty((side_px, side_px, 3), np.uint8)
        canvas[:] = sky.astype(np.uint8)
        y, x = max(-top, 0), max(-left, 0)
        canvas[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        inside = canvas
    return resize(inside, size, size)


def network_input(pictures: View) -> NDArray[np.float32]:
    """Network input of pictures already at input size: ``(h, w, 3)`` or ``(n, h, w, 3)`` uint8 to float32, batched."""
    batch = pictures if pictures.ndim == 4 else pictures[None]
    return np.ascontiguousarray(batch, dtype=np.float32)
