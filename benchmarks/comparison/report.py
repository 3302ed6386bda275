"""The report of a comparison: its figures, what the gate says of them, and both as one document."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from edgegal.benchmarks.comparison import tables
from edgegal.benchmarks.comparison.layer_report import LayerReport
from edgegal.benchmarks.comparison.stage import StageReport
from edgegal.benchmarks.comparison.tables import Table
from edgegal.benchmarks.comparison.verdict import Check, Gate, Outcome
from edgegal.bundle import StageName
from edgegal.errors import GateFailedError
from edgegal.machine import this_machine
from edgegal.reports.parts import as_json

__all__ = ["Comparison", "Gate", "StageReport"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The report: knows its figures and its verdict.

    A network may have been judged on several sets, each a report of its own.
    """

    bundle: str
    seed: int
    resamples: int
    gate: Gate
    stages: tuple[StageReport, ...]
    layers: tuple[LayerReport, ...] = ()

    @property
    def checks(self) -> tuple[tuple[StageReport, tuple[Check, ...]], ...]:
        """Every figure that was judged, by stage and set."""
        return tuple((stage, tuple(stage.checks(self.gate))) for stage in self.stages)

    @property
    def failures(self) -> tuple[str, ...]:
        """What fails the gate, one line each; empty when everything passes."""
        return tuple(self._lines("failed"))

    @property
    def doubts(self) -> tuple[str, ...]:
        """What passes although the pictures are too few to rule a loss out, one line each."""
        return tuple(self._lines("not excluded"))

    def _lines(self, outcome: Outcome) -> Iterator[str]:
        for stage, checks in self.checks:
            where = f" on {stage.judged}" if len(self._of(stage.stage)) > 1 else ""
            yield from (f"{stage.stage} {check}{where}" for check in checks if check.outcome == outcome)

    def _of(self, name: StageName) -> list[StageReport]:
        return [stage for stage in self.stages if stage.stage == name]

    def check(self) -> None:
        """Raise `GateFailedError` naming every variant and figure that fails."""
        if self.failures:
            raise GateFailedError(
                "; ".join(self.failures), "calibrate on more pictures, or ship a wider precision of this variant"
            )

    def tables(self) -> Iterator[Table]:
        """Title, header and cells of each table: figures, gates, layers."""
        yield from self.figure_tables()
        yield from map(tables.layers, self.layers)

    def figure_tables(self) -> Iterator[Table]:
        """Those of figures and gates; all sets of the classifier stand in one, their recalls in one each."""
        for stage in self._of("detector"):
            yield tables.detector(stage)
        yield from tables.classifier(self._of("classifier"))
        yield from tables.gates(self.checks)

    @property
    def summary(self) -> str:
        """What the gate says, in a sentence."""
        if not any(checks for _, checks in self.checks):
            return "Float alone: nothing to hold against it."
        return f"{'Failed' if self.failures else 'Passed'} ({self.gate})."

    @property
    def verdict(self) -> str:
        """The summary, then what failed and what passed in doubt."""
        failed = f" {'; '.join(self.failures)}." if self.failures else ""
        doubts = f" Passed in doubt: {'; '.join(self.doubts)}." if self.doubts else ""
        return self.summary + failed + doubts

    @property
    def commands(self) -> tuple[str, ...]:
        """The exports that keep the layers that lose most in float."""
        return tuple(layers.command for layers in self.layers if layers.keep)

    def markdown(self) -> str:
        """The verdict and the tables as Markdown."""
        title = f"{self.bundle}: every variant against float"
        return tables.markdown(title, self.tables(), self.verdict, self.commands)

    def document(self) -> dict[str, Any]:
        """The report as one JSON document."""
        checks = [
            {"stage": stage.stage, "dataset": stage.dataset, "split": stage.split, **asdict(check)}
            for stage, judged in self.checks
            for check in judged
        ]
        document: dict[str, Any] = as_json(
            {
                "bundle": self.bundle,
                "seed": self.seed,
                "resamples": self.resamples,
                "machine": asdict(this_machine()),
                "stages": [stage.document() for stage in self.stages],
                "gate": {
                    **asdict(self.gate),
                    "passed": not self.failures,
                    "failures": self.failures,
                    "doubts": self.doubts,
                    "checks": checks,
                },
                "layers": [layers.document() for layers in self.layers],
            }
        )
        return document
