"""`edgegal data`: what there is to train on."""

from pathlib import Path

import typer

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Datasets: list, information, contact sheets, simulated sky.",
)

_NAME = typer.Argument(..., help="Dataset name, folder:DIR or csv:LABELS.csv.")
_SCHEME = typer.Option(None, "--scheme", help="Label scheme, when not the dataset's own.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_SEED = typer.Option(0, "--seed", min=0, help="Of the draw.")


@app.command("list")
def list_sets(as_json: bool = _JSON) -> None:
    """The sets known by name, and whether they are here."""
    import json
    from dataclasses import asdict

    from edgegal.cli.output import print_table
    from edgegal.data.summary import list_datasets

    listed = list_datasets()
    if as_json:
        typer.echo(json.dumps([asdict(s) for s in listed]))
        return
    rows = [[s.name, s.state, str(s.n) if s.n else "-", ", ".join(s.labels), s.source] for s in listed]
    print_table(["name", "state", "pictures", "labels", "source"], rows)


@app.command()
def info(name: str = _NAME, scheme: str = _SCHEME, as_json: bool = _JSON) -> None:
    """Counts by label and split, the digest, and galaxies that leak to or from other sets."""
    import json
    from dataclasses import asdict

    from edgegal.cli.output import print_table
    from edgegal.data import open_dataset
    from edgegal.data.summary import summarise

    summary = summarise(open_dataset(name, scheme))
    if as_json:
        typer.echo(json.dumps(asdict(summary)))
        return
    typer.echo(f"{summary.name}: {summary.n} pictures, scheme {summary.scheme}, sha256 {summary.digest}")
    splits = list(next(iter(summary.counts.values())))
    rows = [[label, *(str(row[split]) for split in splits)] for label, row in summary.counts.items()]
    print_table(["label", *splits], rows)
    typer.echo(f"galaxies in the training part of one set and the test part of another: {len(summary.leaks)}")
    if summary.leaks:
        leak_rows = [[leak.train_set, leak.train_id, leak.test_set, leak.test_id] for leak in summary.leaks]
        print_table(["trained on in", "as", "tested on in", "as"], leak_rows)


@app.command()
def preview(
    name: str = _NAME,
    out: Path = typer.Option(..., "--out", help="The PNG to write."),
    split: str = typer.Option(None, "--split", help="train, val or test; all when absent."),
    scheme: str = _SCHEME,
    seed: int = _SEED,
) -> None:
    """A contact sheet: some pictures of each class under its name."""
    from edgegal.data import open_dataset
    from edgegal.data.contact_sheet import contact_sheet, write_png

    pictures = open_dataset(name, scheme).subset(split, labelled=False)
    typer.echo(str(write_png(contact_sheet(pictures, seed), out)))


@app.command()
def simulate(
    out: Path = typer.Option(..., "--out", help="Folder to write into; absent or empty."),
    frames: int = typer.Option(8, "--frames", min=1, help="Exposures."),
    seed: int = typer.Option(0, "--seed", min=0, help="Of the field and the noise."),
) -> None:
    """A simulated night: FITS frames with headers, and the true boxes in truth.json."""
    from edgegal.data.simulation import write_night
    from edgegal.sky import Night

    typer.echo(str(write_night(Night(seed=seed, frames=frames), out)))
