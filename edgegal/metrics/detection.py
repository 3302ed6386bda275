"""How good boxes are, by the rules of COCO's detection challenge (Lin et al. 2014, arXiv:1405.0312).

Matching comes first and once, picture by picture; precision and recall are then figures of the matches, so a
bootstrap over pictures resamples matches and repeats no geometry. Truth is a `Detections` whose scores are not read.
COCO's crowd regions and area ranges have no counterpart here: every true box counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.detections import Detections, iou_matrix

__all__ = [
    "COCO_IOUS",
    "PictureMatch",
    "average_precision",
    "average_recall",
    "box_agreement",
    "match_boxes",
    "match_picture",
    "match_pictures",
    "mean_average_precision",
]

COCO_IOUS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""The overlaps mAP and AR are averaged over."""

_RECALL_POINTS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class PictureMatch:
    """One picture's detections of one class, best first, and which of them hit a true box.

    Attributes
    ----------
    scores
        ``(n,)`` float.
    hits
        ``(n, overlaps)`` bool, one column an overlap asked for.
    truths
        Number of true boxes.
    """

    scores: NDArray[np.floating]
    hits: NDArray[np.bool_]
    truths: int

    def best(self, limit: int) -> "PictureMatch":
        """The `limit` best detections. Hits stay valid: a match never depends on a worse detection."""
        return PictureMatch(self.scores[:limit], self.hits[:limit], self.truths)


def match_boxes(found: NDArray[np.floating], truth: NDArray[np.floating], iou: float) -> NDArray[np.int64]:
    """Index of the true box each found box takes, -1 for none.

    In order of `found` (best first), each takes the free true box it overlaps most, if by at least `iou`; a true box is
    taken once.

    Parameters
    ----------
    found, truth
        ``(n, 4)`` and ``(m, 4)`` x0, y0, x1, y1.
    iou
        Least overlap.
    """
    overlaps = iou_matrix(found.astype(np.float64), truth.astype(np.float64))
    return _match(overlaps, iou)


def _match(overlaps: NDArray[np.floating], iou: float) -> NDArray[np.int64]:
    taken = np.full(len(overlaps), -1, np.int64)
    free = np.ones(overlaps.shape[1], bool)
    for i, row in enumerate(overlaps):
        candidates = np.flatnonzero(free & (row >= iou))
        if len(candidates):
            # Of equal overlaps COCO's evaluation takes the last.
            best = candidates[len(candidates) - 1 - row[candidates][::-1].argmax()]
            taken[i] = best
            free[best] = False
    return taken


def match_picture(
    found: Detections, truth: Detections, ious: Sequence[float] = (0.5,), class_index: int = 0, limit: int = 100
) -> PictureMatch:
    """Match the `limit` best detections of one class with the true boxes of that class, at each overlap."""
    mine = found.select(found.classes == class_index)
    mine = mine.select(np.argsort(-mine.scores, kind="stable")[:limit])
    boxes = truth.boxes[truth.classes == class_index]
    overlaps = iou_matrix(mine.boxes.astype(np.float64), boxes.astype(np.float64))
    hits = np.stack([_match(overlaps, iou) >= 0 for iou in ious], axis=1)
    return PictureMatch(mine.scores, hits, len(boxes))


def match_pictures(
    found: Iterable[Detections],
    truth: Iterable[Detections],
    ious: Sequence[float] = (0.5,),
    class_index: int = 0,
    limit: int = 100,
) -> list[PictureMatch]:
    """`match_picture` over a set; the two must be as long."""
    return [match_picture(f, t, ious, class_index, limit) for f, t in zip(found, truth, strict=True)]


def average_precision(matches: Sequence[PictureMatch], column: int = 0) -> float:
    """Precision averaged at the 101 recalls 0, .01 .. 1, each the best at that recall or a higher one.

    Parameters
    ----------
    matches
        One entry a picture.
    column
        Which of the overlaps the matches were made at.

    Returns
    -------
    float
        In 0-1; NaN when no picture has a true box.
    """
    truths = sum(m.truths for m in matches)
    if not truths:
        return float("nan")
    scores = np.concatenate([m.scores for m in matches])
    hits = np.concatenate([m.hits[:, column] for m in matches])[np.argsort(-scores, kind="stable")]
    true_positives = np.cumsum(hits)
    recall = true_positives / truths
    precision = true_positives / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    # Beyond the highest recall reached, precision is 0.
    at = np.searchsorted(recall, _RECALL_POINTS, side="left")
    return float(np.append(envelope, 0.0)[at].mean())


def _classes(truth: Sequence[Detections]) -> list[int]:
    return sorted({int(c) for t in truth for c in t.classes})


def mean_average_precision(
    found: Sequence[Detections], truth: Sequence[Detections], ious: Sequence[float] = COCO_IOUS, limit: int = 100
) -> float:
    """Average precision, averaged over overlaps and over the classes that have a true box: COCO's AP[.5:.95].

    NaN when there is no true box at all.
    """
    values = [
        average_precision(matches, column)
        for c in _classes(truth)
        for matches in [match_pictures(found, truth, ious, c, limit)]
        for column in range(len(ious))
    ]
    return float(np.mean(values)) if values else float("nan")


def average_recall(
    found: Sequence[Detections], truth: Sequence[Detections], limit: int, ious: Sequence[float] = COCO_IOUS
) -> float:
    """Share of true boxes hit by the `limit` best detections a picture, averaged over overlaps and classes: AR@limit.

    NaN when there is no true box at all.
    """
    values = []
    for c in _classes(truth):
        matches = match_pictures(found, truth, ious, c, limit)
        truths = sum(m.truths for m in matches)
        values.append(sum(m.hits.sum(axis=0) for m in matches) / truths)
    return float(np.mean(values)) if values else float("nan")


def box_agreement(a: Sequence[Detections], b: Sequence[Detections], iou: float = 0.5) -> float:
    """Share of boxes two detectors have in common, class by class: ``2 common / (boxes of a + boxes of b)``.

    The coefficient of Dice 1945 (Ecology 26, 297) over boxes paired best first at `iou`; 1 when neither found any.
    """
    common = 0
    for one, other in zip(a, b, strict=True):
        for c in _classes([one, other]):
            matched = match_picture(one, other, (iou,), c, limit=len(one))
            common += int(matched.hits.sum())
    boxes = sum(map(len, a)) + sum(map(len, b))
    return 2 * common / boxes if boxes else 1.0
