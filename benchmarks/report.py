"""The report of a comparison: its figures, the rule that judges them, and how it shows both."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edgegal.benchmarks.figures import ClassifierRow, DetectorRow, Row
from edgegal.bundle import StageName
from edgegal.errors import GateFailedError
from edgegal.machine import this_machine
from edgegal.metrics import Interval

__all__ = ["Comparison", "Gate", "StageReport"]


@dataclass(frozen=True)
class Gate:
    """The rule a variant must pass.

    Attributes
    ----------
    max_drop
        A variant fails when it is surely worse than this: when the low end of the 95 % paired interval of its drop in
        accuracy (detectors: AP at IoU .5) lies above it.
    min_agreement
        A classifier fails when it gives the answer float gives on a smaller share of pictures.
    min_box_agreement
        A detector fails when it has a smaller share of its boxes in common with float. Boxes near the score threshold
        come and go with the last bit, so this is lower.
    """

    max_drop: float = 0.01
    min_agreement: float = 0.97
    min_box_agreement: float = 0.85

    def problem(self, row: Row) -> str:
        """What is wrong with a row; empty when it passes."""
        if row.drop is not None and row.drop.low > self.max_drop:
            return (
                f"{row.variant} lost {row.drop.value:.4f} [{row.drop.low:.4f}, {row.drop.high:.4f}], "
                f"surely more than {self.max_drop}"
            )
        least = self.min_agreement if isinstance(row, ClassifierRow) else self.min_box_agreement
        if row.agreement is not None and row.agreement < least:
            return f"{row.variant} agrees with float on {row.agreement:.4f}, less than {least}"
        return ""

    def __str__(self) -> str:
        return (
            f"drop surely above {self.max_drop}, agreement below {self.min_agreement} "
            f"or box agreement below {self.min_box_agreement} fails"
        )


@dataclass(frozen=True)
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
    """

    stage: StageName
    dataset: str
    split: str
    reference: str
    rows: tuple[Row, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def judged(self) -> str:
        """What was judged on, in words."""
        return f"{self.dataset} ({self.split}, n={self.rows[0].n})"

    @property
    def classifier_rows(self) -> list[ClassifierRow]:
        """The rows of a classifier."""
        return [row for row in self.rows if isinstance(row, ClassifierRow)]


@dataclass(frozen=True)
class Comparison:
    """The report: knows its figures, its verdict, and how to show both.

    A network may have been judged on several sets, each a report of its own.
    """

    bundle: str
    seed: int
    gate: Gate
    stages: tuple[StageReport, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """What fails the gate, one line each; empty when everything passes."""
        return tuple(
            f"{stage.stage} {problem}" + (f" on {stage.judged}" if len(self._of(stage.stage)) > 1 else "")
            for stage in self.stages
            for row in stage.rows
            if (problem := self.gate.problem(row))
        )

    def _of(self, name: StageName) -> list[StageReport]:
        return [stage for stage in self.stages if stage.stage == name]

    def check(self) -> None:
        """Raise `GateFailedError` naming every variant and figure that fails."""
        if self.failures:
            raise GateFailedError(
                "; ".join(self.failures), "calibrate on more pictures, or ship a wider precision of this variant"
            )

    def tables(self) -> Iterator[tuple[str, tuple[str, ...], list[list[str]]]]:
        """Title, header and cells of each table; all sets of the classifier stand in one, their recalls in one each."""
        for stage in self._of("detector"):
            rows = [_detector_cells(r) for r in stage.rows if isinstance(r, DetectorRow)]
            yield f"detector on {stage.judged}, float is {stage.reference}", _DETECTOR_HEADER, rows
        yield from _classifier_tables(self._of("classifier"))

    def markdown(self) -> str:
        """The tables and the verdict as Markdown."""
        parts = [f"# {self.bundle}: every variant against float\n"]
        for title, header, rows in self.tables():
            lines = [header, ["---"] * len(header), *rows]
            parts.append(f"## {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
        parts.append(f"{self.verdict}\n")
        return "\n".join(parts)

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.failures:
            return f"Failed ({self.gate}): {'; '.join(self.failures)}"
        if all(row.drop is None for stage in self.stages for row in stage.rows):
            return "Float alone: nothing to hold against it."
        return f"Passed ({self.gate})."

    def document(self) -> dict[str, Any]:
        """The report as one JSON document."""
        return {
            "bundle": self.bundle,
            "seed": self.seed,
            "machine": asdict(this_machine()),
            "stages": [asdict(stage) for stage in self.stages],
            "gate": {**asdict(self.gate), "passed": not self.failures, "failures": list(self.failures)},
        }


_CLASSIFIER_HEADER = (
    "variant",
    "runtime",
    "executed",
    "accuracy [95 % interval]",
    "balanced [95 %]",
    "macro F1",
    "ECE",
)
_SELECTIVE_HEADER = ("answered", "accuracy of answers")
_DROP_HEADER = ("agrees", "drop [paired 95 %]", "McNemar p")
_DETECTOR_HEADER = (
    "variant",
    "runtime",
    "executed",
    "boxes",
    "AP@.5 [95 % interval]",
    "AP@.5:.95",
    "AR@1",
    "AR@100",
    "F1",
    "agrees",
    "drop [paired 95 %]",
)


def _spread(interval: Interval | None, sign: str = "") -> str:
    if interval is None:
        return "-"
    # Adding 0 turns a rounded -0 into 0.
    value, low, high = (round(v, 4) + 0.0 for v in (interval.value, interval.low, interval.high))
    return f"{value:{sign}.4f} [{low:.4f}, {high:.4f}]"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


_Table = tuple[str, tuple[str, ...], list[list[str]]]


def _classifier_tables(reports: Sequence[StageReport]) -> Iterator[_Table]:
    """One table of all sets, then the share of each class that was found, for each set."""
    if not reports:
        return
    rows = [row for report in reports for row in report.classifier_rows]
    selective = any(row.coverage for row in rows)
    paired = any(row.drop for row in rows)
    header = (*_CLASSIFIER_HEADER, *(_SELECTIVE_HEADER if selective else ()), *(_DROP_HEADER if paired else ()))
    cells = [(r, _classifier_cells(row, selective, paired)) for r in reports for row in r.classifier_rows]
    if len(reports) == 1:
        title = f"classifier on {reports[0].judged}, float is {reports[0].reference}"
        yield title, header, [line for _, line in cells]
    else:
        title = f"classifier on {len(reports)} sets, float is {reports[0].reference}"
        yield title, ("set", *header), [[report.judged, *line] for report, line in cells]
    for report in reports:
        rows = report.classifier_rows
        yield (
            f"share of each class found, {report.judged}",
            ("class", "n", *(row.variant for row in rows)),
            [
                [one.label, str(one.n), *(_spread(row.recalls[i].recall) for row in rows)]
                for i, one in enumerate(rows[0].recalls)
            ],
        )


def _classifier_cells(row: ClassifierRow, selective: bool, paired: bool) -> list[str]:
    answers = [_share(None if row.coverage is None else row.coverage.value), _spread(row.selective_accuracy)]
    against_float = [
        *(_share(row.agreement), _spread(row.drop, "+")),
        "-" if row.mcnemar_p is None else f"{row.mcnemar_p:.3g}",
    ]
    return [
        *(row.variant, row.runtime, row.executed, _spread(row.accuracy), _spread(row.balanced_accuracy)),
        *(_share(row.macro_f1.value), _share(row.calibration_error)),
        *(answers if selective else ()),
        *(against_float if paired else ()),
    ]


def _detector_cells(row: DetectorRow) -> list[str]:
    figures = [row.mean_average_precision, row.average_recall_1, row.average_recall_100, row.f1]
    return [
        *(row.variant, row.runtime, row.executed, str(row.truths), _spread(row.average_precision_50)),
        *map(_spread, figures),
        *(_share(row.agreement), _spread(row.drop, "+")),
    ]
