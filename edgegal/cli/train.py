"""`edgegal train`: a classifier on labelled pictures, a detector on composed fields."""

from pathlib import Path

import typer

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Train a classifier or a detector."
)

_OUT = typer.Option(..., "--out", help="Folder for model.keras, model.json and history.csv.")
_SEED = typer.Option(0, "--seed", min=0, max=2**32 - 1, help="Seed of initialisation, order and augmentation.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")


@app.callback()
def train() -> None:
    """Train a classifier or a detector."""


@app.command()
def detector(
    data: list[str] = typer.Option(
        [],
        "--data",
        help="Set of cutouts that lends its galaxies, or frames with boxes: voc:DIR, coco:FILE, yolo:DIR, "
        "frames:FILE; repeatable.",
    ),
    out: Path = _OUT,
    fields: int = typer.Option(6000, "--fields", min=1, help="Fields to make."),
    telescope: list[str] = typer.Option(
        [],
        "--telescope",
        help="Telescope whose exposures are simulated, or `all`; `none` for no exposures; repeatable.",
    ),
    scheme: str = typer.Option("galaxy", "--scheme", help="galaxy, or celestial: other extended objects as classes."),
    class_map: list[str] = typer.Option([], "--class-map", help="Class of the frames, as theirs=ours; repeatable."),
    unannotated_empty: bool = typer.Option(
        False, "--unannotated-empty", help="Nothing is on frames without an annotation; else they are left out."
    ),
    architecture: str = typer.Option(
        "ssdlite-mobilenet-v2",
        "--architecture",
        help="ssdlite-mobilenet-v2, ssdlite-mobilenet-v2-topdown, ssd-mobilenet-v2, ssd-mobilenet-v2-fpnlite or "
        "efficientdet-lite0.",
    ),
    alpha: float | None = typer.Option(None, "--alpha", min=0.1, max=2, help="Width; the architecture's own."),
    mono: bool = typer.Option(False, "--mono/--colour", help="See brightness alone."),
    weights: str = typer.Option("none", "--weights", help="Of the backbone: none, imagenet or a file."),
    anchor: list[str] = typer.Option(
        [], "--anchor", help="Anchor sizes of a map in pixels as STRIDE:SIZE,SIZE; once for every map."
    ),
    loss: str = typer.Option("focal", "--loss", help="Of the scores: focal or hard-negative."),
    start: Path | None = typer.Option(
        None,
        "--start",
        help="Detector to go on from: a trained one of the architecture or of a part of it, or a bundle's.",
    ),
    epochs: int = typer.Option(8, "--epochs", min=1, help="Passes over the fields."),
    batch: int = typer.Option(16, "--batch", min=1, help="Fields a step."),
    rate: float = typer.Option(1.5e-3, "--rate", min=1e-7, help="Peak learning rate."),
    size: int = typer.Option(256, "--size", help="Input side in pixels, for the default a multiple of 64."),
    seed: int = _SEED,
    as_json: bool = _JSON,
) -> None:
    """Train a detector that finds galaxies. Interrupt and run again to go on after the last whole epoch."""
    from dataclasses import replace

    from edgegal.cli.training import anchors_asked, begun_from, finish, resuming
    from edgegal.data import open_dataset
    from edgegal.data.boxed.names import is_boxed, parse_class_map
    from edgegal.data.boxed.registry import open_all
    from edgegal.data.skies.telescopes import telescope as telescope_named
    from edgegal.data.skies.telescopes import telescope_names
    from edgegal.device.sources.files import read_still
    from edgegal.errors import InputError
    from edgegal.labels import scheme as scheme_named
    from edgegal.training.detector import DetectorSettings, begun, check_start, train_detector

    if loss not in ("focal", "hard-negative"):
        raise InputError(f"no loss {loss!r}", "use one of: focal, hard-negative")
    target = scheme_named(scheme)
    settings = DetectorSettings(
        architecture=architecture,
        size=size,
        alpha=alpha,
        mono=mono,
        weights=weights,
        anchor_spec=anchors_asked(anchor, architecture, size),
        loss="focal" if loss == "focal" else "hard-negative",
        epochs=epochs,
        batch=batch,
        rate=rate,
        seed=seed,
    )
    if len(telescope) > 1 and {"all", "none"} & set(telescope):
        raise InputError("all and none stand alone", "name either telescopes, or all, or none")
    every = telescope in ([], ["all"])
    telescopes = [telescope_named(n) for n in (telescope_names() if every else telescope) if n != "none"]
    mapped = parse_class_map(class_map)
    frames = open_all(
        [n for n in data if is_boxed(n)],
        mapped,
        target.labels,
        read_frame=read_still,
        unannotated_empty=unannotated_empty,
    )
    cutouts = [open_dataset(n) for n in data if not is_boxed(n)]
    begin = None
    if start:
        begin, description = begun_from(
            start, "detector", lambda d: begun(replace(settings, size=d.preprocess.width), len(d.labels), None)
        )
        check_start(settings, description)
    with resuming(out) as state:
        trained = train_detector(cutouts, fields, settings, telescopes, frames, target, begin, state=state)
    finish(trained, out, as_json)


