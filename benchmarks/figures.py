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

__all__ = ["Answers", "ClassRecall", "ClassifierRow", "DetectorRow", "Ran", "Row", "judge_classifier", "judge_detector"]


@dataclass(frozen=True)
class Ran:
    """A network that answered: what it is called and what it ran on."""

    variant: str
    runtime: str
    executed: str


@dataclass(frozen=True, eq=False)
class Answers:
    """A classifier's answers to the pictures of a set.

    Attributes
    ----------
    probabilities
        ``(n, classes)``.
    answered
        ``(n,)`` whether it would give a class; None for a classifier that always does.
    """

    probabilities: NDArray[np.float32]
    answered: NDArray[np.bool_] | None = None

    @property
    def predicted(self) -> NDArray[np.int64]:
        """``(n,)`` most probable classes."""
        return self.probabilities.argmax(axis=1)


@dataclass(frozen=True)
class ClassRecall:
    """Share of the `n` pictures of a class that were given it; None where there are no pictures."""

    label: str
    n: int
    recall: Interval | None


@dataclass(frozen=True)
class ClassifierRow:
    """Figures of one classifier; those against float are None for float itself.

    `coverage` is the share of pictures that got a class, `selective_accuracy` the share of these that got the right
    one; both None for a classifier that always answers, the second also where nothing was answered. All other figures
    are over all pictures, with the most probable class as the answer.
    """

    variant: str
    runtime: str
    executed: str
    n: int
    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    calibration_error: float
    recalls: tuple[ClassRecall, ...]
    coverage: Interval | None
    selective_accuracy: Interval | None
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
    answers: Answers,
    labels: NDArray[np.int32],
    classes: Sequence[str],
    reference: Answers | None,
    seed: int,
) -> ClassifierRow:
    """Figures of a classifier's answers.

    Parameters
    ----------
    ran
        What answered.
    answers
        What it answered.
    labels
        ``(n,)`` indices into `classes`.
    classes
        Names of the classes.
    reference
        Float's answers to the same pictures; None when these are they.
    seed
        Of the bootstraps.
    """
    predicted = answers.predicted
    right = predicted == labels
    agreement = drop = p = None
    if reference is not None:
        expected = reference.predicted
        agreement = metrics.accuracy(expected, predicted)
        drop = metrics.bootstrap_mean_difference(expected == labels, right, seed)
        p = metrics.mcnemar(expected == labels, right).p
    return ClassifierRow(
        ran.variant,
        ran.runtime,
        ran.executed,
        n=len(labels),
        accuracy=metrics.wilson(int(right.sum()), len(labels)),
        **_over_classes(labels, predicted, len(classes), seed),
        calibration_error=metrics.expected_calibration_error(labels, answers.probabilities),
        recalls=tuple(_recall(name, right[labels == i]) for i, name in enumerate(classes)),
        coverage=None if answers.answered is None else _share(answers.answered),
        selective_accuracy=None if answers.answered is None else _share(right[answers.answered]),
        agreement=agreement,
        drop=drop,
        mcnemar_p=p,
    )


def _share(these: NDArray[np.bool_]) -> Interval | None:
    return metrics.wilson(int(these.sum()), len(these)) if len(these) else None


def _recall(label: str, found: NDArray[np.bool_]) -> ClassRecall:
    return ClassRecall(label, len(found), _share(found))


def _over_classes(
    labels: NDArray[np.int32], predicted: NDArray[np.int64], classes: int, seed: int
) -> dict[str, Interval]:
    """Figures in which every class counts alike, by field, bootstrapped over pictures."""

    def figures(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        confusion = metrics.weighted_confusion(labels, predicted, classes, counts)
        return {
            # Classes that a resample has no picture of have no recall in it.
            "balanced_accuracy": np.nanmean(metrics.recalls(confusion), axis=-1),
            "macro_f1": metrics.mean_over_seen(metrics.f1_scores(confusion), confusion),
        }

    bands = metrics.bootstrap_bands(len(labels), figures, seed)
    return {name: Interval(float(b.value), float(b.low), float(b.high)) for name, b in bands.items()}


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
