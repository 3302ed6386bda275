"""A report on detectors: a page to read, its pictures, and a document to parse."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2

from edgegal import __version__, metrics
from edgegal.errors import MissingPartError
from edgegal.machine import package_versions, this_machine
from edgegal.metrics import Band, Completeness, Sizes
from edgegal.reports.detection_figures import (
    IOU,
    LEVELS,
    DetectionMeasures,
    DetectionResult,
    compare_detectors,
    figure_keys,
    figure_title,
    measure_detector,
)
from edgegal.reports.detection_sheet import Mistakes, mistakes, worst_pictures
from edgegal.reports.figures import RESAMPLES
from edgegal.reports.page import render_page, write_file
from edgegal.reports.parts import Picture, as_json, as_picture, figure_text, paragraphs, signed_text, slug

__all__ = ["DetectionResult", "write_detection_report"]

_WORST = 12


def write_detection_report(
    title: str,
    intro: str,
    results: Sequence[DetectionResult],
    out: Path,
    sizes: Sizes = metrics.COCO_SIZES,
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
        Detectors, shown side by side; at least one. Where all are of the same fields, differences from the first are
        given too, paired by picture.
    out
        Folder, made when absent. Files of an older report with the same names are replaced.
    sizes
        Ranges of sizes that figures are given of, by name.
    seed, resamples
        Of the bootstrap over pictures that all intervals come from.

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
    per_degree = all(f.pixel_scale is not None for r in results for f in r.fields)
    measures = [measure_detector(r, sizes, per_degree, seed, resamples) for r in results]
    differences = compare_detectors(results, sizes, seed, resamples)
    worst = [mistakes(r, m.threshold, _WORST) for r, m in zip(results, measures, strict=True)]
    drawn = list(_drawings([(r.name, m) for r, m in zip(results, measures, strict=True)]))
    sheets = [_sheet(k, r, w) if w else None for k, (r, w) in enumerate(zip(results, worst, strict=True), start=1)]
    bootstrap = {"resamples": resamples, "seed": seed, "level": 0.95}
    page = render_page(
        "edgegal.reports",
        "detection.html.j2",
        {"figure": figure_text, "signed": signed_text, "short": _short},
        {
            "title": title,
            "intro": paragraphs(intro),
            "version": __version__,
            "made": made.strftime("%Y-%m-%d %H:%M UTC"),
            "bootstrap": bootstrap,
            "iou": IOU,
            "results": results,
            "measures": measures,
            "figures": [_row(key, measures) for key in figure_keys(sizes)],
            "differences": differences,
            "levels": LEVELS,
            "magnitudes": any(m.by_magnitude for m in measures),
            "pictures": drawn,
            "sheets": sheets,
        },
    )
    document = {
        "title": title,
        "made": made.isoformat(),
        "edgegal": __version__,
        "versions": package_versions(),
        "machine": asdict(this_machine()),
        "bootstrap": bootstrap,
        "iou": IOU,
        "sizes": sizes,
        "files": [picture.file for picture in drawn],
        "results": [_document(*each) for each in zip(results, measures, worst, sheets, strict=True)],
        "differences": [
            {"name": r.name, "from": results[0].name, "figures": _intervals(d)}
            for r, d in zip(results[1:], differences, strict=False)
        ],
    }
    out.mkdir(parents=True, exist_ok=True)
    for picture in [*drawn, *filter(None, sheets)]:
        write_file(out / picture.file, picture.png)
    text = json.dumps(as_json(document), indent=1, allow_nan=False, ensure_ascii=False)
    write_file(out / "report.json", (text + "\n").encode())
    return write_file(out / "report.html", page.encode())


def _short(value: float | None) -> str:
    """Three digits; a dash for what there is none of."""
    return "–" if value is None else f"{value:.3g}"


def _row(key: str, measures: Sequence[DetectionMeasures]) -> tuple[str, str, int | None]:
    """A figure's name, what it is called, and how many galaxies it is of; None where detectors saw other fields."""
    size = key.partition(":")[2]
    truths = {m.summary.truths_by_size[size] if size else m.summary.truths for m in measures}
    return key, figure_title(key), truths.pop() if len(truths) == 1 else None


