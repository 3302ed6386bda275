"""`edgegal evaluate`: how well detectors find galaxies, side by side."""

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from edgegal.benchmarks.classical import SideBySide
    from edgegal.benchmarks.contest import Contestant
    from edgegal.benchmarks.rejection import Rejection
    from edgegal.data.fields import Field
    from edgegal.inference import Detector
    from edgegal.metrics import Band, Completeness, Interval
    from edgegal.preprocess import Stretch
    from edgegal.reports.detection import DetectionResult

__all__ = ["app"]

_T = TypeVar("_T")

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class _Merge(str, Enum):
    NMS = "nms"
    WBF = "wbf"


class _Split(str, Enum):
    TEST = "test"
    VAL = "val"
    TRAIN = "train"
    ALL = "all"


@app.command()
def evaluate(
    bundles: list[str] = typer.Argument(
        None, metavar="[BUNDLE]...", help="Bundles whose detectors to measure; the shipped one when none is named."
    ),
    data: list[str] = typer.Option(
        [],
        "--data",
        help="Pictures with boxes: cutouts:NAME, composed:NAME, voc:DIR, coco:FILE, yolo:DIR, "
        "simulated:DIR, frames:FILE.",
    ),
    split: _Split = typer.Option(_Split.TEST, "--split", help="Split of the pictures."),
    class_map: list[str] = typer.Option(
        [], "--class-map", help="CLASS=NAME, of boxes; CLASS= drops them, *=NAME is for all others. Repeatable."
    ),
    unannotated_empty: bool = typer.Option(
        False, "--unannotated-empty", help="Nothing is on pictures without an annotation; else they are left out."
    ),
    beside: bool = typer.Option(False, "--classical/--networks", help="sep and its star-galaxy cut beside them."),
    false_alarms: int = typer.Option(
        0, "--false-alarms", min=0, help="Frames without galaxies to show of each kind of distractor."
    ),
    smallest: float = typer.Option(
        0.0, "--smallest", min=0.0, help="Longer side in pixels below which true boxes count neither way."
    ),
    merge: _Merge = typer.Option(_Merge.NMS, "--merge", help="Boxes of neighbouring tiles: suppressed, or fused."),
    runtime: str | None = typer.Option(None, "--runtime", help="Runtime; the best installed one otherwise."),
    precision: str | None = typer.Option(None, "--precision", help="Precision: fp32, int8 ..."),
    threads: int = typer.Option(1, "--threads", min=1, help="Threads a runtime may use."),
    seed: int = typer.Option(0, "--seed", min=0, help="Of bootstraps and distractors."),
    out: Path | None = typer.Option(
        None, "--out", help="Folder for evaluation.json and a report of each set: HTML, PNG and JSON."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document instead of the tables."),
) -> None:
    """Measure detectors on pictures with known galaxies, and on frames that hold none.

    COCO's precision and recall are over all detections, F1 and time over what is reported. Detectors take turns
    picture by picture, so that what else the machine does falls on all alike.
    """
    import json
    from dataclasses import asdict

    from edgegal import zoo
    from edgegal.benchmarks.classical import side_by_side
    from edgegal.benchmarks.contest import classical, network
    from edgegal.benchmarks.rejection import measure_rejection
    from edgegal.benchmarks.storage import write_text
    from edgegal.errors import InputError
    from edgegal.inference import open_detector
    from edgegal.machine import this_machine
    from edgegal.reports.detection_figures import completeness_by_side
    from edgegal.reports.parts import as_json as plain
    from edgegal.reports.parts import slug

    if not data and not false_alarms:
        raise InputError("nothing to measure on", "name pictures with --data, or ask for --false-alarms 50")
    named = bundles or [zoo.DEFAULT]
    if len(set(named)) < len(named):
        raise InputError(f"{max(named, key=named.count)} is named twice", "name each bundle once")
    detectors = {name: open_detector(zoo.resolve(name), runtime, precision, threads) for name in named}
    if split in (_Split.TEST, _Split.ALL):
        _tell_seen(data, detectors)
    stretch = _same([d.stage.preprocess.stretch for d in detectors.values()], "were trained on different stretches")
    labels = _same([d.stage.labels for d in detectors.values()], "tell different classes")
    contestants = [network(name, d, threads, merge.value) for name, d in detectors.items()]
    contestants += [classical(stretch)] if beside else []
    document: dict[str, Any] = {"machine": asdict(this_machine()), "seed": seed, "sets": []}
    for number, (name, fields) in enumerate(
        _opened(data, labels, stretch, class_map, split.value, smallest, unannotated_empty)
    ):
        typer.echo(f"{name}: {len(fields)} pictures", err=True)
        rows = side_by_side({c.name: c for c in contestants}, fields, seed)
        where = f"{name}, split {split.value}"
        results = _results(contestants, fields)
        figures = _figures(where, results, seed, out and out / f"{number:02d}-{slug(name)}")
        complete = {r.name: completeness_by_side(r) for r in results}
        document["sets"].append(
            {
                "data": name,
                "split": split.value,
                "detectors": [_document(r, figures[r.detector], complete[r.detector]) for r in rows],
            }
        )
        if not as_json:
            _print_set(f"{where}: {len(fields)} pictures, {rows[0].galaxies} galaxies", rows, figures)
            _print_completeness(where, complete)
    if false_alarms:
        frames = _distractors(false_alarms, seed, stretch)
        alarms = {c.name: measure_rejection(c, frames, seed=seed) for c in contestants}
        document["false_alarms"] = {name: [asdict(row) for row in rows] for name, rows in alarms.items()}
        if not as_json:
            _print_alarms(false_alarms, alarms)
    text = json.dumps(plain(document), allow_nan=False)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "evaluation.json", text + "\n")
    if as_json:
        typer.echo(text)
    elif out is not None:
        typer.echo(f"written: {out}")


