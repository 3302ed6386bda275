"""How good answers are when some may be withheld: accuracy of what is answered against the share that is.

A picture is answered when its highest probability reaches a threshold (selective classification; Geifman & El-Yaniv
2017, NeurIPS, arXiv:1705.08500). Risk is the share of wrong answers among those given, coverage the share of pictures
that get one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["RiskCoverage", "answered", "risk_coverage"]


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """What every threshold gives, from the most careful to the one that answers all.

    Attributes
    ----------
    thresholds
        ``(k,)`` float64, the distinct highest probabilities, falling: answered is what reaches the threshold.
    coverage
        ``(k,)`` share answered, rising to 1.
    risk
        ``(k,)`` share of these that is wrong.
    area
        Risk averaged over coverage, the area under the curve: 0 when nothing is wrong, the plain error rate when
        confidence says nothing.
    """

    thresholds: NDArray[np.float64]
    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    area: float


def answered(probabilities: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """Which rows ``(n,)`` of probabilities ``(n, classes)`` reach a threshold with their highest."""
    reached: NDArray[np.bool_] = probabilities.max(axis=1).astype(np.float64) >= threshold
    return reached


def risk_coverage(truth: NDArray[np.integer], probabilities: NDArray[np.floating]) -> RiskCoverage:
    """The whole curve.

    Pictures of equal confidence are answered or withheld together, so the curve does not depend on their order.

    Parameters
    ----------
    truth
        ``(n,)`` class indices.
    probabilities
        ``(n, classes)``; the highest of a row is its confidence.
    """
    if len(truth) != len(probabilities) or not len(truth):
        raise ValueError(f"truth {truth.shape} and probabilities {probabilities.shape} must be as long, not empty")
    confidence = probabilities.max(axis=1).astype(np.float64)
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum((probabilities.argmax(axis=1) != truth)[order])
    last_of_equals = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True))
    given = last_of_equals + 1
    risk = wrong[last_of_equals] / given
    coverage = given / len(truth)
    return RiskCoverage(
        thresholds=confidence[order][last_of_equals],
        coverage=coverage,
        risk=risk,
        area=float(risk @ np.diff(coverage, prepend=0)),
    )