def _drawings(named: Sequence[tuple[str, DetectionMeasures]]) -> Iterator[Picture]:
    try:
        from edgegal.reports import detection_drawing as drawing
    except ImportError as error:
        raise MissingPartError(
            f"pictures of a report need matplotlib: {error}", "pip install 'edgegal[train]'"
        ) from None
    yield as_picture(
        "00-confidence.png",
        "Precision, recall and F1 against the least confidence; a dot where the detector is deployed",
        drawing.draw_confidence(named),
    )
    yield as_picture(
        "00-precision-recall.png",
        f"Precision against recall at an overlap of {IOU:g}, average precision [interval]",
        drawing.draw_precision_recall(named),
    )
    yield as_picture(
        "00-false-detections.png",
        "False detections against the least confidence",
        drawing.draw_false_detections(named),
    )
    yield as_picture(
        "00-completeness-size.png",
        "Completeness against size, where the detector is deployed (Wilson intervals; 50 % and 90 % dashed)",
        drawing.draw_completeness(named, lambda m: m.by_side, "longer side of the true box, pixels", octaves=True),
    )
    if any(m.by_magnitude for _, m in named):
        yield as_picture(
            "00-completeness-magnitude.png",
            "Completeness against magnitude, where the detector is deployed (Wilson intervals; 50 % and 90 % dashed)",
            drawing.draw_completeness(named, lambda m: m.by_magnitude, "magnitude"),
        )


def _sheet(number: int, result: DetectionResult, worst: Sequence[Mistakes]) -> Picture:
    _, coded = cv2.imencode(".png", cv2.cvtColor(worst_pictures(result, worst), cv2.COLOR_RGB2BGR))
    caption = (
        f"{result.name}, the worst of {len(result)} pictures: green a galaxy found, red one missed, orange a detection "
        "(thick, with its confidence, where it is false), grey counts neither way"
    )
    return Picture(f"{number:02d}-{slug(result.name)}-worst.png", caption, coded.tobytes(), broad=True)


def _intervals(bands: Mapping[str, Band]) -> dict[str, Any]:
    return {key: asdict(band.interval()) for key, band in bands.items()}


def _bins(bins: Completeness | None, falling: bool) -> dict[str, Any] | None:
    if bins is None:
        return None
    return asdict(bins) | {"limits": {f"{level:g}": bins.limit(level, falling) for level in LEVELS}}


def _document(
    result: DetectionResult, measure: DetectionMeasures, worst: Sequence[Mistakes], sheet: Picture | None
) -> dict[str, Any]:
    scalars = ("best_threshold", "best_f1")
    return {
        "name": result.name,
        "description": result.description,
        "pictures": measure.summary.pictures,
        "truths": measure.summary.truths,
        "truths_by_size": measure.summary.truths_by_size,
        "figures": _intervals(measure.coco),
        "threshold": measure.threshold,
        "at_threshold": {key: asdict(value) for key, value in measure.at_threshold.items()},
        **{key: asdict(measure.curves[key].interval()) for key in scalars},
        "false_detections_a": "square degree" if measure.per_degree else "picture",
        "curves": {"thresholds": metrics.THRESHOLDS}
        | {key: asdict(band) for key, band in measure.curves.items() if key not in scalars},
        "precision_recall": {"recalls": metrics.RECALLS, "precision": asdict(measure.precision)},
        "completeness": {
            "side": _bins(measure.by_side, falling=False),
            "magnitude": _bins(measure.by_magnitude, falling=True),
        },
        "worst": [{"picture": m.picture, "missed": int(m.missed.sum()), "false": int(m.false.sum())} for m in worst],
        "files": [sheet.file] if sheet else [],
    }
