"""A class-activation map drawn over its picture."""

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.explain.grid import Grid
from edgegal.frames import View

__all__ = ["overlay", "panel"]

_SIDE = 320
_STRIP = 36
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def overlay(picture: View, heat: NDArray[np.float32], grid: Grid, strength: float = 0.6) -> View:
    """A picture tinted where its map is high; where the map is 0 it keeps its pixels.

    Parameters
    ----------
    picture
        ``(h, w, 3)`` uint8 RGB.
    heat
        ``(rows, columns)`` 0-1.
    grid
        Where its cells lie, in pixels of `picture`; beyond the outermost they go on.
    strength
        Opacity of the tint at 1.
    """
    height, width = picture.shape[:2]
    # Cell number at the centre of pixel 0, and cells a pixel.
    first, rate = (0.5 - grid.start) / grid.step, 1 / grid.step
    placing = np.array([[rate, 0, first], [0, rate, first]])
    smooth = cv2.warpAffine(
        heat, placing, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    levels = np.rint(smooth * 255).astype(np.uint8)
    tint = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    opacity = (strength * smooth)[..., None]
    mixed: NDArray[np.float32] = picture * (1 - opacity) + tint * opacity
    return np.rint(mixed).astype(np.uint8)


def panel(picture: View, heat: NDArray[np.float32], grid: Grid, title: str) -> View:
    """The picture beside itself with its map, a title above: ``(356, 640, 3)`` uint8 RGB.

    Parameters
    ----------
    picture
        ``(s, s, 3)`` uint8 RGB.
    heat
        ``(rows, columns)`` 0-1.
    grid
        Where its cells lie, in pixels of `picture`.
    title
        Latin letters and digits.
    """
    large = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    scale = _SIDE / picture.shape[0]
    strip = np.zeros((_STRIP, 2 * _SIDE, 3), np.uint8)
    cv2.putText(strip, title, (8, 24), _FONT, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate(
        [strip, np.concatenate([large, overlay(large, heat, Grid(grid.start * scale, grid.step * scale))], axis=1)]
    )
