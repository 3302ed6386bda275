"""Figures of one network's answers, alone and against float's answers to the same pictures.

Takes arrays and knows no runtime: the same figures come from a device, a workstation and a test.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal import metrics
from edgegal.detections import Detections
from edgegal.metrics import Interval

__all__ = [
    "SCORE_FLOOR",
    "Answers",
    "ClassRecall",
    "ClassifierRow",
    "DetectorRow",
    "Ran",
    "Row",
    "judge_classifier",
    "judge_detector",
]


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
    """Figures of one detector, by the rules of COCO but for `f1`, which is that of the boxes it reports, at IoU .5.

    Those against float are None for float itself.
    """

    variant: str
    runtime: str
    executed: str
    n: int
    truths: int
    average_precision_50: Interval
    mean_average_precision: Interval
    average_recall_1: Interval
    average_recall_100: Interval
    f1: Interval
    agreement: float | None
    drop: Interval | None


Row = ClassifierRow | DetectorRow

SCORE_FLOOR = 0.05
"""A detector is judged on all it finds down to this score, and besides on what it reports."""

_RESAMPLES = 1000
"""Of a set of fields: each costs a sort of all detections at ten overlaps."""


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
    truth: Sequence[Detections],
    ignore: Sequence[NDArray[np.float32]],
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
    truth
        True boxes of each picture.
    ignore
        ``(k, 4)`` boxes of each picture that count neither way.
    reference
        Float's detections on the same pictures; None when these are they.
    threshold
        Score above which boxes are reported: agreement and F1 are over these.
    seed
        Of the bootstrap over pictures.
    """
    figures = metrics.coco_statistic(found, truth, ignore, sizes={})
    most = max(map(len, found), default=1) or 1
    reported = metrics.match_pictures(found, truth, class_index=None, limit=most, ignore=ignore)

    def all_figures(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        curve = metrics.confidence_curve(reported, np.array([threshold]), counts=counts)
        return {**figures(counts), "f1": curve.f1[..., 0]}

    bands = metrics.bootstrap_bands(len(truth), all_figures, seed, _RESAMPLES)
    agreement = drop = None
    if reference is not None:
        expected, obtained = (_precision_50(these, truth, ignore) for these in (reference, found))

        def lost(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
            return {"drop": expected(counts) - obtained(counts)}

        drop = metrics.bootstrap_bands(len(truth), lost, seed, _RESAMPLES)["drop"].interval()
        agreement = metrics.box_agreement([r.above(threshold) for r in reference], [f.above(threshold) for f in found])
    return DetectorRow(
        ran.variant,
        ran.runtime,
        ran.executed,
        n=len(truth),
        truths=sum(map(len, truth)),
        average_precision_50=bands["ap50"].interval(),
        mean_average_precision=bands["ap"].interval(),
        average_recall_1=bands["ar1"].interval(),
        average_recall_100=bands["ar100"].interval(),
        f1=bands["f1"].interval(),
        agreement=agreement,
        drop=drop,
    )


def _precision_50(
    found: Sequence[Detections], truth: Sequence[Detections], ignore: Sequence[NDArray[np.float32]]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """AP at IoU .5, averaged over classes, as a function of how often each picture counts."""
    classes = sorted({int(c) for t in truth for c in t.classes})
    matches = [metrics.match_pictures(found, truth, class_index=c, ignore=ignore) for c in classes]

    def mean(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        each = np.stack([metrics.precision_at_recalls(m, counts=counts).mean(axis=-1) for m in matches])
        known = np.isfinite(each).sum(axis=0)
        # A resample may hold no object of any class.
        return np.divide(np.nansum(each, axis=0), known, out=np.full(known.shape, np.nan), where=known > 0)

    return mean
