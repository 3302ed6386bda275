"""`edgegal data`: what there is to train on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgegal.data import PictureSet
    from edgegal.data.fetch import Progress

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Datasets: list, download, information, splits, contact sheets, simulated sky.",
)

_NAME = typer.Argument(..., help="Dataset name, folder:DIR or csv:LABELS.csv.")
_SCHEME = typer.Option(None, "--scheme", help="Label scheme, when not the dataset's own.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_SEED = typer.Option(0, "--seed", min=0, help="Of the draw.")
_CONFIDENCE = typer.Option(0.8, "--confidence", help="Share of the votes that a label needs, for sets with votes.")
_SPIRAL_FROM = typer.Option(0, "--spiral-from", help="T-type where spirals begin, 0 or 1, for sets with T-types.")
_SHARES = typer.Option(None, "--shares", help="train/val/test, for example 60/20/20; sets with a split keep theirs.")
_SPLIT_FILE = typer.Option(None, "--split-file", help="A split that `edgegal data split` wrote.")


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
    rows = [[s.name, s.state, str(s.n) if s.n else "-", _in_short(s.labels), s.source] for s in listed]
    print_table(["name", "state", "pictures", "labels", "source"], rows)


def _in_short(labels: Sequence[str]) -> str:
    """All of a few labels, the first of many and how many there are."""
    return ", ".join(labels) if len(labels) <= 6 else f"{', '.join(labels[:3])} ... ({len(labels)})"


@app.command()
def fetch(
    name: str = typer.Argument(..., help="Dataset name."),
    url: str = typer.Option(None, "--url", help="Another address: of the folder with the files, or of the one file."),
    as_json: bool = _JSON,
) -> None:
    """Download a public set, or go on with a download that broke off. A set that is here is only checked."""
    import json

    from edgegal.data.fetch import fetch as fetch_set
    from edgegal.data.registry import dataset

    known = dataset(name)
    with _progress() as told:
        files = fetch_set(known, url, told)
    if as_json:
        rows = [{"path": str(f.path), "new": f.new, "checksum": f.checksum} for f in files]
        typer.echo(json.dumps({"name": name, "folder": str(known.folder), "citation": known.citation, "files": rows}))
        return
    for file in files:
        typer.echo(f"{file.path}: {'fetched' if file.new else 'already here'}, {file.checksum}")
    if not files:
        typer.echo(f"{known.folder}: already here")
    if known.citation:
        typer.echo(f"cite: {known.citation}")


@contextmanager
def _progress() -> Iterator["Progress"]:
    """Bars on stderr, one for each file, with the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        tasks = {}

        def told(file: str, done: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=total)
            bars.update(tasks[file], completed=done)

        yield told


@app.command()
def info(
    name: str = _NAME,
    scheme: str = _SCHEME,
    against: list[str] = typer.Option([], "--against", help="Set to look for the same galaxies in; repeatable."),
    by_picture: bool = typer.Option(False, "--by-picture", help="Compare pictures too; minutes for large sets."),
    check: bool = typer.Option(False, "--check", help="Read every picture and name those that cannot be read."),
    confidence: float = _CONFIDENCE,
    spiral_from: int = _SPIRAL_FROM,
    shares: str = _SHARES,
    split_file: Path = _SPLIT_FILE,
    as_json: bool = _JSON,
) -> None:
    """Counts by label and split, the digests, what was left out, and galaxies that leak to or from other sets."""
    import json
    from dataclasses import asdict

    from edgegal.cli.output import print_table
    from edgegal.data import open_dataset
    from edgegal.data.summary import summarise

    pictures = _opened(name, scheme, confidence, spiral_from, shares, split_file)
    if check:
        pictures, _ = pictures.read(_CHECK_PX)
    summary = summarise(pictures, [open_dataset(other) for other in against] or None, by_picture)
    if as_json:
        typer.echo(json.dumps(asdict(summary)))
        return
    typer.echo(f"{summary.name}: {summary.n} pictures, scheme {summary.scheme}, sha256 {summary.digest}")
    typer.echo(f"split sha256 {summary.split_digest}")
    splits = list(next(iter(summary.counts.values())))
    rows = [[label, *(str(row[split]) for split in splits)] for label, row in summary.counts.items()]
    print_table(["label", *splits], rows)
    if summary.empty:
        typer.echo(f"no pictures of: {', '.join(summary.empty)}")
    for skip in summary.skipped:
        typer.echo(f"left out, {skip}")
    for shared in summary.shared:
        found = len(shared.matches) if shared.compared else "not to be told by ids or positions: try --by-picture"
        typer.echo(f"galaxies also in {shared.name}: {found}")
    typer.echo(f"galaxies in the training part of one set and the test part of another: {len(summary.leaks)}")
    if summary.leaks:
        leak_rows = [[leak.train_set, leak.train_id, leak.test_set, leak.test_id, leak.how] for leak in summary.leaks]
        print_table(["trained on in", "as", "tested on in", "as", "by"], leak_rows)


_CHECK_PX = 8


def _opened(
    name: str, scheme: str, confidence: float, spiral_from: int, shares: str | None, split_file: Path | None = None
) -> "PictureSet":
    from edgegal.data import LabelRules, Shares, open_dataset

    wanted = Shares.parse(shares) if shares else None
    return open_dataset(name, scheme, LabelRules(confidence, spiral_from), wanted, split_file)


@app.command()
def split(
    name: str = _NAME,
    out: Path = typer.Option(..., "--out", help="The JSON to write."),
    shares: str = _SHARES,
    as_json: bool = _JSON,
) -> None:
    """Write which picture is in which split, with its sha256: by object, stratified by class."""
    import json

    from edgegal.data import Shares, open_dataset
    from edgegal.data.splits import SPLITS, write_split

    pictures = open_dataset(name, shares=Shares.parse(shares) if shares else None)
    digest = write_split(out, name, pictures.ids, pictures.splits.tolist())
    counts = {part: int((pictures.splits == part).sum()) for part in SPLITS}
    if as_json:
        typer.echo(json.dumps({"out": str(out), "sha256": digest, **counts}))
        return
    typer.echo(f"{out}: {', '.join(f'{part} {n}' for part, n in counts.items())}, sha256 {digest}")


@app.command()
def preview(
    name: str = _NAME,
    out: Path = typer.Option(..., "--out", help="The PNG to write."),
    split: str = typer.Option(None, "--split", help="train, val or test; all when absent."),
    scheme: str = _SCHEME,
    confidence: float = _CONFIDENCE,
    spiral_from: int = _SPIRAL_FROM,
    seed: int = _SEED,
) -> None:
    """A contact sheet: some pictures of each class under its name, with the strongest vote or the T-type of each."""
    from edgegal.data.contact_sheet import contact_sheet, write_png

    pictures = _opened(name, scheme, confidence, spiral_from, None).subset(split, labelled=False)
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
