"""The detection score a detector is deployed with, chosen on held-out fields."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from edgegal import anchors, metrics
from edgegal.bundle.manifest import DetectorDescription
from edgegal.data.fields import Field
from edgegal.detections import Detections
from edgegal.inference import decode_outputs

__all__ = ["best_threshold", "detect_fields"]

_LOWEST, _HIGHEST = 0.1, 0.9
_BATCH = 16


def detect_fields(model: Any, description: DetectorDescription, fields: Sequence[Field]) -> list[Detections]:
    """Detections of a Keras detector on fields of its input size, down to a score of .1."""
    grid = anchors.generate(description.anchors, description.preprocess.height, description.preprocess.width)
    found = []
    for start in range(0, len(fields), _BATCH):
        batch = fields[start : start + _BATCH]
        outputs = model(np.stack([f.picture for f in batch]).astype(np.float32), training=False)
        codes, scores = (ops.convert_to_numpy(outputs[role]) for role in ("boxes", "scores"))
        found += [decode_outputs(c, s, grid, description, _LOWEST) for c, s in zip(codes, scores, strict=True)]
    return found


def best_threshold(found: Sequence[Detections], fields: Sequence[Field]) -> float:
    """The score threshold from .1 to .9 with the best F1 at IoU .5, to two decimals; of equal ones the lowest.

    Parameters
    ----------
    found
        Detections on each field, down to low scores.
    fields
        Their truth; what lies on what they ignore counts neither way.
    """
    matches = metrics.match_pictures(
        found, [f.truth for f in fields], class_index=None, ignore=[f.ignore for f in fields]
    )
    asked = (metrics.THRESHOLDS >= _LOWEST) & (metrics.THRESHOLDS <= _HIGHEST)
    return float(metrics.confidence_curve(matches, metrics.THRESHOLDS[asked]).best_threshold)
