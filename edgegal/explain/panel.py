"""What explanations look like: a class-activation map over its picture, and sheets of feature maps and filters."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.explain.grid import Grid
from edgegal.frames import View

__all__ = ["filter_sheet", "map_sheet", "overlay", "panel"]

_SIDE = 320
_STRIP = 36
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE = (255, 255, 255)


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
    return np.concatenate(
        [
            _strip(title, 2 * _SIDE),
            np.concatenate([large, overlay(large, heat, Grid(grid.start * scale, grid.step * scale))], axis=1),
        ]
    )


_GAP = 4
_PAPER = 24
_CAPTION = 16

# Enough to see what a layer does; a network of hundreds of channels would make a picture nobody scrolls through.
_MOST_MAPS = 64


def map_sheet(maps: NDArray[np.float32], title: str) -> View:
    """The maps of one layer in a grid, each from its own lowest value (dark) to its highest (bright).

    Parameters
    ----------
    maps
        ``(rows, columns, channels)``; of more than 64 channels the first 64 are drawn. One that is the same everywhere
        is drawn dark.
    title
        Latin letters and digits; how many are drawn is added.

    Returns
    -------
    View
        ``(h, w, 3)`` uint8 RGB.
    """
    channels = min(maps.shape[2], _MOST_MAPS)
    columns = min(8, channels)
    side = int(np.clip(640 // columns - _GAP, 76, 160))
    tiles = [_tinted(maps[:, :, c], side) for c in range(channels)]
    told = f"{channels} of {maps.shape[2]}" if channels < maps.shape[2] else str(channels)
    return _sheet(tiles, [""] * channels, columns, f"{title}: {told} maps of {maps.shape[1]}x{maps.shape[0]}")


def filter_sheet(pictures: View, captions: Sequence[str], title: str) -> View:
    """Pictures ``(n, s, s, 3)`` uint8 RGB in rows of four, a caption below each: ``(h, w, 3)`` uint8 RGB."""
    side = 176
    tiles = [cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC) for picture in pictures]
    return _sheet(tiles, captions, min(4, len(tiles)), title)


def _tinted(cells: NDArray[np.float32], side: int) -> View:
    low, high = float(cells.min()), float(cells.max())
    levels = np.zeros(cells.shape) if high <= low else (cells - low) / (high - low)
    # Cells stay visible: a map of 4 x 4 is one.
    large = cv2.resize(np.rint(levels * 255).astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
    return cv2.cvtColor(cv2.applyColorMap(large, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)


def _strip(title: str, width: int) -> View:
    """A line of text over a picture of a width, smaller where it would not fit."""
    strip = np.zeros((_STRIP, width, 3), np.uint8)
    (needed, _), _ = cv2.getTextSize(title, _FONT, 0.6, 1)
    cv2.putText(strip, title, (8, 24), _FONT, 0.6 * min(1, (width - 16) / max(needed, 1)), _WHITE, 1, cv2.LINE_AA)
    return strip


def _sheet(tiles: Sequence[View], captions: Sequence[str], columns: int, title: str) -> View:
    height, width = tiles[0].shape[:2]
    below = _CAPTION if any(captions) else 0
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (height + below + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), _PAPER, np.uint8)
    for i, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        top = _GAP + (i // columns) * (height + below + _GAP)
        left = _GAP + (i % columns) * (width + _GAP)
        sheet[top : top + height, left : left + width] = tile
        cv2.putText(sheet, caption, (left + 2, top + height + 12), _FONT, 0.38, _WHITE, 1, cv2.LINE_AA)
    return np.concatenate([_strip(title, sheet.shape[1]), sheet])
