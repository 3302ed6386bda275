"""The geometry of a comparison's drawings, which the page turns into SVG: no drawing library runs on a device."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgegal.benchmarks.comparison.figures import ClassifierRow
from edgegal.benchmarks.comparison.layer_report import LayerReport
from edgegal.benchmarks.comparison.stage import StageReport
from edgegal.benchmarks.comparison.verdict import Check, Gate

__all__ = ["Axis", "DropChart", "LayerChart", "ReliabilityChart", "drop_chart", "layer_chart", "reliability_charts"]


@dataclass(frozen=True)
class Axis:
    """A range of values along a length, with round ticks inside."""

    low: float
    high: float
    length: float
    ticks: tuple[float, ...]

    @classmethod
    def over(cls, values: Sequence[float], length: float, steps: int = 5) -> "Axis":
        """An axis that holds the finite of the values with a little room."""
        finite = [v for v in values if math.isfinite(v)] or [0.0]
        span = max(finite) - min(finite) or 0.02
        low, high = min(finite) - 0.06 * span, max(finite) + 0.06 * span
        raw = (high - low) / steps
        unit = 10 ** math.floor(math.log10(raw))
        step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= raw)
        first, last = math.ceil(low / step), math.floor(high / step)
        # Adding 0 turns -0 into 0.
        return cls(low, high, length, tuple(round(k * step, 10) + 0.0 for k in range(first, last + 1)))

    def at(self, value: float) -> float:
        """Place of a value, kept on the axis."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.length * min(1.0, max(0.0, share)), 1)


@dataclass(frozen=True)
class DropChart:
    """The drop of each variant with its interval and the limit it was held against."""

    axis: Axis
    figure: str
    checks: tuple[Check, ...]


def drop_chart(report: StageReport, gate: Gate, length: float) -> DropChart | None:
    """The drops of one stage on one set; None where there is only float."""
    checks = tuple(check for check in report.checks(gate) if check.gate == "drop")
    if not checks:
        return None
    ends = [end for c in checks for end in (c.value.low, c.value.high, c.limit)]
    return DropChart(Axis.over([0.0, *ends], length), checks[0].figure, checks)


@dataclass(frozen=True)
class ReliabilityChart:
    """Confidence against accuracy of one variant; both axes run from 0 to 1."""

    row: ClassifierRow
    axis: Axis


def reliability_charts(report: StageReport, length: float) -> list[ReliabilityChart]:
    """A square for each variant of a classifier."""
    axis = Axis(0.0, 1.0, length, (0.0, 0.5, 1.0))
    return [ReliabilityChart(row, axis) for row in report.classifier_rows]


@dataclass(frozen=True)
class LayerChart:
    """Signal to noise along the depth of a variant, decibels: up to each layer, and of each layer alone."""

    report: LayerReport
    axis: Axis
    step: float


def layer_chart(report: LayerReport, width: float, height: float) -> LayerChart:
    """The layers of one variant, evenly spread over the width."""
    values = [v for layer in report.layers for v in (layer.sqnr_db, layer.own_sqnr_db) if v is not None]
    return LayerChart(report, Axis.over([0.0, *values], height, steps=4), width / max(1, len(report.layers)))
