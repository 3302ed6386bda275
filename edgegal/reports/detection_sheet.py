"""The pictures a detector did worst on, with what it missed and what it invented drawn into them."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal import metrics
from edgegal.detections import Detections
from edgegal.frames import View
from edgegal.reports.detection_figures import IOU, DetectionResult

__all__ = ["Mistakes", "mistakes", "worst_pictures"]

_GREEN, _RED, _ORANGE, _GREY = (70, 200, 90), (240, 50, 50), (255, 165, 30), (150, 150, 150)
_PAPER, _INK = 28, (235, 235, 235)
_GAP, _HEADER = 4, 22


@dataclass(frozen=True)
class Mistakes:
    """What went wrong on one picture above a threshold.

    Attributes
    ----------
    picture
        Its index.
    reported
        The detections, best first.
    hits, false
        ``(n,)`` which of them took a true box, and which are of nothing; the others count neither way.
    missed
        ``(m,)`` which true boxes nothing took.
    """

    picture: int
    reported: Detections
    hits: NDArray[np.bool_]
    false: NDArray[np.bool_]
    missed: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Missed galaxies and false detections together."""
        return int(self.missed.sum() + self.false.sum())


def mistakes(result: DetectionResult, threshold: float, limit: int) -> list[Mistakes]:
    """The `limit` pictures with the most mistakes at `IOU`, the worst first; none without any."""
    each = [_of_picture(result, index, threshold) for index in range(len(result))]
    return sorted((m for m in each if m.count), key=lambda m: -m.count)[:limit]


def _of_picture(result: DetectionResult, index: int, threshold: float) -> Mistakes:
    field = result.fields[index]
    reported = result.found[index].above(threshold)
    reported = reported.select(np.argsort(-reported.scores, kind="stable"))
    match = metrics.match_picture(reported, field.truth, (IOU,), None, sys.maxsize, field.ignore)
    return Mistakes(index, reported, match.hits[:, 0], match.false[:, 0], np.isnan(match.truth_scores()))


def worst_pictures(result: DetectionResult, worst: Sequence[Mistakes], side: int = 320, columns: int = 4) -> View:
    """Draw them as one sheet.

    Green is a galaxy found and red one missed, orange a detection: thin on a galaxy, thick with its score where it is
    false. Grey counts neither way.

    Parameters
    ----------
    result
        The fields.
    worst
        From `mistakes`; at least one.
    side
        Longer side of each picture in the sheet, pixels.
    columns
        Pictures a row, at most.

    Returns
    -------
    View
        ``(h, w, 3)`` uint8 RGB.
    """
    columns = min(columns, len(worst))
    rows = -(-len(worst) // columns)
    high, wide = side + _HEADER + _GAP, side + _GAP
    sheet = np.full((rows * high + _GAP, columns * wide + _GAP, 3), _PAPER, np.uint8)
    for place, each in enumerate(worst):
        top, left = (n * step + _GAP for n, step in zip(divmod(place, columns), (high, wide), strict=True))
        drawn = _drawn(result, each, side)
        sheet[top + _HEADER : top + _HEADER + drawn.shape[0], left : left + drawn.shape[1]] = drawn
        words = f"{each.picture}: {int(each.missed.sum())} missed, {int(each.false.sum())} false"
        cv2.putText(sheet, words, (left + 3, top + 15), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    return sheet


def _drawn(result: DetectionResult, each: Mistakes, side: int) -> View:
    field = result.fields[each.picture]
    scale = side / max(field.picture.shape[:2])
    height, width = (max(1, round(n * scale)) for n in field.picture.shape[:2])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.ascontiguousarray(cv2.resize(field.picture, (width, height), interpolation=way))
    _frame(canvas, field.ignore * scale, _GREY, 1)
    _frame(canvas, field.boxes[~each.missed] * scale, _GREEN, 1)
    _frame(canvas, each.reported.boxes[each.hits] * scale, _ORANGE, 1)
    _frame(canvas, field.boxes[each.missed] * scale, _RED, 2)
    false = each.reported.select(each.false)
    _frame(canvas, false.boxes * scale, _ORANGE, 2)
    for box, score in zip(false.boxes * scale, false.scores, strict=True):
        where = (max(0, round(float(box[0]))), max(10, round(float(box[1])) - 4))
        cv2.putText(canvas, f"{score:.2f}", where, cv2.FONT_HERSHEY_SIMPLEX, 0.4, _ORANGE, 1, cv2.LINE_AA)
    return canvas


def _frame(canvas: View, boxes: NDArray[np.floating], colour: tuple[int, int, int], thick: int) -> None:
    # A box covers pixels from its first corner up to, not with, its last.
    for x0, y0, x1, y1 in np.rint(boxes).astype(int).tolist():
        cv2.rectangle(canvas, (x0, y0), (max(x1 - 1, x0), max(y1 - 1, y0)), colour, thick)
