"""Windows of pictures of any size as fields of a network's input size: how a detector learns from a user's frames."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgegal.data.boxes import LEAST_VISIBLE
from edgegal.data.fields import Field
from edgegal.preprocess import resize

__all__ = ["clipped", "random_window", "window", "without_small"]

_ON_AN_OBJECT = 0.8
_SCALES = (0.7, 1.4)


def window(scene: Field, left: int, top: int, side: int, size: int, smallest: float = 0.0) -> Field:
    """A square window of a field, resized.

    Parameters
    ----------
    scene
        Any size.
    left, top
        Corner of the window in pixels of the field; it may reach beyond it, where its median colour stands.
    side
        Side of the window in pixels of the field.
    size
        Side of the result.
    smallest
        Longer side below which a box, in pixels of the result, goes to those that count neither way.

    Returns
    -------
    Field
        Boxes cut to the window; those of which less than half is left count neither way.
    """
    height, width = scene.picture.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    canvas = np.empty((side, side, 3), np.uint8)
    canvas[:] = np.median(scene.picture.reshape(-1, 3), axis=0).astype(np.uint8)
    if x0 < x1 and y0 < y1:
        canvas[y0 - top : y1 - top, x0 - left : x1 - left] = scene.picture[y0:y1, x0:x1]
    factor = size / side
    corner = np.array([left, top] * 2, np.float32)
    moved = (scene.boxes - corner) * np.float32(factor)
    inside = np.clip(moved, 0, size)
    sides = inside[:, 2:] - inside[:, :2]
    area = (moved[:, 2:] - moved[:, :2]).prod(axis=1)
    there = (sides > 0).all(axis=1)
    whole = there & (sides.prod(axis=1) >= LEAST_VISIBLE * area) & (sides.max(axis=1, initial=0) >= smallest)
    return Field(
        canvas if side == size else resize(canvas, size, size),
        inside[whole],
        np.concatenate([clipped((scene.ignore - corner) * np.float32(factor), size), inside[there & ~whole]]),
        scene.classes[whole],
        None if scene.magnitudes is None else scene.magnitudes[whole],
        None if scene.pixel_scale is None else scene.pixel_scale / factor,
    )


def clipped(boxes: NDArray[np.float32], limits: float | NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes cut to a picture; those wholly outside are dropped.

    Parameters
    ----------
    boxes
        ``(n, 4)`` x0, y0, x1, y1.
    limits
        Side of the picture, or its width, height, width and height.
    """
    inside = np.clip(boxes, 0, limits)
    seen: NDArray[np.float32] = inside[(inside[:, 2:] > inside[:, :2]).all(axis=1)]
    return seen


def without_small(scene: Field, smallest: float) -> Field:
    """The field with boxes whose longer side is below `smallest` among those that count neither way."""
    small = (scene.boxes[:, 2:] - scene.boxes[:, :2]).max(axis=1, initial=0) < smallest
    return replace(
        scene,
        boxes=scene.boxes[~small],
        ignore=np.concatenate([scene.ignore, scene.boxes[small]]),
        classes=scene.classes[~small],
        magnitudes=None if scene.magnitudes is None else scene.magnitudes[~small],
    )


def random_window(scene: Field, size: int, rng: np.random.Generator, smallest: float = 0.0) -> Field:
    """A window at a random place and magnification: around one of the objects more often than not.

    A picture that is smaller than the window lies anywhere in it, half of the time in its corner, as tiles are padded.
    """
    side = max(8, round(size * float(np.exp(rng.uniform(*np.log(_SCALES))))))
    height, width = scene.picture.shape[:2]
    if len(scene.boxes) and rng.random() < _ON_AN_OBJECT:
        x0, y0, x1, y1 = scene.boxes[int(rng.integers(len(scene.boxes)))]
        # A galaxy larger than the window is shrunk until it fits.
        side = max(side, int(np.ceil(1.1 * max(x1 - x0, y1 - y0))))
        left, top = (_between(high - side, low, rng) for low, high in ((x0, x1), (y0, y1)))
        left, top = (_within(at, side, extent) for at, extent in ((left, width), (top, height)))
    else:
        left, top = (_anywhere(side, extent, rng) for extent in (width, height))
    return window(scene, left, top, side, size, smallest)


def _between(low: float, high: float, rng: np.random.Generator) -> int:
    return int(np.floor(rng.uniform(min(low, high), max(low, high))))


def _within(at: int, side: int, extent: int) -> int:
    """The nearest start that shows no more beyond the picture than needed."""
    return int(np.clip(at, min(0, extent - side), max(0, extent - side)))


def _anywhere(side: int, extent: int, rng: np.random.Generator) -> int:
    if extent <= side:
        return 0 if rng.random() < 0.5 else -int(rng.integers(0, side - extent + 1))
    return int(rng.integers(0, extent - side + 1))
