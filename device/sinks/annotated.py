"""Pictures with a box, a class and a confidence on each galaxy."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edgegal.device.pipeline import FrameResult
from edgegal.device.sinks.base import Sink
from edgegal.device.tracking import Sighting
from edgegal.frames import View

__all__ = ["AnnotatedPictures", "annotate", "colour_of"]

# Okabe and Ito's palette, RGB, without black: told apart by colour-blind eyes and bright on a dark sky.
_COLOURS = ((86, 180, 233), (230, 159, 0), (0, 200, 140), (240, 228, 66), (220, 120, 180), (213, 94, 0))
# No class, no colour.
_GREY = (170, 170, 170)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LEAST_SIDE = 720
_PLATE = 3

_Rectangle = tuple[int, int, int, int]


class AnnotatedPictures(Sink):
    """One PNG a frame, written under a temporary name and renamed.

    Parameters
    ----------
    folder
        Where they go; created with the first frame.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        origin = re.sub(r"[^A-Za-z0-9._=-]+", "_", Path(result.frame.source).name)[:60]
        path = self.folder / f"{result.frame.index:06d}_{origin}.png"
        picture = cv2.cvtColor(annotate(result.view, seen), cv2.COLOR_RGB2BGR)
        _, encoded = cv2.imencode(".png", picture)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(encoded.tobytes())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def close(self, alive: Sequence[Sighting]) -> None:
        """Nothing is held open."""


def annotate(view: View, sightings: Sequence[Sighting]) -> View:
    """Draw sightings on a view.

    Small views are enlarged first by a whole number, so that the writing stays legible.

    Parameters
    ----------
    view
        ``(h, w, 3)`` uint8 RGB; not changed.
    sightings
        With boxes in pixels of `view`.
    """
    scale = max(1, -(-_LEAST_SIDE // min(max(view.shape[:2]), _LEAST_SIDE)))
    canvas: View = np.repeat(np.repeat(view, scale, axis=0), scale, axis=1)
    height, width = canvas.shape[:2]
    size = 0.45 * max(1.0, max(height, width) / 1100)
    thickness = max(1, round(max(height, width) / 900))
    boxes = [_corners(s, scale) for s in sightings]
    colours = [colour_of(s) for s in sightings]
    for (x0, y0, x1, y1), colour in zip(boxes, colours, strict=True):
        cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, thickness, cv2.LINE_AA)
    taken: list[_Rectangle] = []
    for i, sighting in enumerate(sightings):
        text = _words(sighting)
        (w, h), below = cv2.getTextSize(text, _FONT, size, 1)
        plate = _place(boxes[i], (w + 2 * _PLATE, h + below + 2 * _PLATE), (width, height), taken, boxes)
        taken.append(plate)
        x0, y0, x1, y1 = plate
        canvas[y0:y1, x0:x1] //= 4
        cv2.putText(canvas, text, (x0 + _PLATE, y1 - below - _PLATE), _FONT, size, colours[i], 1, cv2.LINE_AA)
    return canvas


def _words(sighting: Sighting) -> str:
    # A number beside "uncertain" would read as how uncertain it is.
    return sighting.label if sighting.refusal else f"{sighting.label} {sighting.confidence:.2f}"


def _corners(sighting: Sighting, scale: int) -> _Rectangle:
    x0, y0, x1, y1 = (round(v * scale) for v in sighting.box)
    return x0, y0, x1, y1


def colour_of(sighting: Sighting) -> tuple[int, int, int]:
    """RGB of a sighting's box: one for each class, grey without a class."""
    if sighting.refusal:
        return _GREY
    labels = list(sighting.probabilities)
    return _COLOURS[labels.index(sighting.label) % len(_COLOURS) if labels else 0]


def _place(
    box: _Rectangle,
    plate: tuple[int, int],
    canvas: tuple[int, int],
    taken: Sequence[_Rectangle],
    boxes: Sequence[_Rectangle],
) -> _Rectangle:
    """Where the writing of a box goes: inside the picture, off other writing, and off other boxes where it can be.

    Parameters
    ----------
    box
        The box it belongs to.
    plate, canvas
        Widths and heights of the writing and the picture.
    taken
        Where there is writing already.
    boxes
        All boxes.
    """
    (w, h), (width, height) = plate, canvas
    x0, y0, x1, y1 = box
    left = min(max(x0, 0), max(width - w, 0))
    corners = [(left, y0 - h - 1), (left, y1 + 2), (x1 + 2, y0), (x0 - w - 2, y0), (left, y0 + 2)]
    places = [(x, y, x + w, y + h) for x, y in corners if 0 <= x <= width - w and 0 <= y <= height - h]
    if not places:
        return left, 0, left + w, h
    others = [b for b in boxes if b != box]
    return min(places, key=lambda p: (any(_meet(p, t) for t in taken), any(_meet(p, b) for b in others)))


def _meet(a: _Rectangle, b: _Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
