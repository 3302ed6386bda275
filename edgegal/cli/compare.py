"""`edgegal compare`: what quantising cost, with a gate."""

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgegal.benchmarks.comparison import BoxedPictures, LabelledPictures
    from edgegal.benchmarks.comparison.report import Comparison
    from edgegal.benchmarks.comparison.verdict import Gate
    from edgegal.bundle import StageName
    from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription
    from edgegal.data.heldout import Framing

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class _Split(str, Enum):
    TEST = "test"
    VAL = "val"
    TRAIN = "train"
    ALL = "all"


class _DropType(str, Enum):
    ABSOLUTE = "absolute"
    RELATIVE = "relative"


class _Framing(str, Enum):
    BOX = "box"
    WHOLE = "whole"


@app.command()
def compare(
    bundle: str = typer.Argument(
        "galaxies",
        help="Bundle folder, .edgegal file, name of a shipped bundle, or folder of a trained classifier (float alone).",
    ),
    data: list[str] = typer.Option(
        [],
        "--data",
        help="Dataset for the classifier, or pictures with boxes for the detector: cutouts:NAME, "
        "composed:NAME, voc:DIR, coco:FILE, yolo:DIR, simulated:DIR, frames:FILE; repeatable; the evaluation sets "
        "otherwise.",
    ),
    class_map: list[str] = typer.Option(
        [], "--class-map", help="CLASS=NAME, of boxes; CLASS= drops them, *=NAME is for all others. Repeatable."
    ),
    scheme: str | None = typer.Option(
        None,
        "--scheme",
        help="Classes to judge in, the classifier's probabilities summed into them; by default the dataset's own.",
    ),
    split: _Split = typer.Option(_Split.TEST, "--split", help="Split of the datasets."),
    framing: _Framing = typer.Option(
        _Framing.BOX, "--framing", help="Pictures cut by the galaxy's box as on the device, or whole as they come."
    ),
    reference: list[Path] = typer.Option(
        [], "--reference", help="Folder of a trained Keras model to take as float; once for each stage."
    ),
    runtime: str | None = typer.Option(None, "--runtime", help="Only variants this runtime runs."),
    threads: int = typer.Option(1, "--threads", min=1, help="Threads a runtime may use."),
    max_drop: float = typer.Option(
        0.01, "--max-drop", help="Largest loss of accuracy (detectors: AP at IoU .5) that passes."
    ),
    drop_type: _DropType = typer.Option(
        _DropType.ABSOLUTE, "--drop-type", help="Limits of losses as they are, or as shares of float's figure."
    ),
    min_agreement: float = typer.Option(
        0.97, "--min-agreement", help="Least share of float's classes a classifier must repeat."
    ),
    min_box_agreement: float = typer.Option(
        0.85, "--min-box-agreement", help="Least share of boxes in common with the float detector."
    ),
    worst_class_drop: float = typer.Option(
        0.03, "--worst-class-drop", help="Largest loss of any class's recall (detectors: AP at IoU .5) that passes."
    ),
    bootstrap: int = typer.Option(1000, "--bootstrap", min=100, help="Resamples of the bootstraps."),
    seed: int = typer.Option(0, "--seed", min=0, help="Seed of the bootstraps."),
    record: bool = typer.Option(False, "--record", help="Write the figures into the bundle's manifest."),
    per_layer: bool = typer.Option(
        False, "--per-layer", help="Show the layers that integer files lose most in, and which to keep in float."
    ),
    markdown: Path | None = typer.Option(None, "--markdown", help="File to write the report to, as Markdown."),
    junit: Path | None = typer.Option(None, "--junit", help="File to write what was judged to, as JUnit XML."),
    html: Path | None = typer.Option(
        None, "--html", help="File to write one page to, with the pictures that float and variants differ on."
    ),
    github: bool = typer.Option(
        False, "--github", help="Add the report to the step's summary on GitHub, and print its annotations."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document instead of the tables."),
) -> None:
    """Compare every variant of a bundle with float on labelled pictures.

    With one --data after another, all sets stand in one table. Where the classifier need not answer, the share it
    answers and the accuracy of these answers are given beside the figures over all pictures.

    Exit 1 when a variant is surely beyond a limit: when the low end of the 95 % paired bootstrap interval of its drop
    lies above --max-drop, that of any class above --worst-class-drop (intervals widened for the number of classes), or
    the high end of the interval of its agreement with float below --min-agreement (classifiers) or
    --min-box-agreement (detectors). A drop that may be chance passes; where the pictures are too few to rule out one
    beyond --max-drop, the verdict says so, and about how many it takes.
    """
    import json

    from edgegal import zoo
    from edgegal.benchmarks.comparison import compare_bundle, record_accuracy
    from edgegal.benchmarks.comparison.github import annotations, summary_file
    from edgegal.benchmarks.comparison.outputs import Outputs
    from edgegal.benchmarks.comparison.verdict import Gate
    from edgegal.cli.output import print_table
    from edgegal.data.boxed.names import is_boxed
    from edgegal.errors import InputError

    if (scheme or split is not _Split.TEST or framing is not _Framing.BOX) and not data:
        raise InputError("--scheme, --split and --framing are for datasets", "name one with --data")

    def labelled(description: "ClassifierDescription") -> list["LabelledPictures"]:
        return [_labelled(name, description, scheme, split.value, framing.value) for name in data if not is_boxed(name)]

    gate = Gate(max_drop, min_agreement, min_box_agreement, worst_class_drop, drop_type.value)
    outputs = Outputs(markdown, junit, html, summary_file() if github else None)
    outputs.check()
    if (Path(bundle) / "model.json").is_file():
        if record or reference or runtime or per_layer:
            raise InputError(f"{bundle} is a trained model: it has no variants", "export it: edgegal export")
        report = _trained(Path(bundle), labelled, gate, seed, bootstrap)
    else:
        if record and Path(bundle).is_file():
            raise InputError(
                f"{bundle} is packed: figures cannot be written into it", "record in the folder, then pack it"
            )
        opened = zoo.resolve(bundle)
        classifier, detector = opened.manifest.classifier, opened.manifest.detector
        for name in data:
            if (detector if is_boxed(name) else classifier) is None:
                what = "detector" if is_boxed(name) else "classifier"
                raise InputError(f"bundle {opened.manifest.name} has no {what} to compare on {name}")
        report = compare_bundle(
            opened,
            gate,
            seed,
            threads,
            runtime,
            labelled(classifier) if classifier else [],
            _boxed([n for n in data if is_boxed(n)], detector, class_map, split.value) if detector else [],
            _by_stage(reference),
            progress=_say,
            resamples=bootstrap,
            per_layer=per_layer,
        )
        if record:
            record_accuracy(opened, report)
    outputs.write(report)
    if as_json:
        typer.echo(json.dumps(report.document()))
    else:
        for title, header, rows in report.tables():
            typer.echo(title)
            print_table(header, rows)
        for stage in report.stages:
            for name, reason in stage.left_out.items():
                typer.echo(f"left out {stage.stage} {name}: {reason}")
        for command in report.commands:
            typer.echo(f"to keep the layers that lose most in float: {command}")
        typer.echo(report.verdict)
    for line in annotations(report) if github else ():
        # The runner reads both streams; a JSON document has stdout for itself.
        typer.echo(line, err=as_json)
    report.check()


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _trained(
    folder: Path,
    labelled: Callable[["ClassifierDescription"], list["LabelledPictures"]],
    gate: "Gate",
    seed: int,
    resamples: int,
) -> "Comparison":
    """The report of a network that was not exported."""
    from edgegal.benchmarks.comparison import compare_trained
    from edgegal.bundle.manifest import ClassifierDescription
    from edgegal.errors import InputError
    from edgegal.models.artefact import read_description

    description = read_description(folder)
    if not isinstance(description, ClassifierDescription):
        raise InputError(f"{folder} is a detector: it is compared in a bundle", "export it: edgegal export")
    return compare_trained(folder, description, labelled(description), gate, seed, _say, resamples)


def _labelled(
    name: str, description: "ClassifierDescription", scheme: str | None, split: str, framing: "Framing"
) -> "LabelledPictures":
    """A dataset in the classes to judge a classifier in."""
    from edgegal.benchmarks.comparison import LabelledPictures, in_classes
    from edgegal.data.heldout import held_out
    from edgegal.labels import SCHEMES

    held = held_out(name, description, scheme, split, framing)
    if held.scheme.labels == description.labels or held.scheme.name not in SCHEMES:
        return LabelledPictures(
            held.name, held.split, held.pictures, in_classes(held.labels, held.scheme.labels, description.labels)
        )
    return LabelledPictures(held.name, held.split, held.pictures, held.labels, held.scheme)


def _boxed(
    names: list[str], detector: "DetectorDescription", class_map: list[str], split: str
) -> "list[BoxedPictures]":
    """Sets of pictures with boxes, in the classes of a detector."""
    if not names:
        # The packages that sets need are absent on a device, and the bundle's own set needs none of them.
        return []
    from edgegal.benchmarks.comparison import BoxedPictures
    from edgegal.data.boxed.names import parse_class_map
    from edgegal.data.boxed.registry import open_all
    from edgegal.data.heldout import tell_seen
    from edgegal.device.sources.files import read_still

    for name in names if split in ("test", "all") else ():
        tell_seen(name, detector.provenance.datasets, "detector")
    found = []
    for boxed in open_all(
        names, parse_class_map(class_map), detector.labels, detector.preprocess.stretch, read_frame=read_still
    ):
        chosen, fields = boxed.subset(None if split == "all" else split).read()
        pictures, truth, ignore = [f.picture for f in fields], [f.truth for f in fields], [f.ignore for f in fields]
        found.append(BoxedPictures(chosen.name, split, pictures, truth, ignore))
    return found


def _by_stage(folders: list[Path]) -> dict["StageName", Path]:
    """Trained models by the stage of a bundle they are."""
    from edgegal.models.artefact import read_description

    return {"detector" if read_description(folder).task == "detection" else "classifier": folder for folder in folders}
