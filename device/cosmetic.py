"""Cosmetic correction: hot and dead pixels replaced by their neighbours of the same colour.

Known ones come from the master dark; the rest are recognised in each frame as what no telescope can draw: a pixel far
above all its neighbours, where a star, however sharp, lights them too.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

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
# Pixels looked at at a time: what they pass through stays in the cache of a small computer.
_BLOCK_PIXELS = 1 << 15
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


class CosmeticCorrection:
    """Replaces known bad pixels, pixels without a number, and hot ones that the frame itself shows.

    Colour frames pass unchanged: demosaicing has spread their bad pixels.

    Parameters
    ----------
    known
        ``(h, w)`` bool, bad pixels of the sensor, as `bad_pixels_of_dark` finds them; None where they are not known.
    """

    def __init__(self, known: NDArray[np.bool_] | None = None) -> None:
        self._shape = known.shape if known is not None else None
        self._known = np.flatnonzero(known) if known is not None else np.zeros(0, np.intp)

    def __call__(self, frame: Frame, overwrite: bool = False) -> Corrected:
        """Correct one frame.

        Parameters
        ----------
        frame
            Raw, linear.
        overwrite
            Whether its pixels may be changed in place: nobody else needs them.

        Raises
        ------
        FrameError
            The frame is not of the size of the known bad pixels.
        """
        if frame.pixels.ndim != 2:
            return Corrected(frame, 0)
        if self._shape not in (None, frame.pixels.shape):
            raise FrameError(
                f"the bad pixels have shape {self._shape} and {frame.source} {frame.pixels.shape}",
                "take the dark with the same camera, binning and cut",
            )
        evened = _Evened.of(frame.pixels, 2 if frame.bayer else 1)
        bad = np.unique(np.concatenate([*evened.lone_and_missing(), self._known]))
        if not len(bad):
            return Corrected(frame, 0)
        mended = _neighbours(frame.pixels, bad, evened.step)
        pixels = frame.pixels if overwrite else frame.pixels.copy()
        # Not through a flat view: pixels that lie otherwise in memory, such as upside down, have none.
        pixels.flat[bad] = np.rint(mended) if pixels.dtype.kind in "ui" else mended
        return Corrected(replace(frame, pixels=pixels), len(bad))


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
    lone, _ = _Evened.of(values, step).lone_and_missing()
    hot.ravel()[lone] = True
    return hot


@dataclass(frozen=True)
class _Evened:
    """A frame with the sky of each colour at 0, and without pixels that are no number.

    Attributes
    ----------
    pixels
        ``(h, w)``, any real dtype.
    skies
        ``(step, step)`` float32 sky of each place in a cell.
    sigma
        Noise of the pixels.
    """

    pixels: NDArray[Any]
    skies: Array
    sigma: float

    @classmethod
    def of(cls, pixels: NDArray[Any], step: int) -> "_Evened":
        skies = np.zeros((step, step), np.float32)
        deviations = []
        for y, x in np.ndindex(step, step):
            cell = pixels[y::step, x::step]
            sample = cell[:: max(1, cell.shape[0] // _NOISE_SIDE), :: max(1, cell.shape[1] // _NOISE_SIDE)]
            sample = sample[np.isfinite(sample)].astype(np.float32)
            skies[y, x] = np.median(sample) if len(sample) else 0
            deviations.append(np.abs(sample - skies[y, x]))
        spread = np.concatenate(deviations)
        sigma = _MAD_TO_SIGMA * float(np.median(spread)) if len(spread) else 0.0
        return cls(pixels, skies, sigma or float(spread.std() if len(spread) else 0) or 1.0)

    @property
    def step(self) -> int:
        """Pixels from one to the next of the same colour."""
        return len(self.skies)

    def lone_and_missing(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Flat indices of the pixels that stand alone, and of those that are no number."""
        threshold = np.float32(_FRAME_SIGMA * self.sigma)
        standing, missing = [], []
        for inner, top, rows, gaps in self._strips():
            # Far fewer pixels stand above the median of nine than a maximum of neighbours would have to be taken for.
            above = cv2.subtract(rows[inner], cv2.medianBlur(rows, 3)[inner])
            first = top * self.pixels.shape[1]
            standing.append(np.flatnonzero(above > threshold) + first)
            missing.append(gaps + first)
        return self._alone(np.concatenate(standing), threshold), np.concatenate(missing)

    def _strips(self) -> Iterator[tuple[slice, int, Array, NDArray[np.intp]]]:
        """Rows within some more above and below, the first of them, all these, and which of them are no number."""
        height, width = self.pixels.shape
        # Whole cells, so that the sky of one strip is that of all.
        count = max(1, _BLOCK_PIXELS // width // self.step) * self.step
        sky = np.tile(self.skies, (count // self.step + 2, -(-width // self.step)))[:, :width]
        for top in range(0, height, count):
            bottom = min(top + count, height)
            first, last = max(top - self.step, 0), min(bottom + self.step, height)
            rows = np.subtract(self.pixels[first:last], sky[: last - first], dtype=np.float32, casting="unsafe")
            gaps = np.zeros(0, np.intp)
            # The sum of the squares is a number only if all of them are.
            if not np.isfinite(np.vdot(rows, rows)):
                gaps = np.flatnonzero(~np.isfinite(rows[top - first : bottom - first]))
                cv2.patchNaNs(rows, 0.0)
            yield slice(top - first, bottom - first), top, rows, gaps

    def _alone(self, places: NDArray[np.intp], threshold: np.float32) -> NDArray[np.intp]:
        rows, columns = np.divmod(places, self.pixels.shape[1])
        peak = self._at(rows, columns)
        highest = np.max([self._at(rows + y, columns + x) for y, x in _AROUND], axis=0)
        apart = peak - highest > threshold
        places, rows, columns, peak, highest = (values[apart] for values in (places, rows, columns, peak, highest))
        reach = np.arange(-_REACH, _REACH + 1)
        windows = self._at(rows[:, None, None] + reach[:, None], columns[:, None, None] + reach)
        around = np.median(windows.reshape(-1, len(reach) ** 2), axis=1)
        lone: NDArray[np.intp] = places[highest - around < _LEAST_SHARE * (peak - around)]
        return lone

    def _at(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Array:
        """Values of pixels, mirrored beyond the borders."""
        last_row, last_column = (side - 1 for side in self.pixels.shape)
        rows = np.maximum(last_row - np.abs(last_row - np.abs(rows)), 0)
        columns = np.maximum(last_column - np.abs(last_column - np.abs(columns)), 0)
        values = self.pixels[rows, columns].astype(np.float32) - self.skies[rows % self.step, columns % self.step]
        return np.where(np.isnan(values), np.float32(0), values)


def _neighbours(pixels: NDArray[Any], bad: NDArray[np.intp], step: int) -> Array:
    """Median of the eight nearest good pixels of the same colour; the frame's median where there is none.

    Parameters
    ----------
    pixels
        ``(h, w)``, any real dtype.
    bad
        Rising flat indices, those of all pixels that are no number among them.
    step
        Pixels from one to the next of the same colour.
    """
    height, width = pixels.shape
    rows, columns = np.divmod(bad, width)
    around = [(y, x) for y in (-step, 0, step) for x in (-step, 0, step) if (y, x) != (0, 0)]
    found = np.full((len(around), len(bad)), np.nan, np.float32)
    for line, (y, x) in zip(found, around, strict=True):
        inside = (rows + y >= 0) & (rows + y < height) & (columns + x >= 0) & (columns + x < width)
        places = bad[inside] + y * width + x
        known = bad[np.minimum(np.searchsorted(bad, places), len(bad) - 1)] == places
        line[inside] = np.where(known, np.float32(np.nan), pixels.ravel()[places])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All-NaN slice")
        middle: Array = np.nanmedian(found, axis=0)
        lost = np.isnan(middle)
        if lost.any():
            middle[lost] = np.nanmedian(pixels[::step, ::step])
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
