"""Stars of one frame: found and measured once, for registration and for the quality of the frame alike.

Measured on luminance at half the sampling of Bayer frames and of large ones: each Bayer cell becomes one grey pixel, so
no colour is interpolated, and the work fits a small computer.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.errors import FrameError
from edgegal.frames import Frame

__all__ = ["Field", "Stars", "find_stars", "measure_field"]

Array = NDArray[np.float32]

# Frames longer than this are measured at half their sampling.
_LONGEST_SIDE = 1024
_DETECTION_SIGMA = 6.0
_MOST_STARS = 200
# Half the window a star is measured in, and the width of the Gaussian that weighs it, pixels of the luminance.
_HALF_WINDOW = 4
_WEIGHT_SIGMA = 2.0
_CENTROID_STEPS = 4
# Wider than this share of the weight, an object fills its window: a galaxy, a nebula or a line.
_LARGEST_SHARE = 0.85
# Longer ones are pieces of a satellite's trail or of a diffraction spike.
_LONGEST_STAR = 4.0
# A star's eight neighbours hold at least this share of its peak each; those of a hot pixel hold noise.
_LEAST_NEIGHBOUR = 0.05
_SIGMA_TO_FWHM = 2.3548
# Cells that the local sky is taken from: larger than stars, smaller than a gradient.
_SKY_CELL = 16
_SKY_STEP = 4
_NOISE_SAMPLES = 20_000
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Stars:
    """Point-like objects, brightest first.

    Attributes
    ----------
    positions
        ``(n, 2)`` float64 x, y in pixels of the frame, continuous coordinates: 0, 0 is the outer corner of the top-left
        pixel.
    flux
        ``(n,)`` float32, light above the local sky in units of the frame.
    fwhm
        ``(n,)`` float32 full width at half maximum in pixels of the frame, of a Gaussian of the same second moments.
    elongation
        ``(n,)`` float32, longer over shorter axis.
    """

    positions: NDArray[np.float64]
    flux: Array
    fwhm: Array
    elongation: Array

    def __len__(self) -> int:
        return len(self.positions)

    def brightest(self, count: int) -> "Stars":
        """The first `count`."""
        return Stars(self.positions[:count], self.flux[:count], self.fwhm[:count], self.elongation[:count])


@dataclass(frozen=True)
class Field:
    """What registration and quality look at.

    Attributes
    ----------
    size
        Width and height of the frame in pixels.
    light
        ``(h, w)`` float32, finite: luminance above the local sky, at half the sampling where `scale` is 2.
    scale
        Frame pixels to one of the luminance.
    sky
        ``(rows, columns)`` float32 local sky of the luminance, every eighth pixel of it.
    sigma
        Sky noise of the luminance.
    stars
        What was found.
    """

    size: tuple[int, int]
    light: Array
    scale: int
    sky: Array
    sigma: float
    stars: Stars


def measure_field(frame: Frame) -> Field:
    """Luminance, sky and stars of a frame, raw or demosaiced.

    Raises
    ------
    FrameError
        The frame has no finite pixel.
    """
    return _measured(frame.pixels, frame.is_mosaic)


def _measured(pixels: NDArray[Any], mosaic: bool) -> Field:
    height, width = pixels.shape[:2]
    scale = 2 if (mosaic or max(height, width) > _LONGEST_SIDE) and min(height, width) >= 2 else 1
    light, sky = _above_sky(_luminance(pixels, scale))
    return Field((width, height), light, scale, sky, _noise(light), find_stars(light, scale))


def _luminance(pixels: NDArray[Any], scale: int) -> Array:
    grey = pixels.astype(np.float32, copy=False)
    if grey.ndim == 3:
        grey = cv2.transform(grey, np.full((1, 3), 1 / 3, np.float32))
    if scale == 2:
        height, width = grey.shape
        grey = cv2.resize(grey[: height & ~1, : width & ~1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    finite = np.isfinite(grey)
    if not finite.any():
        raise FrameError("the frame has no finite pixel")
    return grey if finite.all() else np.where(finite, grey, np.median(grey[finite]))


def _above_sky(grey: Array) -> tuple[Array, Array]:
    """Luminance above the local sky, and every eighth pixel of that sky."""
    sky = _local_sky(grey)
    sparse = sky[::8, ::8].copy()
    # The sky's own memory: several such arrays are much beside the sums of a stack.
    return np.subtract(grey, sky, out=sky), sparse


def _local_sky(grey: Array) -> Array:
    """Smooth median of what lies around, stars left out: of every fourth pixel first, then of cells of them."""
    height, width = grey.shape
    sparse = cv2.medianBlur(np.ascontiguousarray(grey[::_SKY_STEP, ::_SKY_STEP]), 5)
    size = max(1, width // _SKY_CELL), max(1, height // _SKY_CELL)
    cells = cv2.medianBlur(cv2.resize(sparse, size, interpolation=cv2.INTER_AREA), 5)
    return cv2.resize(cells, (width, height), interpolation=cv2.INTER_LINEAR)


def find_stars(light: NDArray[np.float32], scale: int = 1) -> Stars:
    """Local maxima above the sky, measured in Gaussian windows.

    Parameters
    ----------
    light
        ``(h, w)`` float32, finite, above the local sky.
    scale
        What positions and widths are multiplied by.

    Returns
    -------
    Stars
        At most 200, brightest first; saturated ones are among them, hot pixels are not.
    """
    smooth = cv2.GaussianBlur(light, (5, 5), 1.0)
    peaks = (smooth > _DETECTION_SIGMA * _noise(smooth)) & (smooth >= cv2.dilate(smooth, np.ones((5, 5), np.uint8)))
    border = _HALF_WINDOW + 2
    peaks[:border], peaks[-border:], peaks[:, :border], peaks[:, -border:] = False, False, False, False
    rows, columns = np.divmod(np.flatnonzero(peaks), light.shape[1])
    order = np.argsort(-smooth[rows, columns], kind="stable")[: 2 * _MOST_STARS]
    rows, columns = rows[order], columns[order]
    reach = np.arange(-_HALF_WINDOW, _HALF_WINDOW + 1)
    windows = light[rows[:, None, None] + reach[:, None], columns[:, None, None] + reach]
    starlike = _is_wider_than_a_pixel(windows)
    return _measure_windows(windows[starlike], columns[starlike], rows[starlike], scale)


def _is_wider_than_a_pixel(windows: Array) -> NDArray[np.bool_]:
    middle = _HALF_WINDOW
    peak = windows[:, middle, middle]
    around = windows[:, middle - 1 : middle + 2, middle - 1 : middle + 2].sum(axis=(1, 2)) - peak
    wide: NDArray[np.bool_] = around > 8 * _LEAST_NEIGHBOUR * peak
    return wide


def _measure_windows(windows: Array, columns: NDArray[Any], rows: NDArray[Any], scale: int) -> Stars:
    """Centroid and second moments under a Gaussian weight that follows the centroid."""
    reach = np.arange(-_HALF_WINDOW, _HALF_WINDOW + 1, dtype=np.float64)
    count = len(windows)
    x, y = np.zeros(count), np.zeros(count)
    for _ in range(_CENTROID_STEPS):
        dx, dy = reach[None, None] - x[:, None, None], reach[None, :, None] - y[:, None, None]
        weighed = windows * np.exp(-(dx**2 + dy**2) / (2 * _WEIGHT_SIGMA**2))
        total = np.maximum(weighed.sum(axis=(1, 2)), 1e-9)
        # The weight pulls a star's centroid towards its own middle: the more, the wider the star.
        width = (weighed * (dx**2 + dy**2)).sum(axis=(1, 2)) / (2 * total)
        step = 1 / (1 - np.clip(width / _WEIGHT_SIGMA**2, 0, 0.5))
        x = np.clip(x + step * (weighed * dx).sum(axis=(1, 2)) / total, -2, 2)
        y = np.clip(y + step * (weighed * dy).sum(axis=(1, 2)) / total, -2, 2)
    moments = np.empty((count, 2, 2))
    for i, j, product in ((0, 0, dx * dx), (1, 1, dy * dy), (0, 1, dx * dy), (1, 0, dx * dy)):
        moments[:, i, j] = (weighed * product).sum(axis=(1, 2)) / total
    major, minor = _axes(moments)
    flux = windows.sum(axis=(1, 2))
    keep = np.flatnonzero((flux > 0) & (minor > 0) & (major < _LONGEST_STAR * minor))
    keep = keep[np.argsort(-flux[keep], kind="stable")][:_MOST_STARS]
    positions = np.stack([columns + x + 0.5, rows + y + 0.5], axis=1)[keep] * scale
    return Stars(
        positions,
        flux[keep].astype(np.float32),
        (_SIGMA_TO_FWHM * scale * np.sqrt(major * minor))[keep].astype(np.float32),
        (major / np.maximum(minor, 1e-9))[keep].astype(np.float32),
    )


def _axes(moments: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longer and shorter axis (one sigma) of Gaussian stars whose moments under the weight are ``(n, 2, 2)``.

    0 where the noise leaves no star: the product of two Gaussians adds their inverse moments, which undone can turn out
    negative.
    """
    own = np.zeros((len(moments), 2))
    values = np.linalg.eigvalsh(moments)
    solid = (values[:, 0] > 1e-6) & (values[:, 1] < _LARGEST_SHARE * _WEIGHT_SIGMA**2)
    own[solid] = 1 / (1 / values[solid] - 1 / _WEIGHT_SIGMA**2)
    # What averaging over the area of a pixel added.
    own = np.maximum(own - 1 / 12, 0)
    return np.sqrt(own[:, 1]), np.sqrt(own[:, 0])


def _noise(values: Array) -> float:
    """Scaled median absolute deviation of a sample, at least a little above 0."""
    # Numpy sorts several times faster than it partitions, as its own median does.
    sample = np.sort(values.ravel()[:: max(1, values.size // _NOISE_SAMPLES) | 1])
    middle = len(sample) // 2
    sigma = _MAD_TO_SIGMA * float(np.sort(np.abs(sample - sample[middle]))[middle])
    return sigma or float(sample.std()) or 1.0
