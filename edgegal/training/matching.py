"""Assignment of true boxes to anchors, and the dense targets a detector learns from."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edgegal import anchors
from edgegal.detections import iou_matrix
from edgegal.errors import InputError

__all__ = ["MATCHINGS", "PUBLISHED_MATCHING", "SMALL_GALAXY_MATCHING", "Matching", "dense_targets", "match"]

IGNORED = -2
BACKGROUND = -1


@dataclass(frozen=True)
class Matching:
    """Which anchors are examples of a box, and what they weigh; the defaults are the published recipe.

    Attributes
    ----------
    positive_iou
        An anchor that overlaps a box by this much is one of its examples.
    best_share, least_iou
        Where no anchor fits a box well, so is one that comes to this share of the best overlap any has with it, if it
        overlaps it by the least.
    near_share
        An anchor that comes to this share of what makes an example counts neither way; below, it is background.
    examples
        A box with fewer examples than these weighs each more, by the square root of how many times fewer.
    usual
        A picture weighs by the square root of the weight of its examples over this; None for all the same, the mean
        over its examples. A picture without any weighs 1 either way.
    """

    positive_iou: float = 0.5
    best_share: float = 1.0
    least_iou: float = 0.5
    near_share: float = 1.0
    examples: int = 1
    usual: int | None = None

    def enough(self, overlap: NDArray[np.floating]) -> NDArray[np.floating]:
        """The IoU that makes an example of each box ``(n,)``, from all overlaps ``(n, a)``."""
        return np.clip(self.best_share * overlap.max(axis=1), self.least_iou, self.positive_iou)

    def weights(self, assigned: NDArray[np.int32]) -> NDArray[np.float32]:
        """Of each example, in the order of the anchors, from the box of each."""
        counts = np.bincount(assigned).astype(np.float32)
        return np.maximum(1, np.sqrt(self.examples / np.maximum(counts, 1)))[assigned].astype(np.float32)

    def scale(self, total: float) -> float:
        """What the loss of a picture is multiplied by, whose examples weigh `total`."""
        if not total:
            return 1.0
        return 1 / total if self.usual is None else 1 / float(np.sqrt(total * self.usual))


PUBLISHED_MATCHING = Matching()
"""Liu et al. 2016 and Lin et al. 2017, normalised as in the TF Object Detection API."""

SMALL_GALAXY_MATCHING = Matching(best_share=0.8, least_iou=0.25, near_share=0.8, examples=8, usual=20)
"""A galaxy of a dozen pixels rarely overlaps an anchor by half: with the published recipe it has one example, and its
neighbours, which fit nearly as well, are taught that there is none. An empty picture weighs as much as with that
recipe."""

MATCHINGS: Mapping[str, Matching] = MappingProxyType(
    {"published": PUBLISHED_MATCHING, "small galaxies": SMALL_GALAXY_MATCHING}
)
"""By the name that an architecture's recipe has."""


def match(
    anchor_boxes: NDArray[np.float32],
    boxes: NDArray[np.float32],
    ignore: NDArray[np.float32],
    matching: Matching = PUBLISHED_MATCHING,
) -> NDArray[np.int32]:
    """Index of the box each anchor is to predict.

    Every anchor that overlaps a box by enough predicts it; if several, the one for which it is most times enough.
    Besides, every box gets one anchor that it shares with none: its best, however poor, and where two boxes have the
    same best, the one that overlaps it less gets its next best (the bipartite matching of Liu et al. 2016). A box that
    overlaps no anchor gets the nearest. Only where there are more boxes than anchors do some get none.

    Parameters
    ----------
    anchor_boxes
        ``(a, 4)`` x0, y0, x1, y1.
    boxes
        ``(n, 4)`` true boxes.
    ignore
        ``(m, 4)`` boxes whose anchors count neither way; true boxes have precedence.
    matching
        What is enough.

    Returns
    -------
    NDArray
        ``(a,)`` int32; -1 is background, -2 counts neither way.
    """
    assigned = np.full(len(anchor_boxes), BACKGROUND, np.int32)
    if len(ignore):
        assigned[iou_matrix(anchor_boxes, ignore).max(axis=1) >= matching.positive_iou / 2] = IGNORED
    if len(boxes):
        overlap = iou_matrix(boxes, anchor_boxes)
        fit = overlap / matching.enough(overlap)[:, None]
        best, well = fit.argmax(axis=0), fit.max(axis=0)
        assigned[well >= matching.near_share] = IGNORED
        assigned[well >= 1] = best[well >= 1]
        for anchor, box in _one_each(_affinity(overlap, boxes, anchor_boxes)).items():
            assigned[anchor] = box
    return assigned


