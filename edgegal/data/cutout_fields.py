"""Fields of whole survey cutouts: real galaxies on their own sky, boxed as they stand there.

Composed fields have exact boxes and no real sky; cutouts have real sky, and boxes by segmentation. A detector learns
from both. A cutout is shown as a frame smaller than the network's tile is: enlarged or shrunk, beside sky of one colour
where it ends; or four of them share a field.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.data.boxes import LEAST_VISIBLE, SMALLEST_SIDE_PX, Segmentation, segment_cutout
from edgegal.data.fields import Field
from edgegal.data.windows import clipped
from edgegal.frames import View
from edgegal.preprocess import resize

__all__ = ["BoxedCutout", "boxed_cutout", "cutout_field"]

_SCALES = (0.6, 2.0)
_AS_IT_IS = 0.4
_MOSAIC = 0.5


@dataclass(frozen=True, eq=False)
class BoxedCutout:
    """A cutout with its boxes.

    Attributes
    ----------
    picture
        ``(h, w, 3)`` uint8 RGB.
    galaxy
        ``(4,)`` float32 x0, y0, x1, y1 of the galaxy it was made for.
    companions
        ``(n, 4)`` float32 of everything else, stars and galaxies not told apart.
    """

    picture: View
    galaxy: NDArray[np.float32]
    companions: NDArray[np.float32]


def boxed_cutout(picture: View, found: Segmentation | None = None) -> BoxedCutout | None:
    """The cutout with boxes by its segmentation; None when nothing lies at its centre; arguments as of `isolate`."""
    found = found or segment_cutout(picture)
    if found.central is None:
        return None
    return BoxedCutout(picture, found.boxes[found.central], np.delete(found.boxes, found.central, axis=0))


def cutout_field(size: int, cutouts: Sequence[BoxedCutout], rng: np.random.Generator) -> Field:
    """A field of one or four cutouts.

    Parameters
    ----------
    size
        Side of the field in pixels.
    cutouts
        What to draw from.
    rng
        Source of chance.
    """
    if rng.random() >= _MOSAIC:
        return _single(size, cutouts[int(rng.integers(len(cutouts)))], _scale(rng), rng)
    middle = (size * rng.uniform(0.35, 0.65, 2)).astype(int)
    picture = np.zeros((size, size, 3), np.uint8)
    boxes, ignore = [], []
    for x0, x1 in ((0, middle[0]), (middle[0], size)):
        for y0, y1 in ((0, middle[1]), (middle[1], size)):
            cutout = cutouts[int(rng.integers(len(cutouts)))]
            least = max(x1 - x0, y1 - y0) / min(cutout.picture.shape[:2])
            part = _single(max(x1 - x0, y1 - y0), cutout, max(least, _scale(rng)), rng)
            picture[y0:y1, x0:x1] = part.picture[: y1 - y0, : x1 - x0]
            limits = np.array([x1 - x0, y1 - y0] * 2, np.float32)
            kept, dropped = _visible(part.boxes, limits)
            corner = np.array([x0, y0] * 2, np.float32)
            boxes.append(kept + corner)
            ignore += [dropped + corner, clipped(part.ignore, limits) + corner]
    return Field(picture, np.concatenate(boxes), np.concatenate(ignore))


def _scale(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < _AS_IT_IS else float(np.exp(rng.uniform(*np.log(_SCALES))))


def _single(size: int, cutout: BoxedCutout, scale: float, rng: np.random.Generator) -> Field:
    """One cutout at a scale, cut to the field or surrounded by its median colour."""
    height, width = (max(1, round(side * scale)) for side in cutout.picture.shape[:2])
    picture = cutout.picture if scale == 1 else resize(cutout.picture, height, width)
    factor = np.array([width / cutout.picture.shape[1], height / cutout.picture.shape[0]] * 2, np.float32)
    # Where in the field the cutout's corner comes to lie: beyond it when the cutout is larger.
    left, top = (_offset(size - side, rng) for side in (width, height))
    canvas = np.empty((size, size, 3), np.uint8)
    canvas[:] = np.median(picture.reshape(-1, 3), axis=0).astype(np.uint8)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + width, size), min(top + height, size)
    canvas[y0:y1, x0:x1] = picture[y0 - top : y1 - top, x0 - left : x1 - left]
    corner = np.array([left, top] * 2, np.float32)
    limits = np.array([size, size] * 2, np.float32)
    kept, dropped = _visible(cutout.galaxy[None] * factor + corner, limits)
    return Field(canvas, kept, np.concatenate([dropped, clipped(cutout.companions * factor + corner, limits)]))


def _offset(room: int, rng: np.random.Generator) -> int:
    """Half of the smaller ones lie in the corner, as a tile is padded."""
    if room >= 0 and rng.random() < 0.5:
        return 0
    return int(rng.integers(min(room, 0), max(room, 0) + 1))


def _visible(
    boxes: NDArray[np.float32], limits: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes cut to the field: those well enough to be seen, and the others."""
    inside = np.clip(boxes, 0, limits)
    sides = inside[:, 2:] - inside[:, :2]
    share = sides.prod(axis=1) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    good = (share >= LEAST_VISIBLE) & (sides.max(axis=1) >= SMALLEST_SIDE_PX)
    return inside[good], clipped(inside[~good], limits)
