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

__all__ = ["Slicing", "detect_sliced", "offsets", "pyramid"]


@dataclass(frozen=True)
class Slicing:
    """How a frame is cut.

    Attributes
    ----------
    tile
        Side of the square tile in pixels: the network's input.
    overlap
        Pixels neighbouring tiles share at least; the largest box sure to lie whole in some tile of its level.
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


def _padded(picture: View, tile: int) -> View:
    height, width = picture.shape[:2]
    if height >= tile and width >= tile:
        return picture
    canvas = np.empty((max(height, tile), max(width, tile), 3), np.uint8)
    canvas[:] = np.median(picture.reshape(-1, 3), axis=0).astype(np.uint8)
    canvas[:height, :width] = picture
    return canvas


def _cut_at_seam(found: Detections, left: int, top: int, tile: int, width: int, height: int) -> Detections:
    """Drop boxes that touch a tile border inside the picture: the neighbour or the next level sees them whole."""
    margin = 1.0
    x0, y0, x1, y1 = found.boxes.T
    cut = (
        ((left > 0) & (x0 < margin))
        | ((top > 0) & (y0 < margin))
        | ((left + tile < width) & (x1 > tile - margin))
        | ((top + tile < height) & (y1 > tile - margin))
    )
    return found.select(~cut)


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
    parts = []
    for scale, picture in pyramid(view, slicing.tile):
        height, width = picture.shape[:2]
        padded = _padded(picture, slicing.tile)
        for top in offsets(height, slicing.tile, slicing.overlap):
            for left in offsets(width, slicing.tile, slicing.overlap):
                found = detect(padded[top : top + slicing.tile, left : left + slicing.tile])
                found = _cut_at_seam(found, left, top, slicing.tile, width, height)
                parts.append(found.moved(left * scale, top * scale, scale))
    merged = Detections.concatenate(parts).clipped(view.shape[1], view.shape[0])
    return _absorb_parts(non_maximum_suppression(merged, slicing.iou, slicing.limit))
