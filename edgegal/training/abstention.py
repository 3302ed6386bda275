"""When a classifier is deployed to give no class, chosen on held-out pictures.

Below a highest probability it is uncertain; below a size of the galaxy it is too small to tell. The second is no matter
of confidence: networks are sure of themselves on galaxies of a few pixels, which look round to them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.frames import View
from edgegal.metrics import Interval, answered, wilson
from edgegal.preprocess import resize

__all__ = [
    "SIDES",
    "AbstentionChoice",
    "SideAnswers",
    "answers_by_side",
    "choose_abstention",
    "smallest_side",
]

SIDES: tuple[int, ...] = (4, 6, 8, 10, 12, 14, 16, 20, 24, 32)
"""Longer sides of a galaxy's box, in pixels of the frame, at which answers are looked at."""

# Thresholds stand in manifests and settings with three decimals.
_STEP = 1e-3

# A bound on a handful of answers is no ground to withhold all others.
_LEAST_ANSWERS = 20


@dataclass(frozen=True)
class AbstentionChoice:
    """What was chosen, and what it gives on the pictures it was chosen on.

    Attributes
    ----------
    target
        Accuracy of answers that was asked for.
    abstain_below
        The threshold, for `ClassifierDescription.abstain_below`: 0 when all answers together reach the target; None
        when none of the thresholds does.
    coverage
        Share answered at the threshold; where there is none, at the one that came nearest.
    accuracy
        Share of right answers there, with its interval.
    n
        Pictures it was chosen on.
    """

    target: float
    abstain_below: float | None
    coverage: float
    accuracy: Interval
    n: int

    def __str__(self) -> str:
        seen = f"{self.accuracy.value:.3f} [{self.accuracy.low:.3f}, {self.accuracy.high:.3f}]"
        if self.abstain_below is None:
            return (
                f"no threshold makes answers surely {self.target:g} right on {self.n} pictures; "
                f"the best are {seen} on {self.coverage:.1%}"
            )
        return (
            f"uncertain below {self.abstain_below:g}: {self.coverage:.1%} of {self.n} pictures answered, {seen} right"
        )


def choose_abstention(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], target: float = 0.95, level: float = 0.95
) -> AbstentionChoice:
    """The smallest threshold, to three decimals, at which the answers given are surely as accurate as asked.

    Surely: the low end of Wilson's interval of their accuracy reaches the target. The bound asks for more the fewer
    answers it rests on, as the guaranteed risk of Geifman & El-Yaniv 2017 (arXiv:1705.08500) does; its 2.5 % pay for
    looking at several thresholds. On 150 draws of 400 pictures
    whose probabilities were true, thresholds chosen by the bound, where it found one, kept targets of .85 and .9 on new
    pictures in 99 % of the draws, those chosen by the plain share in 43 to 51 %.

    Parameters
    ----------
    probabilities
        ``(n, classes)`` calibrated, of pictures the network was not trained on.
    labels
        ``(n,)`` class indices.
    target
        Accuracy asked of answers, above 0 and below 1.
    level
        Of the interval.
    """
    if not 0 < target < 1:
        raise ValueError(f"a target of {target} cannot be missed or cannot be reached")
    if len(labels) != len(probabilities) or not len(labels):
        raise ValueError(f"labels {labels.shape} and probabilities {probabilities.shape} must be as long, not empty")
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    nearest: AbstentionChoice | None = None
    before = 0
    for threshold in np.round(np.arange(0, 1 + _STEP / 2, _STEP), 3):
        given = confidence >= threshold
        answers = int(given.sum())
        if answers < min(_LEAST_ANSWERS, len(labels)):
            break
        if answers == before:
            continue
        before = answers
        found = AbstentionChoice(
            target,
            float(threshold),
            answers / len(labels),
            wilson(int(right[given].sum()), answers, level),
            len(labels),
        )
        if found.accuracy.low >= target:
            return found
        if nearest is None or found.accuracy.low > nearest.accuracy.low:
            nearest = found
    assert nearest is not None  # All pictures are answered at 0.
    return AbstentionChoice(target, None, nearest.coverage, nearest.accuracy, nearest.n)


@dataclass(frozen=True)
class SideAnswers:
    """What a classifier answers of galaxies of one size.

    Attributes
    ----------
    side
        Longer side of the box in pixels of the frame.
    coverage
        Share answered.
    accuracy
        Share of right answers among them, with its interval; None where nothing was answered.
    """

    side: int
    coverage: float
    accuracy: Interval | None


def answers_by_side(
    classify: Callable[[View], NDArray[np.floating]],
    crops: View,
    labels: NDArray[np.integer],
    crop_scale: float,
    abstain_below: float = 0.0,
    sides: Sequence[int] = SIDES,
) -> tuple[SideAnswers, ...]:
    """Answers to the same galaxies, taken with ever coarser pixels.

    Each crop is averaged down to the pixels a galaxy of that size has in a frame and brought back to the input size as
    the device does. Averaging also lowers the noise and no blur is added: at the telescope the same size shows less.

    Parameters
    ----------
    classify
        Maps crops to calibrated probabilities ``(n, classes)``.
    crops
        ``(n, size, size, 3)`` uint8 RGB, framed by the box.
    labels
        ``(n,)`` class indices.
    crop_scale
        Side of the crops over the longer side of their boxes.
    abstain_below
        The classifier's threshold.
    sides
        In pixels, rising.
    """
    size = crops.shape[1]
    found = []
    for side in sides:
        pixels = max(1, round(side * crop_scale))
        coarse = crops if pixels >= size else np.stack([resize(resize(c, pixels, pixels), size, size) for c in crops])
        probabilities = classify(coarse)
        given = answered(probabilities, abstain_below)
        right = int((probabilities.argmax(axis=1) == labels)[given].sum())
        accuracy = wilson(right, int(given.sum())) if given.any() else None
        found.append(SideAnswers(side, float(given.mean()), accuracy))
    return tuple(found)


def smallest_side(by_side: Sequence[SideAnswers], target: float) -> int | None:
    """The smallest side from which on answers are as accurate as asked, for `ClassifierDescription.min_side_px`.

    Where nothing is answered nothing is wrong. Here the plain share decides: a few sizes are asked, not hundreds of
    thresholds, and all larger ones must reach the target too.

    Parameters
    ----------
    by_side
        As `answers_by_side` gives them.
    target
        Accuracy asked of answers.

    Returns
    -------
    int or None
        None when answers on the largest galaxies miss the target.
    """
    smallest = None
    for found in sorted(by_side, key=lambda s: -s.side):
        if found.accuracy is not None and found.accuracy.value < target:
            break
        smallest = found.side
    return smallest
