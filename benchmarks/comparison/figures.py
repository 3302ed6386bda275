"""Figures of one network's answers, alone and against float's answers to the same pictures.

Takes arrays and knows no runtime: the same figures come from a device, a workstation and a test.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal import metrics
from edgegal.detections import Detections
from edgegal.metrics import Interval

__all__ = [
    "RESAMPLES",
    "SCORE_FLOOR",
    "Answers",
    "ClassDrop",
    "ClassRecall",
    "ClassifierRow",
    "DetectorRow",
    "Ran",
    "ReliabilityBin",
    "Row",
    "judge_classifier",
    "judge_detector",
]


_LEVEL = 0.95


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
class ClassDrop:
    """What a class lost against float: of its recall, for detectors of its AP at IoU .5.

    The intervals of all classes of a variant hold together at 95 %: each is one of ``1 - .05 / classes`` (Bonferroni),
    so that looking at the worst of many classes finds no more by chance than looking at one. `reference` is float's
    figure.
    """

    label: str
    n: int
    reference: float
    drop: Interval


@dataclass(frozen=True)
class ReliabilityBin:
    """The `n` answers of about one confidence: its mean, and the share of them that was right."""

    confidence: float
    accuracy: Interval
    n: int


@dataclass(frozen=True)
class ClassifierRow:
    """Figures of one classifier; those against float are None, or empty, for float itself.

    `coverage` is the share of pictures that got a class, `selective_accuracy` the share of these that got the right
    one; both None for a classifier that always answers, the second also where nothing was answered. All other figures
    are over all pictures, with the most probable class as the answer.

    `agreement` is the share of pictures given the class that float gives. `lost` counts the pictures that float alone
    got right and `gained` those that it alone got wrong; the three drops are float's figure less this one's, on the
    same resamples of the pictures.
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
    reliability: tuple[ReliabilityBin, ...]
    coverage: Interval | None = None
    selective_accuracy: Interval | None = None
    agreement: Interval | None = None
    drop: Interval | None = None
    balanced_drop: Interval | None = None
    macro_f1_drop: Interval | None = None
    lost: int | None = None
    gained: int | None = None
    mcnemar_p: float | None = None
    class_drops: tuple[ClassDrop, ...] = ()

    @property
    def headline(self) -> Interval:
        """The figure that `drop` is the loss of."""
        return self.accuracy

    @property
    def highest_drop(self) -> float:
        """The largest drop that the pictures leave possible; 0 for float itself.

        Where no picture changed sides, all resamples say 0. What that does not exclude depends on how many there were.
        """
        if self.drop is None or self.lost is None or self.gained is None:
            return 0.0
        return max(self.drop.high, _share_lost(self.lost, self.gained, self.n).high)

    def pictures_excluding(self, limit: float) -> float:
        """About how many pictures, if as large shares of them are lost and gained, exclude a larger drop by counts.

        `limit` is above the drop. What none lost excludes grows with the number of pictures, not with its root.
        """
        pictures = float(self.n)
        lost, gained = (self.lost or 0) / self.n, (self.gained or 0) / self.n
        while _share_lost(lost * pictures, gained * pictures, pictures).high > limit:
            pictures *= 1.01
        return pictures


