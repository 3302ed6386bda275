"""Assignment of true boxes to anchors, and the dense targets a detector learns from."""

import numpy as np
from numpy.typing import NDArray

from edgegal import anchors
from edgegal.detections import iou_matrix

__all__ = ["POSITIVE_IOU", "dense_targets", "match"]

POSITIVE_IOU = 0.5
"""An anchor overlapping a galaxy by this much is one of its examples; below, it is background."""

IGNORED = -2
BACKGROUND = -1


def match(
    anchor_boxes: NDArray[np.float32], boxes: NDArray[np.float32], ignore: NDArray[np.float32]
) -> NDArray[np.int32]:
    """Index of the box each anchor is to predict.

    Every box gets its best anchor, however poor, and every anchor that overlaps it by `POSITIVE_IOU`.

    Parameters
    ----------
    anchor_boxes
        ``(a, 4)`` x0, y0, x1, y1.
    boxes
        ``(n, 4)`` true boxes.
    ignore
        ``(m, 4)`` boxes whose anchors count neither way.

    Returns
    -------
    NDArray
        ``(a,)`` int32; -1 is background, -2 counts neither way.
    """
    assigned = np.full(len(anchor_boxes), BACKGROUND, np.int32)
    if len(ignore):
        assigned[iou_matrix(anchor_boxes, ignore).max(axis=1) >= POSITIVE_IOU / 2] = IGNORED
    if len(boxes):
        overlap = iou_matrix(anchor_boxes, boxes)
        best = overlap.argmax(axis=1)
        good = overlap[np.arange(len(best)), best] >= POSITIVE_IOU
        assigned[good] = best[good]
        assigned[overlap.argmax(axis=0)] = np.arange(len(boxes))
    return assigned


def dense_targets(
    spec: anchors.AnchorSpec,
    anchor_grid: NDArray[np.float32],
    boxes: NDArray[np.float32],
    ignore: NDArray[np.float32],
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

    Returns
    -------
    codes
        ``(a, 5)``: the four codes, then the weight (0 away from galaxies).
    scores
        ``(a, 2)``: 1 for galaxy, 0 for background, then the weight (0 where ignored).
    """
    corners = np.concatenate(
        [anchor_grid[:, :2] - anchor_grid[:, 2:] / 2, anchor_grid[:, :2] + anchor_grid[:, 2:] / 2], axis=1
    )
    assigned = match(corners, boxes, ignore)
    positive = assigned >= 0
    weight = 1.0 / max(1, int(positive.sum()))
    codes = np.zeros((len(anchor_grid), 5), np.float32)
    if positive.any():
        codes[positive, :4] = anchors.encode(boxes[assigned[positive]], anchor_grid[positive], spec.coder_scales)
        codes[positive, 4] = weight
    scores = np.zeros((len(anchor_grid), 2), np.float32)
    scores[positive, 0] = 1.0
    scores[assigned != IGNORED, 1] = weight
    return codes, scores
