"""Cosmetic correction: hot and dead pixels replaced by their neighbours of the same colour.

Known ones come from the master dark; the rest are recognised in each frame as what no telescope can draw: a pixel far
above all its neighbours, where a star, however sharp, lights them too.
"""

import warnings
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.errors import FrameError
from edgegal.frames import Frame

__all__ = ["Corrected", "CosmeticCorrection", "bad_pixels_of_dark", "hot_pixels"]

Array = NDArray[np.float32]

_DARK_SIGMA = 10.0
_FRAME_SIGMA = 8.0
# Share of a peak, above what lies around it, that its brightest neighbour holds at least, of the sharpest star (width
# at half maximum one pixel) in the middle of a pixel.
_LEAST_SHARE = 0.15
# The eight pixels around, and those of the same Bayer colour beyond: through a narrow filter only they see a star.
_AROUND = (
    *((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)),
    *((-2, 0), (2, 0), (0, -2), (0, 2)),
)
# Window that the light around a peak is taken from.
_REACH = 3
_NOISE_SIDE = 70
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Corrected:
    """A frame without bad pixels.

    Attributes
    ----------
    frame
        The frame, its pixels of the type that came in.
    replaced
        How many pixels were replaced.
    """

    frame: Frame
    replaced: int


@dataclass(frozen=True)
class CosmeticCorrection:
    """Replaces known bad pixels, pixels without a number, and hot ones that the frame itself shows.

    Colour frames pass unchanged: demosaicing has spread their bad pixels.

    Attributes
    ----------
    known
        ``(h, w)`` bool, bad pixels of the sensor, as `bad_pixels_of_dark` finds them; None where they are not known.
    """

    known: NDArray[np.bool_] | None = None

    def __call__(self, frame: Frame) -> Corrected:
        """Correct one frame.

        Raises
        ------
        FrameError
            The frame is not of the size of the known bad pixels.
        """
        if frame.pixels.ndim != 2:
            return Corrected(frame, 0)
        if self.known is not None and self.known.shape != frame.pixels.shape:
            raise FrameError(
                f"the bad pixels have shape {self.known.shape} and {frame.source} {frame.pixels.shape}",
                "take the dark with the same camera, binning and cut",
            )
        step = 2 if frame.bayer else 1
        values = frame.pixels.astype(np.float32, copy=False)
        places = [_lone(values, step)]
        if not cv2.checkRange(values)[0]:
            places.append(np.flatnonzero(~np.isfinite(values)))
        if self.known is not None:
            places.append(np.flatnonzero(self.known))
        bad = np.unique(np.concatenate(places))
        if not len(bad):
            return Corrected(frame, 0)
        rows, columns = np.divmod(bad, values.shape[1])
        pixels = frame.pixels.copy()
        without = values.copy()
        without[rows, columns] = np.nan
        mended = _neighbours(without, rows, columns, step)
        pixels[rows, columns] = np.rint(mended) if pixels.dtype.kind in "ui" else mended
        return Corrected(replace(frame, pixels=pixels), len(rows))


def hot_pixels(values: NDArray[np.float32], step: int = 1) -> NDArray[np.bool_]:
    """Pixels that stand alone.

    Parameters
    ----------
    values
        ``(h, w)`` float32.
    step
        Pixels from one to the next of the same colour: 2 for a Bayer frame, else 1.

    Returns
    -------
    array
        ``(h, w)`` bool. False for pixels that are not finite.
    """
    hot = np.zeros(values.shape, bool)
    hot.ravel()[_lone(values, step)] = True
    return hot


