"""Detection on frames larger than the network: a scale pyramid of overlapping tiles.

Every level halves the frame until it fits one tile, so a galaxy of any size appears once at a size the network knows.
The last tile of a row or column is moved inward instead of being padded or shrunk.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from edgegal.detections import Detections, non_maximum_suppression
from edgegal.frames import View
from edgegal.preprocess import resize

__all__ = ["Slicing", "Tile", "detect_sliced", "offsets", "pyramid", "tiles"]

_SEAM = 4
"""A box ending this near to a seam, in pixels of its tile, is taken for cut: networks place edges that well."""


@dataclass(frozen=True)
class Slicing:
    """How a frame is cut.

    Attributes
    ----------
    tile
        Side of the square tile in pixels: the network's input.
    overlap
        Pixels neighbouring tiles share at least; the largest box sure to lie whole in some tile of its level, clear of
        the seams where the tile has room for that.
    iou
        Overlap above which two boxes from different tiles or levels are one galaxy.
    limit
        Detections kept per frame.
    """

    tile: int
    overlap: int = 64
    iou: float = 0.45
    limit: int = 300

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.tile:
            raise ValueError(f"overlap {self.overlap} must be at least 0 and below the tile side {self.tile}")


@dataclass(frozen=True)
class Tile:
    """One cut of one pyramid level.

    Attributes
    ----------
    pixels
        ``(tile, tile, 3)`` uint8 RGB; beyond the level's right and lower edge its median colour.
    left, top
        Place in the level, in its pixels.
    width, height
        Size of the whole level.
    scale
        Frame pixels per level pixel, x and y: not quite a power of two where halving rounded.
    """

    pixels: View
    left: int
    top: int
    width: int
    height: int
    scale: tuple[float, float]

    def whole(self, found: Detections) -> Detections:
        """Without the boxes that reach a seam: a neighbour or the next level sees those galaxies whole."""
        side = self.pixels.shape[0]
        x0, y0, x1, y1 = found.boxes.T
        cut = (
            ((self.left > 0) & (x0 < _SEAM))
            | ((self.top > 0) & (y0 < _SEAM))
            | ((self.left + side < self.width) & (x1 > side - _SEAM))
            | ((self.top + side < self.height) & (y1 > side - _SEAM))
        )
        return found.select(~cut)

    def in_frame(self, found: Detections) -> Detections:
        """Boxes in pixels of this tile as boxes in pixels of the frame."""
        corner = np.array([self.left, self.top] * 2, np.float32)
        return Detections((found.boxes + corner) * np.array(self.scale * 2, np.float32), found.scores, found.classes)


def offsets(extent: int, tile: int, overlap: int) -> list[int]:
    """Starts of tiles that cover `extent` pixels; the last one ends at the edge."""
    if extent <= tile:
        return [0]
    steps = -(-(extent - tile) // (tile - overlap))
    return [round(i * (extent - tile) / steps) for i in range(steps + 1)]


def pyramid(view: View, tile: int) -> Iterator[tuple[float, View]]:
    """Pairs of (scale back to the frame, picture), from full size down to the first that fits one tile."""
    scale = 1.0
    level = view
    while True:
        yield scale, level
        height, width = level.shape[:2]
        if max(height, width) <= tile:
            return
        scale *= 2
        level = resize(level, max(1, round(view.shape[0] / scale)), max(1, round(view.shape[1] / scale)))


def tiles(view: View, slicing: Slicing) -> Iterator[Tile]:
    """All tiles of all levels of a view, full size first, row by row."""
    side = slicing.tile
    # A box of `overlap` pixels clears the seams on both sides.
    shared = min(slicing.overlap + 2 * _SEAM, max(slicing.overlap, side // 2))
    for _, picture in pyramid(view, side):
        height, width = picture.shape[:2]
        scale = (view.shape[1] / width, view.shape[0] / height)
        padded = _padded(picture, side)
        for top in offsets(height, side, shared):
            for left in offsets(width, side, shared):
                yield Tile(padded[top : top + side, left : left + side], left, top, width, height, scale)


def _padded(picture: View, tile: int) -> View:
    height, width = picture.shape[:2]
    if height >= tile and width >= tile:
        return picture
    canvas = np.empty((max(height, tile), max(width, tile), 3), np.uint8)
    canvas[:] = np.median(picture.reshape(-1, 3), axis=0).astype(np.uint8)
    canvas[:height, :width] = picture
    return canvas


def _absorb_parts(found: Detections, share: float = 0.7) -> Detections:
    """Drop boxes lying mostly inside a better-scoring larger one: knots of a galaxy another level saw whole."""
    keep = np.ones(len(found), bool)
    areas = found.sizes.prod(axis=1)
    for i in range(len(found)):
        corner0 = np.maximum(found.boxes[i, :2], found.boxes[:, :2])
        corner1 = np.minimum(found.boxes[i, 2:], found.boxes[:, 2:])
        overlap = np.clip(corner1 - corner0, 0, None).prod(axis=1)
        inside = (overlap > share * areas[i]) & (areas > areas[i]) & (found.scores >= found.scores[i])
        keep[i] = not inside.any()
    return found.select(keep)


def detect_sliced(view: View, detect: Callable[[View], Detections], slicing: Slicing) -> Detections:
    """Run `detect` on every tile of every pyramid level and merge.

    Parameters
    ----------
    view
        ``(h, w, 3)`` uint8 RGB, any size.
    detect
        Maps one ``(tile, tile, 3)`` picture to detections in its pixels.
    slicing
        The cut.

    Returns
    -------
    Detections
        In pixels of `view`, best first.
    """
    parts = [tile.in_frame(tile.whole(detect(tile.pixels))) for tile in tiles(view, slicing)]
    merged = Detections.concatenate(parts).clipped(view.shape[1], view.shape[0])
    return _absorb_parts(non_maximum_suppression(merged, slicing.iou, slicing.limit))
