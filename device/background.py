"""The smooth light of the sky: gradients of moon, town and dawn, measured on a coarse mesh and subtracted.

By sep (the background of SExtractor) where it is installed, else by clipped medians of the same mesh.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Background", "measure_background", "subtract_background"]

Array = NDArray[np.float32]

# Small pictures are enough for a smooth thing: the longer side that the mesh is laid on.
_LONGEST_SIDE = 512
# Cells along the longer side: the largest galaxies that fields hold are smaller than two of them.
_CELLS = 8
_CLIP_SIGMA = 3.0
_LEAST_CELLS = 3
_CLIP_ROUNDS = 5
_MAD_TO_SIGMA = 1.4826
# The mode of a skewed distribution, by Pearson's rule as SExtractor takes it.
_MODE_MEDIAN, _MODE_MEAN = 2.5, 1.5


@dataclass(frozen=True)
class Background:
    """Smooth sky of a picture.

    Attributes
    ----------
    level
        ``(h, w)`` or ``(h, w, 3)`` float32, the shape of the picture, in its units.
    typical
        Median of the level per channel.
    """

    level: Array
    typical: tuple[float, ...]


def measure_background(pixels: NDArray[Any], cells: int = _CELLS) -> Background:
    """Measure the smooth sky.

    Parameters
    ----------
    pixels
        ``(h, w)`` or ``(h, w, 3)``, any real dtype, demosaiced; pixels that are not finite take no part.
    cells
        Cells of the mesh along the longer side. More follow steeper gradients, and begin to follow galaxies.
    """
    height, width = pixels.shape[:2]
    shrink = max(1.0, max(height, width) / _LONGEST_SIDE)
    size = max(1, round(width / shrink)), max(1, round(height / shrink))
    values = pixels.astype(np.float32)
    small = cv2.resize(values, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
    cell = max(4, round(max(size) / cells))
    levels = [_channel_level(np.ascontiguousarray(small[..., i]), cell) for i in range(small.shape[2])]
    typical = tuple(float(np.median(level)) for level in levels)
    level = cv2.resize(np.dstack(levels), (width, height), interpolation=cv2.INTER_LINEAR)
    return Background(level.reshape(pixels.shape), typical)


def subtract_background(pixels: NDArray[Any], background: Background) -> Array:
    """Pixels without the unevenness of the sky: float32, at its typical level per channel."""
    flat = pixels.astype(np.float32)
    flat -= background.level
    flat += np.array(background.typical, np.float32)
    return flat


def _channel_level(channel: Array, cell: int) -> Array:
    try:
        import sep
    except ImportError:
        return _mesh_level(channel, cell)
    mask = ~np.isfinite(channel)
    if mask.all():
        return np.zeros_like(channel)
    level: Array = sep.Background(np.nan_to_num(channel), mask=mask, bw=cell, bh=cell, fw=3, fh=3).back(np.float32)
    return level


def _mesh_level(channel: Array, cell: int) -> Array:
    """The mesh by hand: clipped mode of each cell, a median over its neighbours, smooth between."""
    height, width = channel.shape
    rows, columns = max(1, round(height / cell)), max(1, round(width / cell))
    mesh = np.empty((rows, columns), np.float32)
    for y, band in enumerate(np.array_split(channel, rows)):
        for x, part in enumerate(np.array_split(band, columns, axis=1)):
            mesh[y, x] = _mode(part[np.isfinite(part)])
    empty = np.isnan(mesh)
    if empty.all():
        return np.zeros_like(channel)
    mesh[empty] = np.median(mesh[~empty])
    return _between_cells(mesh, width, height)


def _between_cells(mesh: Array, width: int, height: int) -> Array:
    """A median over neighbouring cells, and smooth values between them; gradients go on beyond the outermost ones."""
    if min(mesh.shape) < _LEAST_CELLS:
        return cv2.resize(mesh, (width, height), interpolation=cv2.INTER_LINEAR)
    rows, columns = mesh.shape
    around = np.pad(mesh, 2, mode="reflect", reflect_type="odd")
    smooth = np.ascontiguousarray(cv2.medianBlur(around, 3)[1:-1, 1:-1])
    margin_x, margin_y = round(width / columns), round(height / rows)
    size = width + 2 * margin_x, height + 2 * margin_y
    level = cv2.resize(smooth, size, interpolation=cv2.INTER_CUBIC)
    return level[margin_y : margin_y + height, margin_x : margin_x + width]


def _mode(values: Array) -> float:
    """Mode of the sky among the pixels of a cell after clipping stars away; NaN without pixels."""
    for _ in range(_CLIP_ROUNDS):
        if not len(values):
            return float("nan")
        middle = np.median(values)
        spread = _MAD_TO_SIGMA * np.median(np.abs(values - middle))
        kept = np.abs(values - middle) <= _CLIP_SIGMA * spread
        if kept.all() or spread == 0:
            break
        values = values[kept]
    median, mean = float(np.median(values)), float(values.mean())
    return _MODE_MEDIAN * median - _MODE_MEAN * mean
