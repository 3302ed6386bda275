"""`edgegal bundle`: look into a bundle, verify it, pack it."""

from pathlib import Path

import typer

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Look into a bundle, verify it, pack it."
)

# All the others stand in the card.
_HEADLINES = ("accuracy", "AP@.5")

_BUNDLE = typer.Argument("galaxies", help="Bundle folder, .edgegal or model file, or the name of a shipped bundle.")


@app.command()
def info(bundle: str = _BUNDLE, as_json: bool = typer.Option(False, "--json", help="Print the manifest.")) -> None:
    """What the bundle holds and what was measured of it."""
    from edgegal import zoo
    from edgegal.bundle import ClassifierStage
    from edgegal.cli.output import print_table

    opened = zoo.resolve(bundle)
    manifest = opened.manifest
    if as_json:
        typer.echo(manifest.model_dump_json(indent=2))
        return
    typer.echo(f"{manifest.name} {manifest.version} ({opened.source}): {manifest.description}")
    for name, stage in manifest.stages.items():
        size = f"{stage.preprocess.width}x{stage.preprocess.height}"
        typer.echo(
            f"\n{name}: {stage.provenance.architecture}, {stage.provenance.parameters:,} parameters, "
            f"input {size} RGB, labels {', '.join(stage.labels)}"
        )
        if isinstance(stage, ClassifierStage) and (stage.abstain_below or stage.min_side_px):
            typer.echo(f"uncertain below {stage.abstain_below:g}, too small below {stage.min_side_px:g} pixels")
        rows = []
        for variant in stage.variants:
            accuracy = "; ".join(
                f"{a.metric} {a.value:.3f} [{a.low:.3f}, {a.high:.3f}] {a.dataset} {a.split} n={a.n}"
                for a in variant.accuracy
                if a.metric in _HEADLINES
            )
            agreement = f"{variant.parity.agreement:.3f}" if variant.parity else "-"
            rows.append([variant.name, f"{variant.size / 1000:,.0f} kB", agreement, accuracy or "-"])
        print_table(["variant", "size", "agrees with float", "accuracy [95 % interval]"], rows)


@app.command()
def verify(
    bundle: str = _BUNDLE, as_json: bool = typer.Option(False, "--json", help="Print one JSON document.")
) -> None:
    """Hash every file; exit 2 when one is missing, changed or unknown."""
    import json

    from edgegal import zoo
    from edgegal.bundle import verify as find_problems
    from edgegal.bundle.single_file import FORMATS
    from edgegal.errors import BundleError, InputError

    opened = zoo.resolve(bundle)
    if opened.source.suffix.lower() in FORMATS and opened.archive:
        raise InputError(f"{bundle} is one file: it has no hashes to compare with", "verify the bundle it came from")
    problems = find_problems(opened)
    if as_json:
        typer.echo(json.dumps({"bundle": str(opened.source), "sound": not problems, "problems": problems}))
    if problems:
        raise BundleError("; ".join(problems), "get the bundle again")
    if not as_json:
        typer.echo(f"{opened.source}: {len(opened.manifest.files())} files, all as the manifest says")


@app.command()
def pack(
    bundle: str = _BUNDLE,
    out: Path = typer.Option(Path(), "--out", help="Folder to write NAME.edgegal into."),
) -> None:
    """Write the bundle as one .edgegal file."""
    from edgegal import zoo
    from edgegal.bundle import pack as write_archive

    opened = zoo.resolve(bundle)
    out.mkdir(parents=True, exist_ok=True)
    typer.echo(str(write_archive(opened, out / f"{opened.manifest.name}.edgegal")))
