"""How good boxes are, by the rules of COCO's detection challenge (Lin et al. 2014, arXiv:1405.0312).

Matching comes first and once, picture by picture; precision and recall are then figures of the matches, so a
bootstrap over pictures resamples matches and repeats no geometry. Truth is a `Detections` whose scores are not read.

Some boxes count neither way, found or missed. A region to *ignore* (COCO's crowd) takes any number of detections that
it covers by the asked share of their own area; a true box outside the asked range of *sides* takes one, by overlap,
and a detection outside that range that hits nothing is no false one. A box that counts is always preferred to these.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.detections import Detections, iou_matrix

__all__ = [
    "ALL_SIDES",
    "COCO_IOUS",
    "RECALLS",
    "PictureMatch",
    "average_precision",
    "average_recall",
    "box_agreement",
    "match_picture",
    "match_pictures",
    "mean_average_precision",
    "precision_at_recalls",
]

COCO_IOUS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""The overlaps mAP and AR are averaged over."""

RECALLS = np.linspace(0, 1, 101)
"""The recalls precision is averaged over."""

ALL_SIDES = (0.0, math.inf)
"""The range of sides that every box is in."""

_FALSE, _IGNORED = -1, -2

# Counts of one block of hits: 8 bytes each.
_BLOCK_ITEMS = 2_000_000


@dataclass(frozen=True)
class PictureMatch:
    """One picture's detections, best first, and the true box that each of them took.

    Attributes
    ----------
    scores
        ``(n,)`` float.
    taken
        ``(n, overlaps)`` int, one column an overlap asked for: index of the true box, -1 for a false detection, -2 for
        one that counts neither way.
    counted
        ``(m,)`` bool: the picture's true boxes that are to be found, of the class and the sides asked for.
    """

    scores: NDArray[np.floating]
    taken: NDArray[np.int64]
    counted: NDArray[np.bool_]

    @property
    def hits(self) -> NDArray[np.bool_]:
        """``(n, overlaps)``: the detections that took a true box."""
        return self.taken >= 0

    @property
    def false(self) -> NDArray[np.bool_]:
        """``(n, overlaps)``: the detections of nothing."""
        return self.taken == _FALSE

    @property
    def truths(self) -> int:
        """Number of true boxes that are to be found."""
        return int(self.counted.sum())

    def best(self, limit: int) -> "PictureMatch":
        """The `limit` best detections. What they took stays: a match never depends on a worse detection."""
        return PictureMatch(self.scores[:limit], self.taken[:limit], self.counted)

    def truth_scores(self, column: int = 0) -> NDArray[np.float64]:
        """Score ``(m,)`` of the detection that took each true box; NaN for one that none took."""
        scores = np.full(len(self.counted), np.nan)
        hit = self.hits[:, column]
        scores[self.taken[hit, column]] = self.scores[hit]
        return scores


def match_picture(
    found: Detections,
    truth: Detections,
    ious: Sequence[float] = (0.5,),
    class_index: int | None = 0,
    limit: int = 100,
    ignore: NDArray[np.floating] | None = None,
    sides: tuple[float, float] = ALL_SIDES,
) -> PictureMatch:
    """Match the best detections with the true boxes of their class, at each overlap.

    Best first, each takes the free true box that it overlaps most, if by enough; a true box is taken once.

    Parameters
    ----------
    found, truth
        Detections and true boxes of one picture.
    ious
        Least overlaps.
    class_index
        The class; None for all at once, each detection still with true boxes of its own class only.
    limit
        How many detections count, the best ones.
    ignore
        ``(k, 4)`` x0, y0, x1, y1 regions that count neither way, for every class.
    sides
        Least and greatest side of what counts, pixels: the square root of a box's area, both ends included.
    """
    mine = found if class_index is None else found.select(found.classes == class_index)
    mine = mine.select(np.argsort(-mine.scores, kind="stable")[:limit])
    boxes, true_boxes = mine.boxes.astype(np.float64), truth.boxes.astype(np.float64)
    regions = np.zeros((0, 4)) if ignore is None else ignore.astype(np.float64)
    overlaps = iou_matrix(boxes, true_boxes)
    overlaps[mine.classes[:, None] != truth.classes] = -1
    regular = _within(true_boxes, sides)
    taken = _take(
        np.concatenate([overlaps, _covered(boxes, regions)], axis=1),
        np.concatenate([regular, np.zeros(len(regions), bool)]),
        np.arange(len(true_boxes) + len(regions)) >= len(true_boxes),
        np.asarray(ious, np.float64),
    )
    taken[(taken == _FALSE) & ~_within(boxes, sides)[:, None]] = _IGNORED
    asked = np.ones(len(truth), bool) if class_index is None else truth.classes == class_index
    return PictureMatch(mine.scores, taken, regular & asked)


