"""Figures of one network's answers, alone and against float's answers to the same pictures.

Takes arrays and knows no runtime: the same figures come from a device, a workstation and a test.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal import metrics
from edgegal.detections import Detections
from edgegal.metrics import Interval

__all__ = ["ClassifierRow", "DetectorRow", "Ran", "Row", "judge_classifier", "judge_detector"]


@dataclass(frozen=True)
class Ran:
    """A network that answered: what it is called and what it ran on."""

    variant: str
    runtime: str
    executed: str


@dataclass(frozen=True)
class ClassifierRow:
    """Figures of one classifier; those against float are None for float itself."""

    variant: str
    runtime: str
    executed: str
    n: int
    accuracy: Interval
    balanced_accuracy: float
    macro_f1: float
    calibration_error: float
    agreement: float | None
    drop: Interval | None
    mcnemar_p: float | None


@dataclass(frozen=True)
class DetectorRow:
    """Figures of one detector; those against float are None for float itself."""

    variant: str
    runtime: str
    executed: str
    n: int
    truths: int
    average_precision_50: Interval
    mean_average_precision: float
    average_recall_100: float
    agreement: float | None
    drop: Interval | None


Row = ClassifierRow | DetectorRow


def judge_classifier(
    ran: Ran,
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int32],
    reference: NDArray[np.float32] | None,
    seed: int,
) -> ClassifierRow:
    """Figures of a classifier's answers.

    Parameters
    ----------
    ran
        What answered.
    probabilities
        ``(n, classes)``.
    labels
        ``(n,)``.
    reference
        Float's answers to the same pictures; None when these are they.
    seed
        Of the bootstrap.
    """
    predicted, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    right = predicted == labels
    agreement = drop = p = None
    if reference is not None:
        expected = reference.argmax(axis=1)
        agreement = metrics.accuracy(expected, predicted)
        drop = metrics.bootstrap_mean_difference(expected == labels, right, seed)
        p = metrics.mcnemar(expected == labels, right).p
    return ClassifierRow(
        ran.variant,
        ran.runtime,
        ran.executed,
        n=len(labels),
        accuracy=metrics.wilson(int(right.sum()), len(labels)),
        balanced_accuracy=metrics.balanced_accuracy(labels, predicted, classes),
        macro_f1=metrics.macro_f1(labels, predicted, classes),
        calibration_error=metrics.expected_calibration_error(labels, probabilities),
        agreement=agreement,
        drop=drop,
        mcnemar_p=p,
    )


def judge_detector(
    ran: Ran,
    found: Sequence[Detections],
    boxes: Sequence[NDArray[np.float32]],
    reference: Sequence[Detections] | None,
    threshold: float,
    seed: int,
) -> DetectorRow:
    """Figures of a detector's answers.

    Parameters
    ----------
    ran
        What answered.
    found
        Detections of each picture, down to low scores.
    boxes
        True boxes of each picture.
    reference
        Float's detections on the same pictures; None when these are they.
    threshold
        Score above which boxes are reported: agreement is over these.
    seed
        Of the bootstrap over pictures.
    """
    truth = [Detections(b, np.ones(len(b), np.float32), np.zeros(len(b), np.int32)) for b in boxes]
    matches = metrics.match_pictures(found, truth)
    agreement = drop = None
    if reference is not None:
        expected = metrics.match_pictures(reference, truth)
        agreement = metrics.box_agreement([r.above(threshold) for r in reference], [f.above(threshold) for f in found])
        drop = metrics.bootstrap(
            len(matches), lambda drawn: _precision(expected, drawn) - _precision(matches, drawn), seed
        )
    return DetectorRow(
        ran.variant,
        ran.runtime,
        ran.executed,
        n=len(matches),
        truths=sum(map(len, truth)),
        average_precision_50=metrics.bootstrap(len(matches), lambda drawn: _precision(matches, drawn), seed),
        mean_average_precision=metrics.mean_average_precision(found, truth),
        average_recall_100=metrics.average_recall(found, truth, limit=100),
        agreement=agreement,
        drop=drop,
    )


def _precision(matches: Sequence[metrics.PictureMatch], drawn: NDArray[np.int64]) -> float:
    return metrics.average_precision([matches[i] for i in drawn])
