"""How far a frame has moved from another: phase correlation of their luminance.

Translation only: field rotation of an altitude-azimuth mount and changes of scale are not followed.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.errors import FrameError
from edgegal.preprocess import measure_sky

__all__ = ["Reference", "Shift"]

# Longest side correlated. Averaging larger frames down also takes away hot pixels, which do not move with the sky.
_LONGEST_SIDE = 1024
_STAR_SIGMA = 4.0
_SATURATED_SIGMA = 30.0
# Other fields agree below .3 even at their best shift, frames of one field above .8 (real and simulated ones).
_LEAST_AGREEMENT = 0.5
# Pixels of light that a frame needs: the few spikes of pure noise can be matched by chance, three stars cannot.
_LEAST_PIXELS = 40


@dataclass(frozen=True)
class Shift:
    """Movement of the sky between two frames.

    Attributes
    ----------
    dx, dy
        Pixels that the second frame's sky lies right of and below the first's.
    agreement
        Correlation of the two frames' stars once aligned, 0-1.
    """

    dx: float
    dy: float
    agreement: float


class Reference:
    """A frame that others are registered to.

    Parameters
    ----------
    pixels
        ``(h, w)`` or ``(h, w, 3)``, any real dtype, demosaiced.
    """

    def __init__(self, pixels: NDArray[Any]) -> None:
        self._shape = pixels.shape[:2]
        self._stars, self._scale = _stars(pixels)
        height, width = self._stars.shape
        self._window = cv2.createHanningWindow((width, height), cv2.CV_32F)

    def shift_of(self, pixels: NDArray[Any]) -> Shift:
        """Movement of `pixels` against the reference; shifts up to half a frame are told apart.

        Raises
        ------
        FrameError
            The frame has another size, or nothing in common with the reference that could be matched.
        """
        if pixels.shape[:2] != self._shape:
            raise FrameError(f"a frame of {pixels.shape[:2]} pixels does not register to one of {self._shape}")
        stars, _ = _stars(pixels)
        if min(np.count_nonzero(self._stars), np.count_nonzero(stars)) < _LEAST_PIXELS:
            raise FrameError("the frame does not register: no stars")
        # phaseCorrelate multiplies the window into its arguments in place where it need not pad them.
        (dx, dy), _ = cv2.phaseCorrelate(self._stars.copy(), stars.copy(), self._window)
        # The peak's own height says little: a single noise spike shared by chance can answer strongly.
        agreement = _agreement(self._stars, stars, dx, dy)
        if agreement < _LEAST_AGREEMENT:
            raise FrameError(f"the frame does not register: agreement {agreement:.2f} is below {_LEAST_AGREEMENT}")
        return Shift(dx * self._scale, dy * self._scale, agreement)


def _stars(pixels: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    """Background-subtracted luminance in sky sigmas, and the frame pixels to one of its pixels.

    Sky noise is cut to zero and bright stars are limited, so neither the noise nor one star decides.
    """
    grey = pixels.astype(np.float32)
    if grey.ndim == 3:
        grey = grey.mean(axis=2)
    np.nan_to_num(grey, copy=False, nan=float(np.nanmin(grey)), posinf=0.0, neginf=0.0)
    scale = max(1.0, max(grey.shape) / _LONGEST_SIDE)
    if scale > 1:
        size = round(grey.shape[1] / scale), round(grey.shape[0] / scale)
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    # A median of nine takes away single hot pixels, which would answer for a shift of zero.
    grey = cv2.medianBlur(grey, 3)
    sky = measure_sky(grey)
    above = (grey - np.float32(sky.level[0])) / np.float32(sky.sigma)
    stars: NDArray[np.float32] = np.clip(above - np.float32(_STAR_SIGMA), 0, np.float32(_SATURATED_SIGMA))
    return stars, scale


def _agreement(first: NDArray[np.float32], second: NDArray[np.float32], dx: float, dy: float) -> float:
    """Cosine between two star images after moving the second back by dx, dy; 0 when either is empty."""
    height, width = first.shape
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    moved = cv2.warpAffine(second, matrix, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    norm = float(np.linalg.norm(first)) * float(np.linalg.norm(moved))
    return min(1.0, float((first * moved).sum()) / norm) if norm > 0 else 0.0
