"""Assignment of true boxes to anchors, and the dense targets a detector learns from."""

import numpy as np
from numpy.typing import NDArray

from edgegal import anchors
from edgegal.detections import iou_matrix
from edgegal.errors import InputError

__all__ = ["POSITIVE_IOU", "dense_targets", "match"]

POSITIVE_IOU = 0.5
"""An anchor overlapping a galaxy by this much is one of its examples; below, it is background."""

IGNORED = -2
BACKGROUND = -1


def match(
    anchor_boxes: NDArray[np.float32], boxes: NDArray[np.float32], ignore: NDArray[np.float32]
) -> NDArray[np.int32]:
    """Index of the box each anchor is to predict.

    Every anchor that overlaps a box by `POSITIVE_IOU` predicts it, the one it overlaps most if several. Besides, every
    box gets one anchor that it shares with none: its best, however poor, and where two boxes have the same best, the
    one that overlaps it less gets its next best (the bipartite matching of Liu et al. 2016). A box that overlaps no
    anchor gets the nearest. Only where there are more boxes than anchors do some get none.

    Parameters
    ----------
    anchor_boxes
        ``(a, 4)`` x0, y0, x1, y1.
    boxes
        ``(n, 4)`` true boxes.
    ignore
        ``(m, 4)`` boxes whose anchors count neither way; true boxes have precedence.

    Returns
    -------
    NDArray
        ``(a,)`` int32; -1 is background, -2 counts neither way.
    """
    assigned = np.full(len(anchor_boxes), BACKGROUND, np.int32)
    if len(ignore):
        assigned[iou_matrix(anchor_boxes, ignore).max(axis=1) >= POSITIVE_IOU / 2] = IGNORED
    if len(boxes):
        overlap = iou_matrix(boxes, anchor_boxes)
        best = overlap.argmax(axis=0)
        good = overlap.max(axis=0) >= POSITIVE_IOU
        assigned[good] = best[good]
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
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Targets of one picture, weighted so that a picture's loss is a mean over its positive anchors.

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
    assigned = match(corners, boxes, ignore)
    positive = assigned >= 0
    weight = 1.0 / max(1, int(positive.sum()))
    codes = np.zeros((len(anchor_grid), 5), np.float32)
    scores = np.zeros((len(anchor_grid), n_classes + 1), np.float32)
    if positive.any():
        codes[positive, :4] = anchors.encode(boxes[assigned[positive]], anchor_grid[positive], spec.coder_scales)
        codes[positive, 4] = weight
        scores[np.flatnonzero(positive), classes[assigned[positive]]] = 1.0
    scores[assigned != IGNORED, -1] = weight
    return codes, scores
