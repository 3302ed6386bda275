"""A report on disk: a page to read, its pictures, and a document to parse."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from edgegal import __version__, metrics
from edgegal.errors import MissingPartError
from edgegal.machine import package_versions, this_machine
from edgegal.metrics import Band, Interval
from edgegal.reports.comparison import ComparisonRow, RunComparison, compare_runs
from edgegal.reports.figures import RELIABILITY_BINS, RESAMPLES, columns_of, measured, roc_bands, title_of
from edgegal.reports.page import render_page, write_file
from edgegal.reports.parts import Picture, as_json, as_picture, figure_text, paragraphs, signed_text, slug
from edgegal.reports.results import ClassificationResult, RegressionResult, Result

__all__ = ["write_report"]

_MISTAKES = 10


def write_report(
    title: str,
    intro: str,
    results: Sequence[Result],
    comparison: RunComparison | None,
    out: Path,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Path:
    """Write ``report.html`` (nothing outside it needed), ``report.json`` and the pictures as PNG, all by renaming.

    Parameters
    ----------
    title
        Heading of the page.
    intro
        Plain text; empty lines part paragraphs.
    results
        Shown one by one, with all their pictures.
    comparison
        Shown before them as one table.
    out
        Folder, made when absent. Files of an older report with the same names are replaced.
    seed, resamples
        Of the bootstrap that all intervals come from.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    MissingPartError
        Matplotlib or Jinja2 is not installed.
    """
    made = datetime.now(timezone.utc).replace(microsecond=0)
    bands = [measured(result, seed, resamples) for result in results]
    drawn = [
        list(_result_pictures(i, result, band, seed, resamples))
        for i, (result, band) in enumerate(zip(results, bands, strict=True), start=1)
    ]
    rows = compare_runs(comparison, seed, resamples) if comparison else ()
    compared = [_comparison_picture(rows, comparison)] if comparison else []
    bootstrap = {"resamples": resamples, "seed": seed, "level": 0.95, "stratified": False}
    page = render_page(
        "edgegal.reports",
        "report.html.j2",
        {"figure": figure_text, "signed": signed_text, "chance": _chance, "title_of": title_of},
        {
            "title": title,
            "intro": paragraphs(intro),
            "version": __version__,
            "made": made.strftime("%Y-%m-%d %H:%M UTC"),
            "bootstrap": bootstrap,
            "comparison": _comparison_values(comparison, rows, compared) if comparison else None,
            "results": [_result_values(*each) for each in zip(results, bands, drawn, strict=True)],
        },
    )
    document = {
        "title": title,
        "made": made.isoformat(),
        "edgegal": __version__,
        "versions": package_versions(),
        "machine": asdict(this_machine()),
        "bootstrap": bootstrap,
        "results": [_result_document(*each) for each in zip(results, bands, drawn, strict=True)],
        "comparison": _comparison_document(comparison, rows, compared) if comparison else None,
    }
    out.mkdir(parents=True, exist_ok=True)
    for picture in [*compared, *(p for pictures in drawn for p in pictures)]:
        write_file(out / picture.file, picture.png)
    text = json.dumps(as_json(document), indent=1, allow_nan=False, ensure_ascii=False)
    write_file(out / "report.json", (text + "\n").encode())
    return write_file(out / "report.html", page.encode())


def _chance(p: float | None) -> str:
    # Ten thousand sign flips cannot say less than .0001.
    return "–" if p is None else f"{p:.4f}" if p >= 0.00015 else "≤ 0.0001"


def _result_pictures(
    number: int, result: Result, bands: Mapping[str, Band], seed: int, resamples: int
) -> Iterator[Picture]:
    drawing = _drawing()
    stem = f"{number:02d}-{slug(result.name)}"
    if isinstance(result, ClassificationResult):
        curves = roc_bands(result, seed, resamples)
        figures = [
            (
                "confusion",
                "Confusion matrix: pictures, and their share of the true class"
                + (" with its interval" if len(result.labels) <= drawing.MOST_WITH_INTERVALS else ""),
                drawing.draw_confusion(result, bands),
            ),
            ("scores", "Precision, recall and F1 of each class", drawing.draw_scores(result, bands)),
            (
                "roc",
                "ROC of each class against the rest, area [interval]",
                drawing.draw_roc(result, curves, bands["auc"]),
            ),
            (
                "reliability",
                "Reliability: confidence against share of right answers",
                drawing.draw_reliability(result, bands),
            ),
        ]
    else:
        figures = [("regression", "Predicted against true values", drawing.draw_regression(result, bands))]
    if result.history:
        figures.append(("training", "Training", drawing.draw_history(result.history)))
    for kind, caption, figure in figures:
        yield as_picture(f"{stem}-{kind}.png", caption, figure)


def _comparison_picture(rows: Sequence[ComparisonRow], comparison: RunComparison) -> Picture:
    figure = _drawing().draw_comparison(rows, comparison.figures)
    return as_picture("00-comparison.png", "Mean of each method with its 95 % interval", figure)


def _drawing() -> Any:
    try:
        from edgegal.reports import drawing
    except ImportError as error:
        raise MissingPartError(
            f"pictures of a report need matplotlib: {error}", "pip install 'edgegal[train]'"
        ) from None
    return drawing


_CLASSIFICATION = (
    *("accuracy", "balanced_accuracy", "macro_precision", "macro_f1", "macro_auc"),
    *("calibration_error", "adaptive_calibration_error", "log_loss", "brier"),
)
_REGRESSION = ("mse", "mean_r2", "argmax_accuracy", "argmax_f1")


def _scalars(result: Result, bands: Mapping[str, Band]) -> list[tuple[str, Interval]]:
    keys = _CLASSIFICATION if isinstance(result, ClassificationResult) else _REGRESSION
    return [(key, bands[key].interval()) for key in keys]


def _column_keys(result: Result) -> tuple[str, ...]:
    return ("precision", "recall", "f1", "auc") if isinstance(result, ClassificationResult) else ("r2",)


def _support(result: Result) -> list[int]:
    """True pictures of each class; nothing for a regression."""
    if isinstance(result, RegressionResult):
        return []
    return np.bincount(result.truth, minlength=len(result.labels)).tolist()


def _mistakes(result: Result) -> list[dict[str, Any]]:
    """The wrong answers given with the highest probability."""
    if isinstance(result, RegressionResult):
        return []
    confidence = result.probabilities.max(axis=1)
    wrong = np.flatnonzero(result.predicted != result.truth)
    return [
        {
            "id": result.ids[i],
            "truth": result.labels[result.truth[i]],
            "answer": result.labels[result.predicted[i]],
            "probability": float(confidence[i]),
        }
        for i in wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES].tolist()
    ]


def _result_values(result: Result, bands: Mapping[str, Band], pictures: Sequence[Picture]) -> dict[str, Any]:
    keys = _column_keys(result)
    return {
        **{
            name: getattr(result, name) for name in ("name", "dataset", "split", "seed", "parameters", "dataset_sha256")
        },
        "n": len(result),
        "scalars": _scalars(result, bands),
        "column_kind": "class" if isinstance(result, ClassificationResult) else "output",
        "column_keys": keys,
        "columns": [
            {"name": name, "figures": [bands[key].interval(c) for key in keys]}
            for c, name in enumerate(columns_of(result))
        ],
        "support": _support(result),
        "mistakes": _mistakes(result),
        "pictures": pictures,
    }


def _result_document(result: Result, bands: Mapping[str, Band], pictures: Sequence[Picture]) -> dict[str, Any]:
    columns = columns_of(result)
    document: dict[str, Any] = {
        "name": result.name,
        "kind": "classification" if isinstance(result, ClassificationResult) else "regression",
        "dataset": result.dataset,
        "dataset_sha256": result.dataset_sha256,
        "split": result.split,
        "pictures": len(result),
        "seed": result.seed,
        "parameters": result.parameters,
        "columns": columns,
        "figures": {key: asdict(interval) for key, interval in _scalars(result, bands)}
        | {
            key: {name: asdict(bands[key].interval(c)) for c, name in enumerate(columns)}
            for key in _column_keys(result)
        },
        "history": result.history,
        "files": [picture.file for picture in pictures],
    }
    if isinstance(result, ClassificationResult):
        bins = metrics.reliability(result.truth, result.probabilities, RELIABILITY_BINS)
        document |= {
            "support": _support(result),
            "confusion": metrics.confusion_matrix(result.truth, result.predicted, len(columns)),
            "confusion_shares": asdict(bands["confusion_shares"]),
            "reliability": {
                "edges": bins.edges,
                "counts": bins.counts,
                "confidence": bins.confidence,
                "accuracy": bins.accuracy,
            },
            "mistakes": _mistakes(result),
        }
    return document


def _comparison_values(
    comparison: RunComparison, rows: Sequence[ComparisonRow], pictures: Sequence[Picture]
) -> dict[str, Any]:
    return {
        "title": comparison.title,
        "figures": comparison.figures,
        "reference": comparison.reference,
        "regression": isinstance(comparison.runs[0].results[0], RegressionResult),
        "published": {key for row in rows for key in row.published},
        "rows": rows,
        "pictures": pictures,
    }


def _comparison_document(
    comparison: RunComparison, rows: Sequence[ComparisonRow], pictures: Sequence[Picture]
) -> dict[str, Any]:
    return {
        "title": comparison.title,
        "figures": {key: title_of(key) for key in comparison.figures},
        "reference": comparison.reference or None,
        "runs": [asdict(row) for row in rows],
        "files": [picture.file for picture in pictures],
    }
