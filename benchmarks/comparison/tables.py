"""The tables of a comparison as text: the same cells for a terminal, for Markdown and for the page."""

import re
from collections.abc import Iterator, Sequence

from edgegal.benchmarks.comparison.figures import ClassDrop, ClassifierRow, DetectorRow
from edgegal.benchmarks.comparison.layer_report import LayerReport
from edgegal.benchmarks.comparison.stage import StageReport
from edgegal.benchmarks.comparison.verdict import Check
from edgegal.metrics import Interval

__all__ = ["Table", "classifier", "detector", "gates", "layers", "markdown"]

Table = tuple[str, tuple[str, ...], list[list[str]]]
"""Title, header, and the cells of each row."""

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
_LOSS_HEADER = (
    "variant",
    "agrees [95 % interval]",
    "drop [paired 95 %]",
    "balanced drop [paired 95 %]",
    "macro F1 drop [paired 95 %]",
    "lost",
    "gained",
    "McNemar p",
    "worst class",
)
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
    "agrees [95 %]",
    "drop [paired 95 %]",
)
_LAYERS_SHOWN = 10


def _spread(interval: Interval | None, sign: str = "") -> str:
    if interval is None:
        return "-"
    # Adding 0 turns a rounded -0 into 0.
    value, low, high = (round(v, 4) + 0.0 for v in (interval.value, interval.low, interval.high))
    return f"{value:{sign}.4f} [{low:.4f}, {high:.4f}]"


def _number(value: float | None, form: str = ".4f") -> str:
    # Adding 0 turns a rounded -0 into 0.
    return "-" if value is None else f"{round(value, 4) + 0:{form}}"


def detector(report: StageReport) -> Table:
    """The figures of a detector's variants."""
    rows = report.detector_rows
    several = any(row.class_drops for row in rows)
    header = (*_DETECTOR_HEADER, *(("worst class",) if several else ()))
    cells = [[*_detector_cells(row), *([_worst(row.class_drops)] if several else [])] for row in rows]
    return f"detector on {report.judged}, float is {report.reference}", header, cells


def _detector_cells(row: DetectorRow) -> list[str]:
    figures = [row.mean_average_precision, row.average_recall_1, row.average_recall_100, row.f1]
    return [
        *(row.variant, row.runtime, row.executed, str(row.truths), _spread(row.average_precision_50)),
        *map(_spread, figures),
        *(_spread(row.agreement), _spread(row.drop, "+")),
    ]


def classifier(reports: Sequence[StageReport]) -> Iterator[Table]:
    """Figures and losses, each of all sets in one table, then the share of each class that was found, set by set."""
    if not reports:
        return
    rows = [row for report in reports for row in report.classifier_rows]
    selective = any(row.coverage for row in rows)
    header = (*_CLASSIFIER_HEADER, *(_SELECTIVE_HEADER if selective else ()))
    place = reports[0].judged if len(reports) == 1 else f"{len(reports)} sets"
    yield _of_sets(
        f"classifier on {place}, float is {reports[0].reference}",
        header,
        [(report, _classifier_cells(row, selective)) for report in reports for row in report.classifier_rows],
    )
    losses = [(r, _loss_cells(row)) for r in reports for row in r.classifier_rows if row.drop is not None]
    if losses:
        yield _of_sets(f"what the classifier lost against float on {place}", _LOSS_HEADER, losses)
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


def _of_sets(title: str, header: tuple[str, ...], cells: Sequence[tuple[StageReport, list[str]]]) -> Table:
    """A table with a column for the set where there are several."""
    if len({id(report) for report, _ in cells}) == 1:
        return title, header, [line for _, line in cells]
    return title, ("set", *header), [[report.judged, *line] for report, line in cells]


def _classifier_cells(row: ClassifierRow, selective: bool) -> list[str]:
    answers = [_number(None if row.coverage is None else row.coverage.value), _spread(row.selective_accuracy)]
    return [
        *(row.variant, row.runtime, row.executed, _spread(row.accuracy), _spread(row.balanced_accuracy)),
        *(_number(row.macro_f1.value), _number(row.calibration_error)),
        *(answers if selective else ()),
    ]


def _loss_cells(row: ClassifierRow) -> list[str]:
    return [
        *(row.variant, _spread(row.agreement)),
        *(_spread(drop, "+") for drop in (row.drop, row.balanced_drop, row.macro_f1_drop)),
        *(_number(row.lost, "d"), _number(row.gained, "d"), _number(row.mcnemar_p, ".3g"), _worst(row.class_drops)),
    ]


def _worst(drops: Sequence[ClassDrop]) -> str:
    if not drops:
        return "-"
    worst = max(drops, key=lambda each: each.drop.value)
    return f"{worst.label} {_spread(worst.drop, '+')}"


def gates(checks: Sequence[tuple[StageReport, tuple[Check, ...]]]) -> Iterator[Table]:
    """Every figure that the gate judges, a table for each stage and set; none where it judges none."""
    header = ("variant", "figure", "value [interval]", "limit", "outcome", "pictures needed")
    for stage, judged in checks:
        rows = [
            [
                *(check.variant, check.figure, _spread(check.value)),
                *(f"{check.limit:.4g}", check.outcome, _number(check.pictures, ",d")),
            ]
            for check in judged
        ]
        if rows:
            yield f"gate of the {stage.stage} on {stage.judged}", header, rows


def layers(report: LayerReport) -> Table:
    """The layers in which most of a variant's error enters."""
    short = report.short_names
    places = {layer.name: place for place, layer in enumerate(report.layers, start=1)}
    rows = [
        [
            *(str(places[layer.name]), short[layer.name], layer.kind),
            *(_number(layer.own_sqnr_db, ".1f"), _number(layer.sqnr_db, ".1f")),
            "yes" if layer.name in report.keep else "-",
        ]
        for layer in report.worst[:_LAYERS_SHOWN]
    ]
    title = f"layers of {report.stage} {report.variant} that add most error, of {len(report.layers)}"
    return title, ("place", "layer", "kind", "own SQNR dB", "SQNR dB up to here", "keep in float"), rows


def markdown(title: str, tables: Iterator[Table], verdict: str, commands: Sequence[str]) -> str:
    """Tables, commands and verdict as GitHub's Markdown."""
    parts = [f"# {_cell(title)}\n\n{_cell(verdict)}\n"]
    for heading, header, rows in tables:
        lines = [map(_cell, header), ["---"] * len(header), *(map(_cell, row) for row in rows)]
        parts.append(f"## {_cell(heading)}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    if commands:
        parts.append("Export again with these layers in float:\n\n```bash\n" + "\n".join(commands) + "\n```\n")
    return "\n".join(parts)


def _cell(text: str) -> str:
    """Text that stays in its cell and is no markup, whatever named a class or a folder."""
    plain = re.sub(r"([|`*_\\])", r"\\\1", " ".join(text.split())).replace("<", "&lt;")
    # A link or picture; other brackets are those of intervals.
    return plain.replace("](", "]\\(")
