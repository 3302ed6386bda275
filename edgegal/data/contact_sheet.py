"""A picture of pictures: some of each class under its name."""

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edgegal.data.pictures import PictureSet
from edgegal.data.summary import NO_LABEL
from edgegal.errors import DatasetError, InputError
from edgegal.frames import View
from edgegal.labels import UNLABELLED

__all__ = ["contact_sheet", "write_png"]

_GAP = 2
_HEADER = 22
_PAPER = 40
_INK = (235, 235, 235)


def contact_sheet(pictures: PictureSet, seed: int = 0, columns: int = 12, side: int = 128) -> View:
    """A row of pictures for each class that has any, drawn by chance, with the strongest vote or the T-type of each.

    Parameters
    ----------
    pictures
        At least one.
    seed
        Of the draw.
    columns
        Pictures a class, at most.
    side
        Side of one picture in pixels.

    Returns
    -------
    View
        ``(h, w, 3)`` uint8 RGB.

    Raises
    ------
    DatasetError
        There are no pictures, or most of a class cannot be read.
    """
    if not len(pictures):
        raise DatasetError(f"{pictures.name} has no such pictures", "choose another split")
    rng = np.random.default_rng(seed)
    names = dict(enumerate(pictures.scheme.labels)) | {UNLABELLED: NO_LABEL}
    rows = []
    for index, name in names.items():
        of_class = np.flatnonzero(pictures.labels == index)
        if len(of_class):
            drawn = np.sort(rng.permutation(of_class)[:columns])
            shown, pixels = pictures.select(drawn).read(side)
            rows.append(_row(f"{name}: {len(of_class)}", pixels, _captions(shown), columns))
    return np.concatenate(rows)


def _captions(pictures: PictureSet) -> list[str]:
    """What is known of each picture beside its class: the strongest vote, or the T-type."""
    if pictures.votes is not None:
        filled = np.nan_to_num(pictures.votes, nan=-1)
        best = filled.argmax(axis=1) if filled.size else []
        return [
            f"{pictures.vote_names[k].removeprefix('Class')} {row[k]:.2f}" if row[k] >= 0 else ""
            for row, k in zip(filled, best, strict=True)
        ]
    if pictures.t_types is not None:
        return [f"T {t:g}" if np.isfinite(t) else "" for t in pictures.t_types]
    return [""] * len(pictures)


def _row(title: str, pictures: View, captions: Sequence[str], columns: int) -> View:
    side = pictures.shape[1]
    row = np.full((_HEADER + side + _GAP, columns * (side + _GAP) + _GAP, 3), _PAPER, np.uint8)
    cv2.putText(row, title, (6, _HEADER - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    for column, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = _GAP + column * (side + _GAP)
        row[_HEADER : _HEADER + side, left : left + side] = picture
        where = (left + 4, _HEADER + side - 5)
        cv2.putText(row, caption, where, cv2.FONT_HERSHEY_SIMPLEX, 0.4, _INK, 1, cv2.LINE_AA)
    return row


def write_png(picture: View, path: Path) -> Path:
    """Write ``(h, w, 3)`` uint8 RGB to a PNG, under a temporary name first; `InputError` for another suffix."""
    if path.suffix.lower() != ".png":
        raise InputError(f"{path} is no name of a PNG", "let it end in .png")
    _, coded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        temporary.write_bytes(coded.tobytes())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
