"""Pictures with a box, a class and a confidence on each galaxy."""

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from datetime import timezone
from pathlib import Path
from time import monotonic

import cv2
import numpy as np

from edgegal.device.pipeline import FrameResult
from edgegal.device.sinks.base import Sink
from edgegal.device.sinks.files import file_name, whole
from edgegal.device.sinks.pace import Pace
from edgegal.device.tracking import Sighting
from edgegal.frames import Frame, View

__all__ = ["EMPTY", "AnnotatedPictures", "annotate", "colour_of"]

EMPTY = ".empty.png"
"""End of the name of a picture without a galaxy: the first to go when space is short."""

# Okabe and Ito's palette, RGB, without black: told apart by colour-blind eyes and bright on a dark sky.
_COLOURS = ((86, 180, 233), (230, 159, 0), (0, 200, 140), (240, 228, 66), (220, 120, 180), (213, 94, 0))
# No class, no colour.
_GREY = (170, 170, 170)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# To OpenCV's order of colours, so many rows at a time.
_SWAPPED_ROWS = 64
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_LEAST_SIDE = 720
_PLATE = 3

_Rectangle = tuple[int, int, int, int]


class AnnotatedPictures(Sink):
    """PNGs of frames with what was seen in them; of each frame, or of some.

    Parameters
    ----------
    folder
        Where they go; created with the first of them.
    every_s
        Least seconds from one picture to the next; 0 for a picture of each frame.
    news_every_s
        The same for frames that show a sighting which no picture shows yet; `every_s` when None.
    overwrite
        Whether the view of a result may be drawn on, asked each time: nobody looks at it afterwards. Never when None.
    clock
        Seconds, never going back.
    """

    holds = False

    def __init__(
        self,
        folder: Path,
        every_s: float = 0.0,
        news_every_s: float | None = None,
        overwrite: Callable[[], bool] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.folder = folder
        self._overwrite = overwrite
        self._pace = Pace(every_s, clock)
        self._news_every_s = every_s if news_every_s is None else news_every_s
        self._shown: set[int] = set()

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        if self._is_wanted(seen):
            # A display picture is its own view, and may be its source's.
            own = not np.may_share_memory(result.view, result.frame.pixels)
            view = result.view if own and self._overwrite is not None and self._overwrite() else result.view.copy()
            _write_png(self.folder / _name(result.frame, bool(seen)), _drawn_on(view, seen))
            self._pace.done()
            self._shown.update(s.id for s in seen)
        self._shown.difference_update(s.id for s in ended)

    def close(self, alive: Sequence[Sighting]) -> None:
        """Nothing is held open."""

    def _is_wanted(self, seen: Sequence[Sighting]) -> bool:
        if self._pace.due:
            return True
        return self._pace.since_s >= self._news_every_s and any(s.id not in self._shown for s in seen)


def _name(frame: Frame, shows_galaxies: bool) -> str:
    """Cameras count their frames anew each night: their time tells those of one folder apart."""
    time = f"{frame.time.astimezone(timezone.utc):%Y%m%dT%H%M%S}_" if frame.time else ""
    origin = file_name(Path(frame.source).name)
    return f"{time}{frame.index:06d}_{origin}{'.png' if shows_galaxies else EMPTY}"


def _write_png(path: Path, picture: View) -> None:
    """Write a picture, which is changed; neither it nor the file is held in memory a second time."""
    for rows in np.array_split(picture, max(1, len(picture) // _SWAPPED_ROWS)):
        rows[:] = rows[..., ::-1]
    with whole(path) as temporary:
        # OpenCV does not say why it cannot write, and not at all when the very end is missing.
        if not cv2.imwrite(str(temporary), picture) or not _is_whole(temporary):
            full = shutil.disk_usage(path.parent).free < picture.nbytes
            fault = errno.ENOSPC if full else errno.EIO
            raise OSError(fault, os.strerror(fault), str(path))


def _is_whole(png: Path) -> bool:
    """Whether a picture has its last chunk."""
    with png.open("rb") as file:
        file.seek(-len(_PNG_END), os.SEEK_END)
        return file.read() == _PNG_END


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
    return _drawn_on(view.copy(), sightings)


def _drawn_on(view: View, sightings: Sequence[Sighting]) -> View:
    """As `annotate`, on the view itself unless it is enlarged."""
    scale = max(1, -(-_LEAST_SIDE // min(max(view.shape[:2]), _LEAST_SIDE)))
    canvas: View = view if scale == 1 else np.repeat(np.repeat(view, scale, axis=0), scale, axis=1)
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
