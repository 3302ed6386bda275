"""Live stacking: the running mean of registered frames.

Translation only, as `edgegal.device.registration` says.
"""

import logging
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.device.registration import Reference, Shift
from edgegal.errors import FrameError
from edgegal.frames import Frame
from edgegal.preprocess import debayer

__all__ = ["LiveStack"]

_log = logging.getLogger(__name__)

# So many frames in a row that do not register mean that the telescope points elsewhere.
_ELSEWHERE_AFTER = 3
# Beyond this share of the frame a drifted field is looked at anew instead of stacked on its last strip.
_LARGEST_DRIFT = 0.25


class LiveStack:
    """Running mean of frames registered to the first.

    Each pixel is the mean of the frames that covered it, each weighted by how much of it they covered; from `depth`
    frames on, the mean forgets the oldest ones gradually. The stack starts anew when the sky has drifted by a quarter
    of the frame, or when three frames in a row do not register.

    Parameters
    ----------
    depth
        Frames that count, at least 1.
    """

    def __init__(self, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"a stack is at least 1 frame deep, not {depth}")
        self.depth = depth
        self._reference: Reference | None = None
        self._mean: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._weight: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._misses = 0

    @property
    def coverage(self) -> NDArray[np.float32]:
        """``(h, w)`` frames that count in each pixel, at most `depth`."""
        return self._weight.copy()

    def add(self, frame: Frame) -> Frame:
        """Stack `frame`.

        Returns
        -------
        Frame
            The stack so far, in the pixels of its first frame and with everything else of `frame`: float32 when
            linear, else uint8. Pixels that no frame covered are NaN.

        Raises
        ------
        FrameError
            The frame does not register; the stack is as before.
        """
        pixels = debayer(frame.pixels, frame.bayer) if frame.bayer and frame.pixels.ndim == 2 else frame.pixels
        shift = self._registered(pixels, frame.source)
        aligned, cover = _aligned(pixels, shift)
        self._weight = np.minimum(self._weight + cover, np.float32(self.depth))
        share = np.divide(cover, self._weight, out=np.zeros_like(cover), where=self._weight > 0)
        self._mean += (aligned - self._mean) * (share if aligned.ndim == 2 else share[..., None])
        return replace(frame, pixels=self._pixels(frame.linear), bayer=None)

    def _registered(self, pixels: NDArray[Any], source: str) -> Shift:
        """The shift of a frame, after starting the stack, anew if need be."""
        if self._reference is not None and pixels.shape == self._mean.shape:
            try:
                shift = self._reference.shift_of(pixels)
            except FrameError as error:
                self._misses += 1
                if self._misses < _ELSEWHERE_AFTER:
                    raise FrameError(f"{source}: {error.message}") from None
            else:
                self._misses = 0
                height, width = pixels.shape[:2]
                if abs(shift.dx) <= _LARGEST_DRIFT * width and abs(shift.dy) <= _LARGEST_DRIFT * height:
                    return shift
            _log.info("%s: the sky has moved on, stacking anew", source)
        self._reference = Reference(pixels)
        self._misses = 0
        self._mean = np.zeros(pixels.shape, np.float32)
        self._weight = np.zeros(pixels.shape[:2], np.float32)
        return Shift(0.0, 0.0, 1.0)

    def _pixels(self, linear: bool) -> NDArray[Any]:
        if not linear:
            return np.rint(self._mean).astype(np.uint8)
        stacked = self._mean.copy()
        stacked[self._weight == 0] = np.nan
        return stacked


def _aligned(pixels: NDArray[Any], shift: Shift) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixels moved back by `shift`, and the share 0-1 of each that was covered by finite ones."""
    values = pixels.astype(np.float32)
    finite = np.isfinite(values)
    values[~finite] = 0
    cover = (finite if finite.ndim == 2 else finite.all(axis=2)).astype(np.float32)
    height, width = cover.shape
    # Maps a pixel of the stack to where it lies in the frame.
    matrix = np.array([[1, 0, shift.dx], [0, 1, shift.dy]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(values, matrix, (width, height), flags=flags)
    moved_cover = cv2.warpAffine(cover, matrix, (width, height), flags=flags)
    # Where cover is partial, zeros from outside were mixed in: undo that.
    divisor = np.maximum(moved_cover, np.float32(1e-6))
    moved /= divisor if moved.ndim == 2 else divisor[..., None]
    return moved, moved_cover