def _tell_seen(names: list[str], detectors: "Mapping[str, Detector]") -> None:
    if not names:
        # What reads sets may be absent on a device.
        return
    from edgegal.data.heldout import tell_seen

    for name in names:
        for bundle, detector in detectors.items():
            tell_seen(name, detector.stage.provenance.datasets, f"detector of {bundle}")


def _same(values: Sequence[_T], what: str) -> _T:
    """The value that all detectors have."""
    from edgegal.errors import InputError

    if any(value != values[0] for value in values):
        raise InputError(f"the detectors {what}", "measure them one by one")
    return values[0]


def _opened(
    names: list[str],
    labels: tuple[str, ...],
    stretch: "Stretch",
    class_map: list[str],
    split: str,
    smallest: float,
    unannotated_empty: bool,
) -> "Iterator[tuple[str, list[Field]]]":
    from edgegal.data.boxed.names import is_boxed, parse_class_map
    from edgegal.data.boxed.registry import open_all
    from edgegal.data.windows import without_small
    from edgegal.device.sources.files import read_still
    from edgegal.errors import InputError

    for name in names:
        if not is_boxed(name):
            raise InputError(f"{name!r} is no set with boxes", f"for the galaxies of a set of cutouts: cutouts:{name}")
    for boxed in open_all(names, parse_class_map(class_map), labels, stretch, read_still, unannotated_empty):
        part = boxed.subset(None if split == "all" else split)
        if not len(part):
            raise InputError(f"{boxed.name} has no pictures in its {split} split", "choose another with --split")
        yield boxed.name, [without_small(field, smallest) for field in part.read()[1]]


def _results(contestants: "Sequence[Contestant]", fields: "Sequence[Field]") -> "list[DetectionResult]":
    from edgegal.reports.detection import DetectionResult

    return [
        DetectionResult(
            name=c.name,
            found=[c.everything(field.picture) for field in fields],
            fields=fields,
            description=c.description,
            threshold=c.threshold,
        )
        for c in contestants
    ]