def _lone(values: Array, step: int) -> NDArray[np.intp]:
    """Flat indices of the pixels that stand alone."""
    even, sigma = _evened(values, step)
    threshold = np.float32(_FRAME_SIGMA * sigma)
    # Far fewer pixels stand above the median of nine than a maximum of neighbours would have to be taken for.
    standing = np.flatnonzero(cv2.subtract(even, cv2.medianBlur(even, 3)) > threshold)
    rows, columns = np.divmod(standing, even.shape[1])
    highest = np.max([_at(even, rows + y, columns + x) for y, x in _AROUND], axis=0)
    apart = even[rows, columns] - highest > threshold
    rows, columns, highest = rows[apart], columns[apart], highest[apart]
    reach = np.arange(-_REACH, _REACH + 1)
    windows = _at(even, rows[:, None, None] + reach[:, None], columns[:, None, None] + reach)
    around = np.median(windows.reshape(-1, len(reach) ** 2), axis=1)
    return standing[apart][highest - around < _LEAST_SHARE * (even[rows, columns] - around)]


def _at(values: Array, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Array:
    """Values of pixels, mirrored beyond the borders."""
    (last_row, last_column) = (side - 1 for side in values.shape)
    rows = np.maximum(last_row - np.abs(last_row - np.abs(rows)), 0)
    picked: Array = values[rows, np.maximum(last_column - np.abs(last_column - np.abs(columns)), 0)]
    return picked


def _evened(values: Array, step: int) -> tuple[Array, float]:
    """The frame with the sky of each colour at 0, finite, and the noise of its pixels."""
    even = np.empty_like(values)
    deviations = []
    for y in range(step):
        skies = []
        for x in range(step):
            cell = values[y::step, x::step]
            sample = cell[:: max(1, cell.shape[0] // _NOISE_SIDE), :: max(1, cell.shape[1] // _NOISE_SIDE)]
            sample = sample[np.isfinite(sample)]
            skies.append(np.median(sample) if len(sample) else np.float32(0))
            deviations.append(np.abs(sample - skies[-1]))
        # Whole rows: numpy is slow along every second pixel.
        np.subtract(values[y::step], np.resize(np.array(skies, np.float32), values.shape[1]), out=even[y::step])
    cv2.patchNaNs(even, 0.0)
    spread = np.concatenate(deviations)
    sigma = _MAD_TO_SIGMA * float(np.median(spread)) if len(spread) else 0.0
    return even, sigma or float(spread.std() if len(spread) else 0) or 1.0


def _neighbours(values: Array, rows: NDArray[np.intp], columns: NDArray[np.intp], step: int) -> Array:
    """Median of the eight nearest pixels of the same colour; the frame's median where none of them has a number."""
    height, width = values.shape
    around = [(y, x) for y in (-step, 0, step) for x in (-step, 0, step) if (y, x) != (0, 0)]
    found = np.full((len(around), len(rows)), np.nan, np.float32)
    for line, (y, x) in zip(found, around, strict=True):
        inside = (rows + y >= 0) & (rows + y < height) & (columns + x >= 0) & (columns + x < width)
        line[inside] = values[rows[inside] + y, columns[inside] + x]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All-NaN slice")
        middle: Array = np.nanmedian(found, axis=0)
        middle[np.isnan(middle)] = np.nanmedian(values[::step, ::step])
    return middle


def bad_pixels_of_dark(dark: NDArray[np.float32], step: int = 1) -> NDArray[np.bool_]:
    """Hot and dead pixels of a sensor: those far from their neighbours of the same colour in a master dark.

    Parameters
    ----------
    dark
        ``(h, w)`` float32.
    step
        2 for a Bayer sensor, else 1.

    Returns
    -------
    array
        ``(h, w)`` bool; pixels that are not finite are bad.
    """
    bad = ~np.isfinite(dark)
    for y in range(step):
        for x in range(step):
            cell = np.ascontiguousarray(dark[y::step, x::step], np.float32)
            cv2.patchNaNs(cell, float(np.nanmedian(cell)))
            away = np.abs(cell - cv2.medianBlur(cell, 5))
            sigma = _MAD_TO_SIGMA * float(np.median(away)) or float(away.std()) or 1.0
            bad[y::step, x::step] |= away > _DARK_SIGMA * sigma
    return bad
