"""Figures of merit with their uncertainty, in NumPy alone: the device computes them too."""

from edgegal.metrics.classification import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    recalls,
)
from edgegal.metrics.detection import (
    COCO_IOUS,
    PictureMatch,
    average_precision,
    average_recall,
    box_agreement,
    match_boxes,
    match_picture,
    match_pictures,
    mean_average_precision,
)
from edgegal.metrics.intervals import Interval, bootstrap, bootstrap_mean_difference, bootstrap_median, wilson
from edgegal.metrics.paired import McNemar, mcnemar

__all__ = [
    "COCO_IOUS",
    "Interval",
    "McNemar",
    "PictureMatch",
    "accuracy",
    "average_precision",
    "average_recall",
    "balanced_accuracy",
    "bootstrap",
    "bootstrap_mean_difference",
    "bootstrap_median",
    "box_agreement",
    "confusion_matrix",
    "expected_calibration_error",
    "macro_f1",
    "match_boxes",
    "match_picture",
    "match_pictures",
    "mcnemar",
    "mean_average_precision",
    "recalls",
    "wilson",
]