@dataclass(frozen=True)
class DetectorRow:
    """Figures of one detector, by the rules of COCO but for `f1`, which is that of the boxes it reports, at IoU .5.

    Those against float are None, or empty, for float itself. `agreement` is the share of reported boxes in common with
    float; `drop` is that of AP at IoU .5. `class_drops` is empty too where there is one class.
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
    agreement: Interval | None = None
    drop: Interval | None = None
    class_drops: tuple[ClassDrop, ...] = ()

    @property
    def headline(self) -> Interval:
        """The figure that `drop` is the loss of."""
        return self.average_precision_50

    @property
    def highest_drop(self) -> float:
        """The largest drop that the pictures leave possible; 0 for float itself."""
        return 0.0 if self.drop is None else self.drop.high


Row = ClassifierRow | DetectorRow

SCORE_FLOOR = 0.05
"""A detector is judged on all it finds down to this score, and besides on what it reports."""

RESAMPLES = 1000
"""Of each bootstrap. Of a set of fields each costs a sort of all detections at ten overlaps."""

_Statistic = Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]]


def judge_classifier(
    ran: Ran,
    answers: Answers,
    labels: NDArray[np.int32],
    classes: Sequence[str],
    reference: Answers | None,
    seed: int,
    resamples: int = RESAMPLES,
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
    seed, resamples
        Of the bootstrap over pictures.
    """
    predicted = answers.predicted
    right = predicted == labels
    figures = _over_classes(labels, predicted, len(classes))
    against_float: dict[str, Any] = {}
    if reference is not None:
        expected = reference.predicted
        was_right = expected == labels
        figures = _with_drops(figures, _over_classes(labels, expected, len(classes)), was_right, right)
        test = metrics.mcnemar(was_right, right)
        against_float = {
            "agreement": metrics.wilson(int(np.sum(expected == predicted)), len(labels)),
            "lost": test.only_first,
            "gained": test.only_second,
            "mcnemar_p": test.p,
            "class_drops": _recall_drops(labels, classes, was_right, right),
        }
    resampled: dict[str, Any] = {
        name: band.interval() for name, band in metrics.bootstrap_bands(len(labels), figures, seed, resamples).items()
    }
    return ClassifierRow(
        ran.variant,
        ran.runtime,
        ran.executed,
        n=len(labels),
        accuracy=metrics.wilson(int(right.sum()), len(labels)),
        calibration_error=metrics.expected_calibration_error(labels, answers.probabilities),
        recalls=tuple(_recall(name, right[labels == i]) for i, name in enumerate(classes)),
        reliability=_reliability(labels, answers),
        coverage=None if answers.answered is None else _share(answers.answered),
        selective_accuracy=None if answers.answered is None else _share(right[answers.answered]),
        **resampled,
        **against_float,
    )


def _share(these: NDArray[np.bool_]) -> Interval | None:
    return metrics.wilson(int(these.sum()), len(these)) if len(these) else None


def _recall(label: str, found: NDArray[np.bool_]) -> ClassRecall:
    return ClassRecall(label, len(found), _share(found))


def _reliability(labels: NDArray[np.int32], answers: Answers) -> tuple[ReliabilityBin, ...]:
    bins = metrics.reliability(labels, answers.probabilities)
    return tuple(
        ReliabilityBin(float(confidence), metrics.wilson(round(accuracy * n), int(n)), int(n))
        for confidence, accuracy, n in zip(bins.confidence, bins.accuracy, bins.counts, strict=True)
        if n
    )


