"""The detection score a detector is deployed with, chosen on held-out fields."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from edgegal import anchors, metrics
from edgegal.bundle.manifest import DetectorDescription
from edgegal.data.fields import Field
from edgegal.detections import Detections, iou_matrix
from edgegal.inference import decode_outputs

__all__ = ["best_threshold", "detect_fields"]

_LOWEST = 0.1
_IOU = 0.5
_IGNORED_IOU = 0.2
_BATCH = 16


def detect_fields(model: Any, description: DetectorDescription, fields: Sequence[Field]) -> list[Detections]:
    """Detections of a Keras detector on fields, those on ignored galaxies left out, down to a score of .1."""
    grid = anchors.generate(description.anchors, description.preprocess.height, description.preprocess.width)
    found = []
    for start in range(0, len(fields), _BATCH):
        batch = fields[start : start + _BATCH]
        outputs = model(np.stack([f.picture for f in batch]).astype(np.float32), training=False)
        codes, scores = (ops.convert_to_numpy(outputs[role]) for role in ("boxes", "scores"))
        for field, code, score in zip(batch, codes, scores, strict=True):
            seen = decode_outputs(code, score, grid, description, _LOWEST)
            ignored = iou_matrix(seen.boxes, field.ignore).max(axis=1, initial=0) >= _IGNORED_IOU
            found.append(seen.select(~ignored))
    return found


def best_threshold(found: Sequence[Detections], fields: Sequence[Field]) -> float:
    """The score threshold with the best F1 at IoU .5, to two decimals.

    Parameters
    ----------
    found
        Detections on each field, down to low scores.
    fields
        Their truth.
    """
    truth = [Detections(f.boxes, np.ones(len(f.boxes), np.float32), np.zeros(len(f.boxes), np.int32)) for f in fields]
    matches = metrics.match_pictures(found, truth, (_IOU,))
    scores = np.concatenate([m.scores for m in matches])
    hits = np.concatenate([m.hits[:, 0] for m in matches])
    truths = sum(m.truths for m in matches)
    grid = np.round(np.arange(_LOWEST, 0.91, 0.01), 2)
    kept = scores[None] >= grid[:, None]
    right = (kept & hits).sum(axis=1)
    f1 = 2 * right / np.maximum(kept.sum(axis=1) + truths, 1)
    return float(grid[int(f1.argmax())])