def _figures(
    where: str, results: "Sequence[DetectionResult]", seed: int, out: Path | None
) -> "dict[str, Mapping[str, Band]]":
    """COCO's figures of each detector; a report of the set on the way."""
    from edgegal.metrics import coco_bands
    from edgegal.reports.detection import write_detection_report

    if out is not None:
        write_detection_report("Detectors side by side", f"On {where}.", results, out, seed=seed)
    return {r.name: coco_bands(r.found, r.truth, r.ignore, sizes={}, seed=seed, resamples=_RESAMPLES) for r in results}


_RESAMPLES = 1000


def _distractors(count: int, seed: int, stretch: "Stretch") -> "dict[str, Any]":
    from edgegal.data.skies.distractors import KINDS, distractor_frames

    return {kind: distractor_frames(kind, count, _FRAME_PX, stretch, _SEED_OFFSET + seed) for kind in KINDS}


_FRAME_PX = 256

_SEED_OFFSET = 5_000_000
"""Far from the seeds that training draws with."""


def _document(row: "SideBySide", figures: "Mapping[str, Band]", complete: "Completeness") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "detector": row.detector,
        "galaxies": row.galaxies,
        **{key: asdict(band.interval()) for key, band in figures.items()},
        "overlap": asdict(row.overlap),
        "place": asdict(row.place),
        "seconds": {"median": row.seconds.median, "iqr": row.seconds.iqr},
        "completeness": [
            {"sides": bin_, "galaxies": int(complete.truths[i]), "found": asdict(complete.share.interval(i))}
            for i, bin_ in _bins(complete)
        ],
    }


def _bins(complete: "Completeness") -> "list[tuple[int, tuple[float, float]]]":
    """Number and ends of each bin that holds a galaxy."""
    ends = complete.edges.tolist()
    return [(i, (ends[i], ends[i + 1])) for i, n in enumerate(complete.truths.tolist()) if n]


def _spread(interval: "Interval") -> str:
    if interval.value != interval.value:
        # Nothing was there to be found, or nothing was.
        return "-"
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _print_set(title: str, rows: "Sequence[SideBySide]", figures: "Mapping[str, Mapping[str, Band]]") -> None:
    from edgegal.cli.output import print_table

    header = ["detector", "AP@.5 [95 %]", "AP@.5:.95", "AR@1", "AR@100", "F1", "precision", "recall", "false a picture"]
    typer.echo(title)
    print_table(
        [*header, "F1 by place", "ms a picture"],
        [
            [
                row.detector,
                *(_spread(figures[row.detector][key].interval()) for key in ("ap50", "ap", "ar1", "ar100")),
                *(_spread(v) for v in (row.overlap.f1, row.overlap.precision, row.overlap.recall, row.overlap.false)),
                _spread(row.place.f1),
                f"{1000 * row.seconds.median:.1f} ± {1000 * row.seconds.iqr / 2:.1f}",
            ]
            for row in rows
        ],
    )


def _print_completeness(where: str, complete: "Mapping[str, Completeness]") -> None:
    from edgegal.cli.output import print_table

    first = next(iter(complete.values()))
    rows = [
        [
            f"{low:.0f} to {high:.0f}" if high < float("inf") else f"{low:.0f} and more",
            str(first.truths[i]),
            *(_spread(c.share.interval(i)) for c in complete.values()),
        ]
        for i, (low, high) in _bins(first)
    ]
    if rows:
        typer.echo(f"share of the galaxies found, {where}")
        print_table(["longer side, px", "galaxies", *complete], rows)


def _print_alarms(count: int, alarms: "Mapping[str, Sequence[Rejection]]") -> None:
    from edgegal.cli.output import print_table

    kinds = [row.kind for row in next(iter(alarms.values()))]
    typer.echo(f"false boxes a frame, {count} frames of {_FRAME_PX} pixels of each kind")
    print_table(
        ["frames of", *alarms],
        [[kind, *(_spread(rows[i].boxes) for rows in alarms.values())] for i, kind in enumerate(kinds)],
    )