def _over_classes(labels: NDArray[np.int32], predicted: NDArray[np.int64], classes: int) -> _Statistic:
    """Figures in which every class counts alike, by field."""

    def figures(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        confusion = metrics.weighted_confusion(labels, predicted, classes, counts)
        return {
            # Classes that a resample has no picture of have no recall in it.
            "balanced_accuracy": np.nanmean(metrics.recalls(confusion), axis=-1),
            "macro_f1": metrics.mean_over_seen(metrics.f1_scores(confusion), confusion),
        }

    return figures


def _with_drops(
    of_variant: _Statistic, of_float: _Statistic, was_right: NDArray[np.bool_], right: NDArray[np.bool_]
) -> _Statistic:
    """The figures of a variant and what they lost against float, on the same resamples."""
    lost = was_right.astype(np.float64) - right

    def figures(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        now, before = of_variant(counts), of_float(counts)
        return {
            **now,
            "drop": counts @ lost / len(lost),
            "balanced_drop": before["balanced_accuracy"] - now["balanced_accuracy"],
            "macro_f1_drop": before["macro_f1"] - now["macro_f1"],
        }

    return figures


def _recall_drops(
    labels: NDArray[np.int32], classes: Sequence[str], was_right: NDArray[np.bool_], right: NDArray[np.bool_]
) -> tuple[ClassDrop, ...]:
    """What each class that has pictures lost of its recall."""
    present = np.unique(labels)
    level = 1 - (1 - _LEVEL) / len(present)
    drops = []
    for index in present:
        before, now = was_right[labels == index], right[labels == index]
        drop = _share_lost(int(np.sum(before & ~now)), int(np.sum(now & ~before)), len(before), level)
        drops.append(ClassDrop(classes[index], len(before), float(before.mean()), drop))
    return tuple(drops)


def _share_lost(lost: float, gained: float, n: float, level: float = _LEVEL) -> Interval:
    """Share of `n` pictures that was lost, less the share gained.

    Wald's interval after half a picture was added to each of the four outcomes (Agresti & Min 2005, Stat. Med. 24,
    729). A class may have three pictures, of which resamples all say the same: a bootstrap would call that certain.
    """
    centre = (lost - gained) / (n + 2)
    spread = math.sqrt(((lost + gained + 1) / (n + 2) - centre**2) / (n + 2))
    half = NormalDist().inv_cdf((1 + level) / 2) * spread
    value = (lost - gained) / n
    return Interval(value, max(-1.0, min(centre - half, value)), min(1.0, max(centre + half, value)))


def judge_detector(
    ran: Ran,
    found: Sequence[Detections],
    truth: Sequence[Detections],
    ignore: Sequence[NDArray[np.float32]],
    reference: Sequence[Detections] | None,
    classes: Sequence[str],
    threshold: float,
    seed: int,
    resamples: int = RESAMPLES,
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
    classes
        Names of the classes.
    threshold
        Score above which boxes are reported: agreement and F1 are over these.
    seed, resamples
        Of the bootstrap over pictures.
    """
    figures = metrics.coco_statistic(found, truth, ignore, sizes={})
    most = max(map(len, found), default=1) or 1
    reported = metrics.match_pictures(found, truth, class_index=None, limit=most, ignore=ignore)

    def all_figures(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        curve = metrics.confidence_curve(reported, np.array([threshold]), counts=counts)
        return {**figures(counts), "f1": curve.f1[..., 0]}

    bands = metrics.bootstrap_bands(len(truth), all_figures, seed, resamples)
    against_float: dict[str, Any] = {}
    if reference is not None:
        agreement = _box_agreement(
            [r.above(threshold) for r in reference], [f.above(threshold) for f in found], seed, resamples
        )
        drop, class_drops = _precision_drops(found, reference, truth, ignore, classes, seed, resamples)
        against_float = {"agreement": agreement, "drop": drop, "class_drops": class_drops}
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
        **against_float,
    )


def _box_agreement(a: Sequence[Detections], b: Sequence[Detections], seed: int, resamples: int) -> Interval:
    """`edgegal.metrics.box_agreement` with its interval over pictures."""
    matches = [metrics.match_picture(one, other, (0.5,), None, limit=len(one)) for one, other in zip(a, b, strict=True)]
    common = np.array([2.0 * m.hits.sum() for m in matches])
    boxes = np.array([float(len(one) + len(other)) for one, other in zip(a, b, strict=True)])

    def share(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        drawn = counts @ boxes
        # Where neither finds anything they agree.
        return {"agreement": np.divide(counts @ common, drawn, out=np.ones_like(drawn), where=drawn > 0)}

    return metrics.bootstrap_bands(len(boxes), share, seed, resamples)["agreement"].interval()


def _precision_drops(
    found: Sequence[Detections],
    reference: Sequence[Detections],
    truth: Sequence[Detections],
    ignore: Sequence[NDArray[np.float32]],
    classes: Sequence[str],
    seed: int,
    resamples: int,
) -> tuple[Interval, tuple[ClassDrop, ...]]:
    """What AP at IoU .5 lost: the mean over classes, and each of several classes."""
    present = sorted({int(c) for t in truth for c in t.classes})
    expected, obtained = (_precision_50(these, truth, ignore, present) for these in (reference, found))

    def mean(counts: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {"drop": _mean_known(expected(counts)) - _mean_known(obtained(counts))}

    drop = metrics.bootstrap_bands(len(truth), mean, seed, resamples)["drop"].interval()
    if len(present) < 2:
        return drop, ()
    level = 1 - (1 - _LEVEL) / len(present)
    each = metrics.bootstrap_bands(
        len(truth), lambda counts: {"drop": expected(counts) - obtained(counts)}, seed, resamples, level
    )["drop"]
    before = expected(np.ones((1, len(truth))))[0]
    objects = np.bincount(np.concatenate([t.classes for t in truth]), minlength=len(classes))
    return drop, tuple(
        ClassDrop(classes[c], int(objects[c]), float(before[k]), each.interval(k)) for k, c in enumerate(present)
    )


def _precision_50(
    found: Sequence[Detections],
    truth: Sequence[Detections],
    ignore: Sequence[NDArray[np.float32]],
    classes: Sequence[int],
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """AP at IoU .5 ``(b, classes)`` as a function of how often each picture counts, ``(b, n)``."""
    matches = [metrics.match_pictures(found, truth, class_index=c, ignore=ignore) for c in classes]
    return lambda counts: np.stack(
        [metrics.precision_at_recalls(m, counts=counts).mean(axis=-1) for m in matches], axis=-1
    )


def _mean_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis of what is a number; NaN where a resample holds no object of any class."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=-1)
    return np.divide(total, known.sum(axis=-1), out=np.full(total.shape, np.nan), where=known.any(axis=-1))