def _within(boxes: NDArray[np.float64], sides: tuple[float, float]) -> NDArray[np.bool_]:
    # Areas, as COCO compares them: a square root could round a box across the border.
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return (area >= sides[0] ** 2) & (area <= sides[1] ** 2)


def _covered(boxes: NDArray[np.float64], regions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of each box's area that each region covers, ``(n, k)``; 0 for a box without area."""
    wide = np.minimum(boxes[:, None, 2], regions[:, 2]) - np.maximum(boxes[:, None, 0], regions[:, 0])
    high = np.minimum(boxes[:, None, 3], regions[:, 3]) - np.maximum(boxes[:, None, 1], regions[:, 1])
    overlap = np.maximum(wide, 0) * np.maximum(high, 0)
    area = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))[:, None]
    return np.divide(overlap, area, out=np.zeros_like(overlap), where=area > 0)


def _take(
    overlaps: NDArray[np.float64],
    regular: NDArray[np.bool_],
    endless: NDArray[np.bool_],
    ious: NDArray[np.float64],
) -> NDArray[np.int64]:
    """What each of ``n`` detections, best first, takes of ``m`` boxes at each overlap, ``(n, overlaps)``.

    `regular` boxes count; `endless` ones can be taken again and again.
    """
    taken = np.full((len(overlaps), len(ious)), _FALSE, np.int64)
    free = np.ones((len(ious), len(regular)), bool)
    # COCO's evaluation has room for rounding at an overlap of 1, and only there.
    least = np.minimum(ious, 1 - 1e-10)
    for i, row in enumerate(overlaps):
        if not len(row) or row.max() < least.min():
            continue
        open_ = free & (row >= least[:, None])
        preferred = open_ & regular
        choice = np.where(preferred.any(axis=1, keepdims=True), preferred, open_)
        # Of equal overlaps COCO's evaluation takes the last.
        best = len(row) - 1 - np.where(choice, row, -2.0)[:, ::-1].argmax(axis=1)
        got = np.flatnonzero(choice.any(axis=1))
        best = best[got]
        taken[i, got] = np.where(regular[best], best, _IGNORED)
        free[got, best] = endless[best]
    return taken


def match_pictures(
    found: Iterable[Detections],
    truth: Sequence[Detections],
    ious: Sequence[float] = (0.5,),
    class_index: int | None = 0,
    limit: int = 100,
    ignore: Sequence[NDArray[np.floating]] | None = None,
    sides: tuple[float, float] = ALL_SIDES,
) -> list[PictureMatch]:
    """`match_picture` over a set; all must be as long."""
    regions = [None] * len(truth) if ignore is None else ignore
    return [
        match_picture(f, t, ious, class_index, limit, r, sides) for f, t, r in zip(found, truth, regions, strict=True)
    ]