@app.command()
def classifier(
    data: list[str] = typer.Option(
        ..., "--data", help="Dataset: a name from `edgegal data list`, folder:DIR or csv:FILE; repeatable."
    ),
    out: Path = _OUT,
    apart_from: list[str] = typer.Option(
        [], "--apart-from", help="Set to test on later: galaxies of its test part are not learned; repeatable."
    ),
    scheme: str = typer.Option("", "--scheme", help="Label scheme to train for; the only set's own when empty."),
    architecture: str = typer.Option(
        "compact",
        "--architecture",
        help="compact, compact-excite, separable, inverted-residual, two-convolution; to teach: efficientnet-lite0.",
    ),
    teacher: list[Path] = typer.Option(
        [],
        "--teacher",
        help="Trained classifier to learn from, on unlabelled pictures too; or a bundle's; repeatable.",
    ),
    start: list[Path] = typer.Option(
        [],
        "--start",
        help="Classifier of the architecture to go on from, of these classes or others: a trained one, or a bundle's. "
        "Of several that went on from one network, the mean of their weights.",
    ),
    epochs: int = typer.Option(80, "--epochs", min=0, help="Passes over the pictures; 0 only adjusts --start."),
    batch: int | None = typer.Option(None, "--batch", min=1, help="Pictures a step; the architecture's own."),
    size: int | None = typer.Option(None, "--size", min=16, help="Input side in pixels; the architecture's own."),
    crop_scale: float | None = typer.Option(
        None, "--crop-scale", min=1, max=4, help="Side of a crop over its galaxy's box; that of the device by default."
    ),
    zoom: list[float] = typer.Option(
        [], "--zoom", help="Look at the middle of a crop too, enlarged by this; repeatable. For the compact ones."
    ),
    mirrored: bool = typer.Option(False, "--mirrored/--as-seen", help="Look at mirror images of these too."),
    rate: float | None = typer.Option(None, "--rate", min=1e-7, help="Peak learning rate; the architecture's own."),
    balance: float = typer.Option(0.5, "--balance", min=0, max=1, help="0: classes as common as they are; 1: equal."),
    adjust: float = typer.Option(
        0, "--adjust", min=0, max=1, help="Power of the classes' frequencies divided out of the trained probabilities."
    ),
    even: float = typer.Option(
        0, "--even", min=0, max=1, help="Power of the classes' frequencies divided out of the teachers' opinions."
    ),
    keep: float = typer.Option(0, "--keep", min=0, max=1, help="Share of --start in the weights at the end."),
    whole: bool = typer.Option(False, "--whole/--boxes-only", help="Learn pictures as their survey framed them too."),
    simulated: int = typer.Option(0, "--simulated", min=0, help="Simulated cutouts to add."),
    pairs: int = typer.Option(0, "--pairs", min=0, help="Blended pairs of training pictures to add as mergers."),
    seed: int = _SEED,
    as_json: bool = _JSON,
) -> None:
    """Train a compact classifier. Interrupt and run again to go on after the last whole epoch."""
    from edgegal.cli.training import averaged, begun_from, finish, opened, resuming, teachers
    from edgegal.training.classifier import CROP_SCALE, ClassifierSettings, built_like, train_classifier

    sets, target = opened(data, scheme, apart_from)
    settings = ClassifierSettings(
        architecture,
        size,
        epochs,
        batch,
        rate,
        balance,
        whole,
        simulated,
        pairs,
        even=even,
        keep=keep,
        adjust=adjust,
        zooms=tuple(zoom),
        mirrored=mirrored,
        seed=seed,
    )
    taught_by = teachers(teacher, target)
    begin, begun_as = (
        averaged([begun_from(each, "classifier", built_like) for each in start]) if start else (None, None)
    )
    scale = crop_scale or CROP_SCALE
    with resuming(out) as state:
        trained = train_classifier(sets, target, settings, taught_by, begin, scale, state=state, start_as=begun_as)
    finish(trained, out, as_json)


