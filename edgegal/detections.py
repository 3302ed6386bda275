"""One container for detections, and the geometry of boxes.

Boxes are ``x0, y0, x1, y1`` in pixels, continuous coordinates: 0, 0 is the outer corner of the top-left pixel, so a
box covering that pixel alone is ``0, 0, 1, 1``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Detections", "contained", "iou_matrix", "non_maximum_suppression", "weighted_box_fusion"]


@dataclass(frozen=True)
class Detections:
    """Boxes with scores and classes.

    Attributes
    ----------
    boxes
        ``(n, 4)`` float32.
    scores
        ``(n,)`` float32 in 0-1.
    classes
        ``(n,)`` int32, indices into the detector's labels.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int32]

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.classes.shape != (n,):
            raise ValueError(
                f"boxes {self.boxes.shape}, scores {self.scores.shape} and classes {self.classes.shape} do not agree"
            )

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def empty(cls) -> "Detections":
        """No detections."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))

    @classmethod
    def concatenate(cls, parts: Sequence["Detections"]) -> "Detections":
        """All detections of `parts`, in order."""
        if not parts:
            return cls.empty()
        return cls(
            np.concatenate([p.boxes for p in parts]),
            np.concatenate([p.scores for p in parts]),
            np.concatenate([p.classes for p in parts]),
        )

    def select(self, keep: NDArray[np.bool_] | NDArray[np.integer]) -> "Detections":
        """The detections a mask or index array picks, in its order."""
        return Detections(self.boxes[keep], self.scores[keep], self.classes[keep])

    def above(self, score: float) -> "Detections":
        """The detections scoring at least `score`."""
        return self.select(self.scores >= score)

    def moved(self, dx: float, dy: float, scale: float = 1.0) -> "Detections":
        """Boxes multiplied by `scale`, then moved by `dx`, `dy`."""
        shift = np.array([dx, dy, dx, dy], np.float32)
        return Detections(self.boxes * np.float32(scale) + shift, self.scores, self.classes)

    def clipped(self, width: int, height: int) -> "Detections":
        """Boxes cut to a ``width x height`` picture; those wholly outside are dropped."""
        boxes = np.clip(self.boxes, 0, np.array([width, height, width, height], np.float32))
        keep = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return Detections(boxes, self.scores, self.classes).select(keep)

    @property
    def centres(self) -> NDArray[np.float32]:
        """``(n, 2)`` box centres x, y."""
        middles: NDArray[np.float32] = (self.boxes[:, :2] + self.boxes[:, 2:]) * np.float32(0.5)
        return middles

    @property
    def sizes(self) -> NDArray[np.float32]:
        """``(n, 2)`` box widths and heights."""
        return self.boxes[:, 2:] - self.boxes[:, :2]


def iou_matrix(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Intersection over union of every box of `a` ``(n, 4)`` with every box of `b` ``(m, 4)``; shape ``(n, m)``.

    In the precision of the boxes. A pair whose union is empty counts 0.
    """
    overlap = _intersections(a, b)
    union = _areas(a)[:, None] + _areas(b)[None] - overlap
    share: NDArray[np.floating] = np.zeros_like(overlap)
    np.divide(overlap, union, out=share, where=union > 0)
    return share


def contained(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Share of the area of every box of `a` ``(n, 4)`` that lies in every box of `b` ``(m, 4)``; shape ``(n, m)``.

    In the precision of the boxes. A box without area counts 0.
    """
    overlap = _intersections(a, b)
    share: NDArray[np.floating] = np.zeros_like(overlap)
    np.divide(overlap, _areas(a)[:, None], out=share, where=_areas(a)[:, None] > 0)
    return share


def _areas(boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _intersections(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    # One axis at a time: broadcasting both at once costs several times as much on a detector's thousands of anchors.
    wide = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])
    high = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
    return np.maximum(wide, 0) * np.maximum(high, 0)


def non_maximum_suppression(detections: Detections, iou: float, limit: int = 100) -> Detections:
    """Keep the best-scoring of the boxes of one class that overlap by more than `iou`; best first, `limit` at most.

    Boxes have an area. Of equal scores the first is the better.
    """
    if not len(detections):
        return detections
    # OpenCV tells classes apart by moving each beyond the largest coordinate, which works for positive ones only.
    corners = detections.boxes[:, :2] - detections.boxes[:, :2].min(axis=0)
    boxes = np.concatenate([corners, detections.sizes], axis=1)
    # It keeps scores above its threshold, not at it: an int8 score may be exactly 0.
    keep = cv2.dnn.NMSBoxesBatched(
        boxes.tolist(), detections.scores.tolist(), detections.classes.tolist(), -1.0, iou, top_k=0
    )
    order = np.asarray(keep, dtype=np.int64).reshape(-1)
    order = order[np.lexsort((order, -detections.scores[order]))]
    return detections.select(order[:limit])


def weighted_box_fusion(detections: Detections, iou: float, limit: int = 100) -> Detections:
    """Mean of the boxes of one class that overlap by more than `iou`, weighted by their scores; best first.

    Weighted box fusion (Solovyev et al. 2021, Image and Vision Computing 107, 104117): best first, each box joins the
    group whose mean it overlaps most, or founds one. The authors lower the score of what few of their networks found.
    Here one network looks, more often where tiles overlap: a galaxy has the score of its best box.
    """
    order = np.argsort(-detections.scores, kind="stable")
    means = np.zeros((len(order), 4))
    weights = np.zeros(len(order))
    founders: list[int] = []
    for index in order:
        box, score = detections.boxes[index].astype(np.float64), float(detections.scores[index])
        overlaps = iou_matrix(box[None], means[: len(founders)])[0]
        overlaps[detections.classes[founders] != detections.classes[index]] = 0
        group = int(overlaps.argmax()) if len(founders) else 0
        if not founders or overlaps[group] <= iou:
            group = len(founders)
            founders.append(int(index))
        # A score of 0, which int8 rounds small ones to, still founds a group with a box.
        weight = max(score, 1e-6)
        weights[group] += weight
        means[group] += (box - means[group]) * weight / weights[group]
    founding = detections.select(np.array(founders[:limit], np.int64))
    return Detections(means[: len(founding)].astype(np.float32), founding.scores, founding.classes)