def precision_at_recalls(
    matches: Sequence[PictureMatch], column: int = 0, counts: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Precision at each of `RECALLS`, the best at that recall or a higher one; 0 beyond the highest reached.

    Parameters
    ----------
    matches
        One entry a picture.
    column
        Which of the overlaps the matches were made at.
    counts
        ``(..., n)``, such as how often each resample of a bootstrap drew each picture; 1 each when None.

    Returns
    -------
    NDArray
        ``(..., 101)`` in 0-1; NaN where no picture has a true box.
    """
    counts = np.ones(len(matches)) if counts is None else counts
    drawn = counts.reshape(-1, len(matches))
    truths = drawn @ np.array([m.truths for m in matches], np.float64)
    picture, hit = _ranked(matches, column)
    # Both curves have their corners at hits: all that is between can be left out.
    right = np.cumsum(drawn[:, picture[hit]], axis=1)
    answered = np.cumsum(_answers(drawn, picture, hit), axis=1)
    precision = np.divide(right, answered, out=np.zeros_like(right), where=answered > 0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = right / np.maximum(truths, 1)[:, None]
    reached = np.searchsorted(RECALLS, recall, side="right")
    rows = np.arange(len(drawn))[:, None]
    ends = np.concatenate([reached, np.full((len(drawn), 1), len(RECALLS))], axis=1)
    heights = np.concatenate([envelope, np.zeros((len(drawn), 1))], axis=1)
    values = np.repeat(heights.ravel(), np.diff(ends, axis=1, prepend=0 * rows).ravel()).reshape(-1, len(RECALLS))
    values[truths == 0] = np.nan
    return values.reshape(*counts.shape[:-1], len(RECALLS))


def _ranked(matches: Sequence[PictureMatch], column: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Of all detections that count, best first: their picture, and whether they hit."""
    taken = np.concatenate([m.taken[:, column] for m in matches])
    picture = np.repeat(np.arange(len(matches)), [len(m.scores) for m in matches])
    order = np.argsort(-np.concatenate([m.scores for m in matches]), kind="stable")
    order = order[taken[order] != _IGNORED]
    return picture[order], taken[order] >= 0


def _answers(drawn: NDArray[np.float64], picture: NDArray[np.int64], hit: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How many detections ``(b, hits)`` each resample has from the one after a hit up to the next hit.

    Counted by picture first, resamples are one matrix product: much less than to add up each detection for each.
    """
    before: NDArray[np.int64] = np.cumsum(hit) - hit
    hits, pictures = int(hit.sum()), drawn.shape[1]
    answers = np.empty((len(drawn), hits))
    step = max(1, _BLOCK_ITEMS // pictures)
    for start in range(0, hits, step):
        wide = min(step, hits - start)
        first, last = np.searchsorted(before, [start, start + wide])
        cells = picture[first:last] * wide + before[first:last] - start
        counted = np.bincount(cells, minlength=pictures * wide).reshape(pictures, wide)
        answers[:, start : start + wide] = drawn @ counted.astype(np.float64)
    return answers


def average_precision(matches: Sequence[PictureMatch], column: int = 0) -> float:
    """Mean of `precision_at_recalls`; NaN when no picture has a true box."""
    return float(precision_at_recalls(matches, column).mean())


def _classes(truth: Iterable[Detections]) -> list[int]:
    return sorted({int(c) for t in truth for c in t.classes})


def mean_average_precision(
    found: Sequence[Detections],
    truth: Sequence[Detections],
    ious: Sequence[float] = COCO_IOUS,
    limit: int = 100,
    ignore: Sequence[NDArray[np.floating]] | None = None,
) -> float:
    """Average precision, averaged over overlaps and over the classes that have a true box: COCO's AP[.5:.95].

    NaN when there is no true box at all.
    """
    values = [
        average_precision(matches, column)
        for c in _classes(truth)
        for matches in [match_pictures(found, truth, ious, c, limit, ignore)]
        for column in range(len(ious))
    ]
    return float(np.mean(values)) if values else float("nan")


def average_recall(
    found: Sequence[Detections],
    truth: Sequence[Detections],
    limit: int,
    ious: Sequence[float] = COCO_IOUS,
    ignore: Sequence[NDArray[np.floating]] | None = None,
) -> float:
    """Share of true boxes hit by the `limit` best detections a picture, averaged over overlaps and classes: AR@limit.

    NaN when there is no true box at all.
    """
    values = []
    for c in _classes(truth):
        matches = match_pictures(found, truth, ious, c, limit, ignore)
        truths = sum(m.truths for m in matches)
        values.append(sum(m.hits.sum(axis=0) for m in matches) / truths)
    return float(np.mean(values)) if values else float("nan")


def box_agreement(a: Sequence[Detections], b: Sequence[Detections], iou: float = 0.5) -> float:
    """Share of boxes two detectors have in common, class by class: ``2 common / (boxes of a + boxes of b)``.

    The coefficient of Dice 1945 (Ecology 26, 297) over boxes paired best first at `iou`; 1 when neither found any.
    """
    common = sum(
        int(match_picture(one, other, (iou,), None, limit=len(one)).hits.sum()) for one, other in zip(a, b, strict=True)
    )
    boxes = sum(map(len, a)) + sum(map(len, b))
    return 2 * common / boxes if boxes else 1.0
