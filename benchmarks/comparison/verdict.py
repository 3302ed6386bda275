"""The gate of a comparison: figures held against their limits, by their intervals and never by the point alone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from edgegal.benchmarks.comparison.figures import ClassDrop, ClassifierRow, Row
from edgegal.errors import InputError
from edgegal.metrics import Interval

__all__ = ["Check", "DropType", "Gate", "Outcome"]

DropType = Literal["absolute", "relative"]
"""Whether limits of drops are in the figure's own unit, or shares of float's figure."""

Outcome = Literal["passed", "failed", "not excluded"]
"""``not excluded`` passes: nothing shows a loss beyond the limit, and the pictures are too few to rule it out."""

_NEAREST = 1e-4
"""A drop nearer to its limit than this is told from it by no set that anybody has."""


@dataclass(frozen=True)
class Check:
    """A figure of a variant held against its limit.

    Attributes
    ----------
    variant
        Whose figure it is.
    figure
        What is judged: ``accuracy drop``, ``spiral recall drop``, ``agreement``.
    gate
        Which limit judged it, the same for all variants: ``drop``, ``worst class``, ``agreement``.
    value
        The figure with the interval it was judged by.
    limit
        In the figure's unit.
    outcome
        Of the check.
    pictures
        About how many pictures would tell, where the outcome is ``not excluded`` and a number of them would.
    """

    variant: str
    figure: str
    gate: str
    value: Interval
    limit: float
    outcome: Outcome
    pictures: int | None = None

    def __str__(self) -> str:
        """The figure, its interval and its limit in one line."""
        figure = f"{self.variant}: {self.figure} {self.value.value:.4f} [{self.value.low:.4f}, {self.value.high:.4f}]"
        side = "least" if self.gate == "agreement" else "most"
        if self.outcome == "passed":
            return f"{figure}, at {side} {self.limit:.4g} asked"
        if self.outcome == "failed":
            return f"{figure}, surely {'less' if side == 'least' else 'more'} than {self.limit:.4g}"
        more = f"; about {self.pictures:,} pictures would tell" if self.pictures else ""
        return f"{figure}, more than {self.limit:.4g} cannot be excluded{more}"


@dataclass(frozen=True)
class Gate:
    """The rule a variant must pass: it fails when it is surely worse than a limit, and a doubt passes.

    Attributes
    ----------
    max_drop
        Fails when the low end of the 95 % paired interval of the drop in accuracy (detectors: AP at IoU .5) lies above
        it.
    min_agreement
        A classifier fails when the high end of the 95 % interval of its agreement with float lies below it.
    min_box_agreement
        The same of the boxes that a detector has in common with float. Boxes near the score threshold come and go with
        the last bit, so this is lower.
    worst_class_drop
        Fails when the low end of the interval of what some class lost lies above it; see `ClassDrop` for how these
        intervals allow for the number of classes.
    drop_type
        ``relative`` makes the limits of drops shares of float's figure.

    Raises
    ------
    InputError
        A limit is not a share from 0 to 1.
    """

    max_drop: float = 0.01
    min_agreement: float = 0.97
    min_box_agreement: float = 0.85
    worst_class_drop: float = 0.03
    drop_type: DropType = "absolute"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not 0 <= value <= 1:
                option = "--" + field.name.replace("_", "-")
                raise InputError(f"{option} {value:g} is no limit", "give a share from 0 to 1")

    def checks(self, row: Row, reference: Row) -> tuple[Check, ...]:
        """Everything of a row that is judged, against float's row; nothing for float itself."""
        return tuple(self._checks(row, reference))

    def _checks(self, row: Row, reference: Row) -> Iterator[Check]:
        if row.drop is not None:
            yield self._drop(row, row.drop, self._limit(self.max_drop, reference.headline.value))
        if row.class_drops:
            yield self._worst_class(row)
        if row.agreement is not None:
            yield self._agreement(row, row.agreement)

    def _limit(self, share: float, reference: float) -> float:
        return share * reference if self.drop_type == "relative" else share

    def _drop(self, row: Row, drop: Interval, limit: float) -> Check:
        outcome: Outcome = "passed"
        pictures = None
        if drop.low > limit:
            outcome = "failed"
        elif row.highest_drop > limit:
            outcome = "not excluded"
            pictures = _needed(row, drop, limit)
        figure = "accuracy drop" if isinstance(row, ClassifierRow) else "AP@.5 drop"
        return Check(row.variant, figure, "drop", drop, limit, outcome, pictures)

    def _worst_class(self, row: Row) -> Check:
        def beyond(each: ClassDrop) -> bool:
            return each.drop.low > self._limit(self.worst_class_drop, each.reference)

        # A rare class may seem to have lost most, and one with many pictures be the sure loss.
        worst = max(row.class_drops, key=lambda each: (beyond(each), each.drop.value))
        metric = "recall" if isinstance(row, ClassifierRow) else "AP@.5"
        return Check(
            row.variant,
            f"{worst.label} {metric} drop (worst class, n={worst.n})",
            "worst class",
            worst.drop,
            self._limit(self.worst_class_drop, worst.reference),
            "failed" if beyond(worst) else "passed",
        )

    def _agreement(self, row: Row, agreement: Interval) -> Check:
        classifier = isinstance(row, ClassifierRow)
        least = self.min_agreement if classifier else self.min_box_agreement
        figure = "agreement with float" if classifier else "boxes in common with float"
        outcome: Outcome = "failed" if agreement.high < least else "passed"
        return Check(row.variant, figure, "agreement", agreement, least, outcome)

    def __str__(self) -> str:
        of_float = " of float's figure" if self.drop_type == "relative" else ""
        return (
            f"fails when surely beyond: drop {self.max_drop}{of_float}, drop of any class "
            f"{self.worst_class_drop}{of_float}, agreement {self.min_agreement}, box agreement {self.min_box_agreement}"
        )


def _needed(row: Row, drop: Interval, limit: float) -> int | None:
    """About how many pictures put the whole interval on one side of the limit, if the drop is what was measured."""
    distance = abs(drop.value - limit)
    below = drop.value < limit
    half = drop.high - drop.value if below else drop.value - drop.low
    if distance < _NEAREST or not math.isfinite(half):
        return None
    needed = row.n * max(1.0, half / distance) ** 2
    if below and isinstance(row, ClassifierRow):
        needed = max(needed, row.pictures_excluding(limit))
    # Two digits say all that is known of it.
    unit = 10 ** max(0, math.floor(math.log10(needed)) - 1)
    return math.ceil(needed / unit) * unit