def _affinity(
    overlap: NDArray[np.floating], boxes: NDArray[np.float32], anchor_boxes: NDArray[np.float32]
) -> NDArray[np.floating]:
    """Rank of every anchor for every box ``(n, a)``: by IoU where they overlap, below that by the centres' distance."""
    rank = overlap.copy()
    # A box that overlaps as many anchors as there are boxes finds one whatever the others take.
    short = np.flatnonzero(np.count_nonzero(overlap, axis=1) < len(boxes))
    apart = (boxes[short, None, :2] + boxes[short, None, 2:] - anchor_boxes[:, :2] - anchor_boxes[:, 2:]) / 2
    rank[short] = np.where(overlap[short] > 0, overlap[short], -np.hypot(apart[..., 0], apart[..., 1]))
    return rank


def _one_each(rank: NDArray[np.floating]) -> dict[int, int]:
    """An anchor of its own for each box, the best pairs of all first; `rank` is used up."""
    best = rank.argmax(axis=1)
    taken: dict[int, int] = {}
    waiting = set(range(len(rank)))
    while waiting and len(taken) < rank.shape[1]:
        box = max(waiting, key=lambda b: rank[b, best[b]])
        anchor = int(best[box])
        if anchor in taken:
            rank[box, anchor] = -np.inf
            best[box] = rank[box].argmax()
        else:
            taken[anchor] = box
            waiting.remove(box)
    return taken


def dense_targets(
    spec: anchors.AnchorSpec,
    anchor_grid: NDArray[np.float32],
    boxes: NDArray[np.float32],
    ignore: NDArray[np.float32],
    classes: NDArray[np.integer] | None = None,
    n_classes: int = 1,
    matching: Matching = PUBLISHED_MATCHING,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Targets of one picture, weighted so that its loss is a mean over its positive anchors or what `matching` says.

    Parameters
    ----------
    spec
        For the box coder's scales.
    anchor_grid
        ``(a, 4)`` cx, cy, w, h.
    boxes, ignore
        As for `match`.
    classes
        Class of each box ``(n,)``; None when all are of the first.
    n_classes
        How many classes the detector tells.
    matching
        Which anchors are examples, and what they weigh.

    Returns
    -------
    codes
        ``(a, 5)``: the four codes, then the weight (0 away from galaxies).
    scores
        ``(a, n_classes + 1)``: 1 for the class of the box, all 0 for background, then the weight (0 where ignored).

    Raises
    ------
    InputError
        A class the detector does not tell.
    """
    classes = np.zeros(len(boxes), np.int32) if classes is None else classes
    if len(classes) and not (classes.min() >= 0 and classes.max() < n_classes):
        raise InputError(f"boxes are of classes {sorted(set(classes.tolist()))}, the detector tells {n_classes}")
    corners = np.concatenate(
        [anchor_grid[:, :2] - anchor_grid[:, 2:] / 2, anchor_grid[:, :2] + anchor_grid[:, 2:] / 2], axis=1
    )
    assigned = match(corners, boxes, ignore, matching)
    positive = assigned >= 0
    weight = np.ones(len(anchor_grid), np.float32)
    weight[positive] = matching.weights(assigned[positive])
    weight *= matching.scale(float(weight[positive].sum()))
    codes = np.zeros((len(anchor_grid), 5), np.float32)
    scores = np.zeros((len(anchor_grid), n_classes + 1), np.float32)
    if positive.any():
        codes[positive, :4] = anchors.encode(boxes[assigned[positive]], anchor_grid[positive], spec.coder_scales)
        codes[positive, 4] = weight[positive]
        scores[np.flatnonzero(positive), classes[assigned[positive]]] = 1.0
    scores[:, -1] = np.where(assigned == IGNORED, 0, weight)
    return codes, scores
