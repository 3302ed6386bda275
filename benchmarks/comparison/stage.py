"""What one network's variants did on one set."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgegal.benchmarks.comparison.disagreements import Disagreements
from edgegal.benchmarks.comparison.figures import ClassifierRow, DetectorRow, Row
from edgegal.benchmarks.comparison.verdict import Check, Gate
from edgegal.bundle import StageName

__all__ = ["StageReport"]


@dataclass(frozen=True, eq=False)
class StageReport:
    """One stage's variants on one set.

    Attributes
    ----------
    stage
        Which network.
    dataset, split
        The set.
    reference
        What the others are compared with.
    rows
        The reference first.
    left_out
        Variants that do not run here, and why.
    disagreements
        Pictures on which variants and the reference say different things.
    """

    stage: StageName
    dataset: str
    split: str
    reference: str
    rows: tuple[Row, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    disagreements: tuple[Disagreements, ...] = ()

    @property
    def judged(self) -> str:
        """What was judged on, in words."""
        return f"{self.dataset} ({self.split}, n={self.rows[0].n})"

    @property
    def classifier_rows(self) -> list[ClassifierRow]:
        """The rows of a classifier."""
        return [row for row in self.rows if isinstance(row, ClassifierRow)]

    @property
    def detector_rows(self) -> list[DetectorRow]:
        """The rows of a detector."""
        return [row for row in self.rows if isinstance(row, DetectorRow)]

    def checks(self, gate: Gate) -> Iterator[Check]:
        """Every figure that a gate judges."""
        for row in self.rows:
            yield from gate.checks(row, self.rows[0])

    def document(self) -> dict[str, Any]:
        """As JSON has it: all but the pictures."""
        return {
            "stage": self.stage,
            "dataset": self.dataset,
            "split": self.split,
            "reference": self.reference,
            "rows": [asdict(row) for row in self.rows],
            "left_out": dict(self.left_out),
            "disagreements": [each.document() for each in self.disagreements],
        }
