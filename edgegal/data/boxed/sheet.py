"""A picture of pictures with their boxes: some of each class under its name."""

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.data.boxed.boxed_set import BoxedSet
from edgegal.data.fields import Field
from edgegal.errors import DatasetError
from edgegal.frames import View
from edgegal.preprocess import resize

__all__ = ["boxed_sheet"]

_LINES = 3
"""Lines of pictures a class, at most."""

_WIDTH = 1152
_SIDES = (192, 576)
"""Shortest and longest longer side of one picture on the sheet, pixels."""

_LEAST_OUTLINE = 8
"""Outlines of what is smaller on the sheet are drawn around it, pixels: a galaxy would vanish under its box."""

_GAP = 2
_HEADER = 22
_PAPER = 40
_INK = (235, 235, 235)
_GREY = (150, 150, 150)
# Told apart by colour-blind eyes, and from the blue and yellow of galaxies; more classes begin again.
_COLOURS = ((80, 220, 120), (240, 140, 40), (90, 180, 255), (230, 120, 220), (250, 230, 90))


def boxed_sheet(boxed: BoxedSet, seed: int = 0) -> View:
    """Some pictures with a box of each class, and some without a box, drawn by chance.

    Each class has its colour; ignored boxes are grey.

    Parameters
    ----------
    boxed
        At least one picture.
    seed
        Of the draw.

    Returns
    -------
    View
        ``(h, w, 3)`` uint8 RGB.

    Raises
    ------
    DatasetError
        There are no pictures, or most of a class cannot be read.
    """
    if not len(boxed):
        raise DatasetError(f"{boxed.name} has no such pictures", "choose another split")
    rng = np.random.default_rng(seed)
    side = int(np.clip(max(max(truth.size) for truth in boxed.truths), *_SIDES))
    columns = _WIDTH // side
    rows = []
    for index, label in enumerate(boxed.labels):
        count = sum(int((truth.classes == index).sum()) for truth in boxed.truths)
        having = np.array([index in truth.classes for truth in boxed.truths])
        if count:
            title = f"{label}: {count} on {having.sum()} pictures"
            rows.append(_rows(boxed, having, title, _colour(index), rng, columns, side))
    empty = np.array([not len(truth.boxes) for truth in boxed.truths])
    if empty.any():
        rows.append(_rows(boxed, empty, f"no box: {empty.sum()}", _INK, rng, columns, side))
    return np.concatenate(rows)


def _colour(index: int) -> tuple[int, int, int]:
    return _COLOURS[index % len(_COLOURS)]


def _rows(
    boxed: BoxedSet,
    chosen: NDArray[np.bool_],
    title: str,
    colour: tuple[int, int, int],
    rng: np.random.Generator,
    columns: int,
    side: int,
) -> View:
    drawn = np.sort(rng.permutation(np.flatnonzero(chosen))[: columns * _LINES])
    _, fields = boxed.select(drawn).read()
    pitch = side + _GAP
    sheet = np.full((_HEADER + -(-len(fields) // columns) * pitch, columns * pitch + _GAP, 3), _PAPER, np.uint8)
    cv2.putText(sheet, title, (6, _HEADER - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
    for place, field in enumerate(fields):
        picture = _drawn(field, side)
        top, left = _HEADER + place // columns * pitch, _GAP + place % columns * pitch
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def _drawn(field: Field, side: int) -> View:
    """The picture with its boxes, the longer side `side` pixels long."""
    height, width = field.picture.shape[:2]
    scale = side / max(height, width)
    picture = np.ascontiguousarray(resize(field.picture, max(1, round(height * scale)), max(1, round(width * scale))))
    for box in field.ignore:
        _outline(picture, box * scale, _GREY)
    for box, index in zip(field.boxes, field.classes, strict=True):
        _outline(picture, box * scale, _colour(int(index)))
    return picture


def _outline(picture: View, box: NDArray[np.float32], colour: tuple[int, int, int]) -> None:
    grow = np.maximum(_LEAST_OUTLINE - (box[2:] - box[:2]), 0) / 2
    # Corners lie between pixels: the last pixel of a box is the one before its far corner.
    x0, y0 = np.floor(box[:2] - grow).astype(int).tolist()
    x1, y1 = (np.ceil(box[2:] + grow).astype(int) - 1).tolist()
    cv2.rectangle(picture, (x0, y0), (x1, y1), colour, 1)
