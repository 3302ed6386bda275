"""Detection on frames larger than the network: a scale pyramid of overlapping tiles.

Every level shrinks the frame until it fits one tile, so a galaxy of any size appears once at a size the network knows.
The last tile of a row or column is moved inward instead of being padded or shrunk.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import cv2
import numpy as np

from edgegal.detections import Detections, contained, non_maximum_suppression, weighted_box_fusion
from edgegal.frames import View
from edgegal.preprocess import resize

__all__ = ["Merge", "Slicing", "Tile", "detect_sliced", "level_sizes", "offsets", "tiles"]

_SEAM_PX = 4.0
_SEAM_SHARE = 0.1
"""A box ending nearer to a seam than either, in pixels of its tile or in its longer side, is taken for cut: networks
place edges that well, and no better on what they do not see whole."""

_SHRINK = (2.0, 2.5)
"""From level to level a frame shrinks by the first, or by up to the second where that saves tiles. What is just too
large for the overlap of one level is then still two fifths of it at the next."""

_LAST_SHARE = 0.75
"""Of a tile, what the frame is shrunk to at last: networks know a galaxy that fills a tile less well than one with
room around it."""

_LARGE_SHARE = 0.6
"""Of the frame, what a box is long at least that counts from there: smaller galaxies were seen better before."""

_MEDIAN_SIDE = 64
"""Pixels along each side of what the colour beyond the edges is taken from."""

_PART = 0.8
"""Share of a box inside another from which on it may be a part of the other."""

_SAME_OBJECT = 4.0
"""Boxes inside each other and less different in area than this are two views of one galaxy; a companion is smaller."""


Merge: TypeAlias = Literal["nms", "wbf"]
"""How boxes of neighbouring tiles and levels become one: the best is kept, or they are fused by weight."""


@dataclass(frozen=True)
class Slicing:
    """How a frame is cut, and how what was found in the tiles is joined.

    Attributes
    ----------
    tile
        Side of the square tile in pixels: the network's input.
    overlap
        Pixels neighbouring tiles share at least. Four fifths of it is the largest box sure to lie in some tile of its
        level clear of the seams; larger ones do so at a later level.
    iou
        Overlap above which two boxes from different tiles or levels are one galaxy.
    limit
        Detections kept per frame.
    merge
        Of the boxes of one galaxy, ``nms`` keeps the best-scoring, ``wbf`` takes the weighted mean.
    levels
        Levels of the pyramid at most, the finest first; as many as it takes to fit one tile with room around the frame
        when None. With fewer,
        galaxies larger than the overlap of the last can be lost.
    zoom
        How many times the finest level is enlarged: 2 for galaxies smaller than the network knows, at four times the
        tiles.
    """

    tile: int
    overlap: int = 64
    iou: float = 0.45
    limit: int = 300
    merge: Merge = "nms"
    levels: int | None = None
    zoom: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.tile:
            raise ValueError(f"overlap {self.overlap} must be at least 0 and below the tile side {self.tile}")
        if self.merge not in ("nms", "wbf"):
            raise ValueError(f"merge {self.merge!r} must be nms or wbf")
        if self.levels is not None and self.levels < 1:
            raise ValueError(f"levels {self.levels} must be at least 1")
        if self.zoom < 1:
            raise ValueError(f"zoom {self.zoom} must be at least 1")


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
        Frame pixels per level pixel, x and y: not quite equal where a side was rounded.
    again
        Whether it shows a frame that fitted one tile before once more, for the largest galaxies alone.
    """

    pixels: View
    left: int
    top: int
    width: int
    height: int
    scale: tuple[float, float]
    again: bool = False

    def whole(self, found: Detections) -> Detections:
        """Without the boxes that reach a seam: a neighbour or the next level sees those galaxies whole.

        From the last level large boxes alone: the others are from the levels before.
        """
        side = self.pixels.shape[0]
        if self.again:
            found = found.select(found.sizes.max(axis=1, initial=0) >= _LARGE_SHARE * max(self.width, self.height))
        margin = np.maximum(_SEAM_PX, _SEAM_SHARE * found.sizes.max(axis=1, initial=0))
        x0, y0, x1, y1 = found.boxes.T
        cut = (
            ((self.left > 0) & (x0 < margin))
            | ((self.top > 0) & (y0 < margin))
            | ((self.left + side < self.width) & (x1 > side - margin))
            | ((self.top + side < self.height) & (y1 > side - margin))
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


def level_sizes(width: int, height: int, slicing: Slicing) -> list[tuple[int, int]]:
    """Width and height of every level of the pyramid over a frame, the finest first.

    The last one but one fits one tile, the last one leaves room there.
    """
    sizes = [(width * slicing.zoom, height * slicing.zoom)]
    while max(sizes[-1]) > slicing.tile and len(sizes) != slicing.levels:
        sizes.append(_next_size(*sizes[-1], slicing))
    room = max(sizes[-1]) / (_LAST_SHARE * slicing.tile)
    if room > 1 and len(sizes) != slicing.levels:
        sizes.append(_shrunk(*sizes[-1], room))
    return sizes


def _next_size(width: int, height: int, slicing: Slicing) -> tuple[int, int]:
    """The next coarser size: one tile if that is near enough, else the one of fewest tiles."""
    least, most = _SHRINK
    fit = max(width, height) / slicing.tile
    if fit <= most:
        return _shrunk(width, height, fit)
    # Only where a side is covered by whole steps does shrinking it further save a tile.
    step = slicing.tile - slicing.overlap
    snug = [side / covered for side in (width, height) for covered in range(slicing.tile, side, step)]
    choices = [least, *sorted(s for s in snug if least < s <= most)]
    return min((_shrunk(width, height, s) for s in choices), key=lambda size: _tile_count(size, slicing))


def _shrunk(width: int, height: int, factor: float) -> tuple[int, int]:
    return max(1, round(width / factor)), max(1, round(height / factor))


def _tile_count(size: tuple[int, int], slicing: Slicing) -> int:
    across, down = (len(offsets(side, slicing.tile, slicing.overlap)) for side in size)
    return across * down


def tiles(view: View, slicing: Slicing) -> Iterator[Tile]:
    """All tiles of all levels of a view, the finest first, row by row."""
    side = slicing.tile
    picture = view
    for level, (width, height) in enumerate(level_sizes(view.shape[1], view.shape[0], slicing)):
        scale = (view.shape[1] / width, view.shape[0] / height)
        # Levels but the first are as large as one tile at least, save this one.
        again = level > 0 and max(width, height) < side
        # From level to level: each is an average over the same area of the frame, of far fewer pixels.
        picture = _resized(view if max(scale) <= 1 else picture, height, width)
        padded = _padded(picture, side)
        for top in offsets(height, side, slicing.overlap):
            for left in offsets(width, side, slicing.overlap):
                yield Tile(padded[top : top + side, left : left + side], left, top, width, height, scale, again)


def _resized(picture: View, height: int, width: int) -> View:
    """Resized, by halves first, and what is left of the way bilinearly: many times faster than averaging all of it.

    Bilinear shrinking by less than two leaves no pixel out.
    """
    while picture.shape[0] >= 2 * height and picture.shape[1] >= 2 * width:
        picture = resize(picture, picture.shape[0] // 2, picture.shape[1] // 2)
    if picture.shape[:2] == (height, width):
        return picture
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)


def _padded(picture: View, tile: int) -> View:
    height, width = picture.shape[:2]
    if height >= tile and width >= tile:
        return picture
    canvas = np.empty((max(height, tile), max(width, tile), 3), np.uint8)
    down, across = max(1, height // _MEDIAN_SIDE), max(1, width // _MEDIAN_SIDE)
    canvas[:] = np.median(picture[::down, ::across].reshape(-1, 3), axis=0).astype(np.uint8)
    canvas[:height, :width] = picture
    return canvas


def _is_plain(picture: View) -> bool:
    """Whether all of a picture has one colour."""
    # Most pictures say no in their first row, and numpy is slow along an axis of three.
    return not (picture[0] != picture[0, 0]).any() and not (picture != picture[0, 0]).any()


def _absorb(found: Detections) -> Detections:
    """Drop the worse-scoring of two boxes of which one lies mostly inside the other, if they can be one galaxy.

    That is a knot in a galaxy another level saw whole, or one galaxy that two levels measured differently. A
    better-scoring companion in the halo of a large galaxy stays beside it. Best first; of equal scores the larger is
    the better.
    """
    areas = found.sizes.prod(axis=1)
    order = np.lexsort((-areas, -found.scores))
    found, areas = found.select(order), areas[order]
    inside = contained(found.boxes, found.boxes)
    larger = areas[None] > areas[:, None]
    twin = (inside.T > _PART) & ~larger & (areas[:, None] < _SAME_OBJECT * areas[None])
    same = (found.classes[:, None] == found.classes) & ((inside > _PART) & larger | twin)
    keep = np.ones(len(found), bool)
    for i in range(len(found)):
        keep[i] = not (same[i, :i] & keep[:i]).any()
    return found.select(keep)


def detect_sliced(view: View, detect: Callable[[View], Detections], slicing: Slicing) -> Detections:
    """Run `detect` on every tile of every pyramid level and merge.

    Parameters
    ----------
    view
        ``(h, w, 3)`` uint8 RGB, any size.
    detect
        Maps one ``(tile, tile, 3)`` picture to detections in its pixels. Not asked about tiles of a single colour.
    slicing
        The cut.

    Returns
    -------
    Detections
        In pixels of `view`, best first.
    """
    # Networks see things in a tile of one colour, a saturated frame or the border of a stack: nothing is there.
    seen = ((tile, detect(tile.pixels)) for tile in tiles(view, slicing) if not _is_plain(tile.pixels))
    # Of most tiles nothing comes.
    parts = [tile.in_frame(tile.whole(found)) for tile, found in seen if len(found)]
    found = Detections.concatenate(parts).clipped(view.shape[1], view.shape[0])
    merge = non_maximum_suppression if slicing.merge == "nms" else weighted_box_fusion
    joined = _absorb(merge(found, slicing.iou, len(found)))
    return joined.select(np.arange(len(joined)) < slicing.limit)