@app.command()
def recipe(
    file: Path = typer.Argument(..., metavar="RECIPE", help="A recipe such as recipes/course-scratch.toml."),
    out: Path = typer.Option(..., "--out", help="Folder for the networks and the report; the same one to go on."),
    data: str = typer.Option(
        "", "--data", help="Set to take instead of the recipe's, with its own classes and splits."
    ),
    pretrain: str = typer.Option("", "--pretrain", help="Set to take instead of those of the pretraining."),
    scheme: str = typer.Option("", "--scheme", help="Label scheme of these sets; their own when empty."),
    leave_out: list[str] = typer.Option([], "--leave-out", help="Class to drop with its pictures; repeatable."),
    weights: str = typer.Option("", "--weights", help="File of VGG-16 weights instead of ImageNet's; none: at random."),
    epochs: int | None = typer.Option(None, "--epochs", min=1, help="Longest training of every run."),
    limit: int | None = typer.Option(None, "--limit", min=1, help="Pictures a split at most."),
    seed: int | None = typer.Option(None, "--seed", min=0, help="The only seed; the recipe's when left out."),
    as_json: bool = _JSON,
) -> None:
    """Carry out a published experiment and report it. Interrupt and run again to go on after the last whole epoch."""
    import sys
    from contextlib import redirect_stdout

    from edgegal.training.recipe import Overrides, load_recipe

    asked = Overrides(
        data=data,
        pretrain=pretrain,
        scheme=scheme,
        leave_out=tuple(leave_out),
        weights=weights,
        epochs=epochs,
        limit=limit,
        seed=seed,
    )
    wanted = asked.applied(load_recipe(file))
    from edgegal.training.experiment import carry_out_recipe
    from edgegal.training.recipe_report import write_recipe_report

    with redirect_stdout(sys.stderr):
        done = carry_out_recipe(wanted, out, limit, progress=lambda line: typer.echo(line, err=True))
        page = write_recipe_report(done, out / "report", asked.told())
    _print_comparison(out, page, as_json)


@app.command()
def report(
    models: list[Path] = typer.Argument(..., metavar="MODEL...", help="Folders of trained classifiers."),
    data: list[str] = typer.Option(..., "--data", help="Set to judge them on; repeatable."),
    out: Path = typer.Option(..., "--out", help="Folder for report.html, report.json and the pictures."),
    scheme: str = typer.Option("", "--scheme", help="Classes to judge in; those that set and classifier share."),
    split: str = typer.Option("test", "--split", help="train, val, test or all."),
    framing: str = typer.Option("box", "--framing", help="box: cut as the device cuts; whole: as the survey framed."),
    as_json: bool = _JSON,
) -> None:
    """Judge trained classifiers side by side; those of one architecture are one method with several seeds."""
    from edgegal.errors import InputError
    from edgegal.training.evaluation import report_trained

    if framing != "box" and framing != "whole":
        raise InputError(f"no framing {framing!r}", "use one of: box, whole")
    page = report_trained(models, data, out, scheme or None, split, "whole" if framing == "whole" else "box")
    _print_comparison(out, page, as_json)


def _print_comparison(out: Path, page: Path, as_json: bool) -> None:
    """The table of a report: its runs and their figures."""
    import json

    from edgegal.cli.output import print_table

    comparison = json.loads(page.with_suffix(".json").read_bytes())["comparison"]
    if as_json:
        typer.echo(json.dumps({"out": str(out), "report": str(page), **comparison}))
        return
    figures = comparison["figures"]
    rows = [
        [
            row["name"],
            str(row["results"]),
            "-" if row["parameters"] is None else f"{row['parameters']:,}",
            *(_beside(row["figures"][key], row["published"].get(key)) for key in figures),
        ]
        for row in comparison["runs"]
    ]
    print_table(["run", "runs", "parameters", *figures.values()], rows)
    typer.echo("each: mean [95 % interval] (published)")
    typer.echo(f"report: {page}")


def _beside(found: dict[str, float | None], published: float | None) -> str:
    """A figure with its interval, and what was published."""
    if found["value"] is None:
        return "-"
    ends = "" if found["low"] is None else f" [{found['low']:.3f}, {found['high']:.3f}]"
    return f"{found['value']:.3f}{ends}" + ("" if published is None else f" ({published:g})")
