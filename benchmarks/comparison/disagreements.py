"""The pictures on which a variant and float say different things: what a figure hides and a person can judge."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal import metrics
from edgegal.benchmarks.comparison.figures import Answers
from edgegal.detections import Detections
from edgegal.frames import View

__all__ = [
    "BoxDisagreement",
    "ClassDisagreement",
    "Disagreement",
    "Disagreements",
    "box_disagreements",
    "class_disagreements",
]

_SHOWN = 24
"""Pictures kept of each variant."""

_IOU = 0.5

# Colours that stay apart for colour-blind eyes, RGB.
_TRUE, _FLOAT, _VARIANT = (235, 235, 235), (70, 150, 255), (255, 150, 30)


@dataclass(frozen=True, eq=False)
class ClassDisagreement:
    """A picture that float and a variant give different classes, each with its probability.

    `picture` is ``(h, w, 3)`` uint8 RGB and `index` its place in the set.
    """

    picture: View
    index: int
    truth: str
    expected: str
    expected_probability: float
    obtained: str
    obtained_probability: float

    def document(self) -> dict[str, Any]:
        """All but the picture."""
        return {
            "index": self.index,
            "truth": self.truth,
            "float": [self.expected, self.expected_probability],
            "variant": [self.obtained, self.obtained_probability],
        }

    def drawn(self, side: int) -> View:
        """The picture, its longer side of `side` pixels."""
        return _scaled(self.picture, side)[0]


@dataclass(frozen=True, eq=False)
class BoxDisagreement:
    """A picture on which float or a variant reports a box that the other does not.

    `picture` is ``(h, w, 3)`` uint8 RGB and `index` its place in the set; `only_float` and `only_variant` tell for each
    box of either whether the other lacks it.
    """

    picture: View
    index: int
    truth: Detections
    expected: Detections
    obtained: Detections
    only_float: NDArray[np.bool_]
    only_variant: NDArray[np.bool_]

    @property
    def confidence(self) -> float:
        """The best score of a box that one of the two lacks."""
        alone = (self.expected.scores[self.only_float], self.obtained.scores[self.only_variant])
        return max(float(scores.max(initial=0)) for scores in alone)

    def document(self) -> dict[str, Any]:
        """All but the picture."""
        return {
            "index": self.index,
            "only_float": _listed(self.expected.select(self.only_float)),
            "only_variant": _listed(self.obtained.select(self.only_variant)),
        }

    def drawn(self, side: int) -> View:
        """The picture, its longer side of `side` pixels, with true boxes thin and those that one lacks thick."""
        canvas, scale = _scaled(self.picture, side)
        _frame(canvas, self.truth.boxes * scale, _TRUE, 1)
        for found, alone, colour in (
            (self.expected, self.only_float, _FLOAT),
            (self.obtained, self.only_variant, _VARIANT),
        ):
            _frame(canvas, found.boxes[~alone] * scale, colour, 1)
            _frame(canvas, found.boxes[alone] * scale, colour, 2)
            for box, score in zip(found.boxes[alone] * scale, found.scores[alone], strict=True):
                where = (max(0, round(float(box[0]))), max(10, round(float(box[1])) - 4))
                cv2.putText(canvas, f"{score:.2f}", where, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
        return canvas


Disagreement = ClassDisagreement | BoxDisagreement


@dataclass(frozen=True, eq=False)
class Disagreements:
    """On how many pictures a variant disagrees with float, and the most confident of them, best first."""

    variant: str
    total: int
    shown: tuple[Disagreement, ...]

    def document(self) -> dict[str, Any]:
        """All but the pictures."""
        return {"variant": self.variant, "total": self.total, "shown": [each.document() for each in self.shown]}


def class_disagreements(
    variant: str,
    pictures: View,
    labels: NDArray[np.int32],
    classes: Sequence[str],
    expected: Answers,
    obtained: Answers,
) -> Disagreements:
    """Where two classifiers give different classes; first where the less sure of the two is surest.

    Parameters
    ----------
    variant
        Whose answers `obtained` are.
    pictures
        ``(n, h, w, 3)`` uint8 RGB.
    labels
        ``(n,)`` indices into `classes`.
    classes
        Names of the classes.
    expected, obtained
        Float's answers and the variant's.
    """
    differ = np.flatnonzero(expected.predicted != obtained.predicted)
    surest = np.minimum(expected.probabilities.max(axis=1), obtained.probabilities.max(axis=1))
    order = differ[np.argsort(-surest[differ], kind="stable")][:_SHOWN]
    shown = tuple(
        ClassDisagreement(
            pictures[i],
            int(i),
            classes[labels[i]],
            classes[expected.predicted[i]],
            float(expected.probabilities[i].max()),
            classes[obtained.predicted[i]],
            float(obtained.probabilities[i].max()),
        )
        for i in order
    )
    return Disagreements(variant, len(differ), shown)


def box_disagreements(
    variant: str,
    pictures: Sequence[View],
    truth: Sequence[Detections],
    expected: Iterable[Detections],
    obtained: Iterable[Detections],
) -> Disagreements:
    """Where two detectors report different boxes, at an overlap of half; first where the best of these scores most.

    Parameters
    ----------
    variant
        Whose boxes `obtained` are.
    pictures
        ``(h, w, 3)`` uint8 RGB each.
    truth
        True boxes of each picture.
    expected, obtained
        What float and the variant report on each.
    """
    found = sorted(_differing(pictures, truth, expected, obtained), key=lambda each: -each.confidence)
    return Disagreements(variant, len(found), tuple(found[:_SHOWN]))


def _differing(
    pictures: Sequence[View],
    truth: Sequence[Detections],
    expected: Iterable[Detections],
    obtained: Iterable[Detections],
) -> Iterator[BoxDisagreement]:
    for index, (picture, true, one, other) in enumerate(zip(pictures, truth, expected, obtained, strict=True)):
        other = other.select(np.argsort(-other.scores, kind="stable"))
        match = metrics.match_picture(other, one, (_IOU,), None, limit=len(other))
        only_float, only_variant = np.isnan(match.truth_scores()), ~match.hits[:, 0]
        if only_float.any() or only_variant.any():
            yield BoxDisagreement(picture, index, true, one, other, only_float, only_variant)


def _listed(found: Detections) -> list[dict[str, Any]]:
    return [{"box": box.tolist(), "score": float(score)} for box, score in zip(found.boxes, found.scores, strict=True)]


def _scaled(picture: View, side: int) -> tuple[View, float]:
    scale = side / max(picture.shape[:2])
    height, width = (max(1, round(n * scale)) for n in picture.shape[:2])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(picture, (width, height), interpolation=way)), scale


def _frame(canvas: View, boxes: NDArray[np.floating], colour: tuple[int, int, int], thick: int) -> None:
    # A box covers pixels from its first corner up to, not with, its last.
    for x0, y0, x1, y1 in np.rint(boxes).astype(int).tolist():
        cv2.rectangle(canvas, (x0, y0), (max(x1 - 1, x0), max(y1 - 1, y0)), colour, thick)
