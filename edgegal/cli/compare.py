"""`edgegal compare`: what quantising cost, with a gate."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgegal.benchmarks.comparison import LabelledPictures
    from edgegal.bundle import Bundle, StageName

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def compare(
    bundle: str = typer.Argument("galaxies", help="Bundle folder, .edgegal file, or the name of a shipped bundle."),
    data: str | None = typer.Option(
        None, "--data", help="Dataset whose test split the classifier is compared on; its evaluation set otherwise."
    ),
    reference: list[Path] = typer.Option(
        [], "--reference", help="Folder of a trained Keras model to take as float; once for each stage."
    ),
    runtime: str | None = typer.Option(None, "--runtime", help="Only variants this runtime runs."),
    threads: int = typer.Option(1, "--threads", min=1, help="Threads a runtime may use."),
    max_drop: float = typer.Option(
        0.01, "--max-drop", help="Largest loss of accuracy (detectors: AP at IoU .5) that passes."
    ),
    min_agreement: float = typer.Option(
        0.97, "--min-agreement", min=0.0, max=1.0, help="Least share of float's classes a classifier must repeat."
    ),
    min_box_agreement: float = typer.Option(
        0.85, "--min-box-agreement", min=0.0, max=1.0, help="Least share of boxes in common with the float detector."
    ),
    seed: int = typer.Option(0, "--seed", help="Seed of the bootstraps."),
    record: bool = typer.Option(False, "--record", help="Write the figures into the bundle's manifest."),
    markdown: Path | None = typer.Option(None, "--markdown", help="File to write the report to, as Markdown."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document instead of the tables."),
) -> None:
    """Compare every variant of a bundle with float on labelled pictures.

    Exit 1 when a variant is surely worse than --max-drop, that is, when the low end of the 95 % paired bootstrap
    interval of its drop lies above it; or when it agrees with float on less than --min-agreement (classifiers) or
    --min-box-agreement (detectors). A drop that may be chance passes.
    """
    import json

    from edgegal import zoo
    from edgegal.benchmarks.comparison import compare_bundle, record_accuracy
    from edgegal.benchmarks.report import Gate
    from edgegal.benchmarks.storage import write_text
    from edgegal.cli.output import print_table
    from edgegal.errors import InputError

    if record and Path(bundle).is_file():
        raise InputError(f"{bundle} is packed: figures cannot be written into it", "record in the folder, then pack it")
    opened = zoo.resolve(bundle)
    report = compare_bundle(
        opened,
        Gate(max_drop, min_agreement, min_box_agreement),
        seed,
        threads,
        runtime,
        _labelled(opened, data) if data else None,
        _by_stage(reference),
        progress=lambda line: typer.echo(line, err=True),
    )
    if record:
        record_accuracy(opened, report)
    if markdown:
        write_text(markdown, report.markdown())
    if as_json:
        typer.echo(json.dumps(report.document()))
    else:
        for title, header, rows in report.tables():
            typer.echo(title)
            print_table(header, rows)
        for stage in report.stages:
            for name, reason in stage.left_out.items():
                typer.echo(f"left out {stage.stage} {name}: {reason}")
        typer.echo(report.verdict)
    report.check()


def _labelled(bundle: "Bundle", name: str) -> "LabelledPictures":
    """The test split of a dataset, in the classifier's classes."""
    from edgegal.benchmarks.comparison import LabelledPictures, in_classes
    from edgegal.data import open_dataset
    from edgegal.data.framing import framed
    from edgegal.errors import DatasetError, InputError
    from edgegal.labels import SCHEMES

    stage = bundle.manifest.classifier
    if stage is None:
        raise InputError(f"bundle {bundle.manifest.name} has no classifier to compare on {name}")
    held = open_dataset(name, stage.scheme if stage.scheme in SCHEMES else None).subset("test")
    if not len(held):
        raise DatasetError(f"{name} has no labelled pictures in its test split")
    labels = in_classes(held.labels, held.scheme.labels, stage.labels)
    pictures = framed(held.pictures(), stage.preprocess.crop_scale, stage.preprocess.height)
    return LabelledPictures(name, "test", pictures, labels)


def _by_stage(folders: list[Path]) -> dict["StageName", Path]:
    """Trained models by the stage of a bundle they are."""
    from edgegal.models.artefact import read_description

    return {"detector" if read_description(folder).task == "detection" else "classifier": folder for folder in folders}
