"""`edgegal data`: what there is to train on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgegal.data import PictureSet
    from edgegal.data.boxed.boxed_set import BoxedSet
    from edgegal.data.fetch import Progress

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Datasets: list, download, information, splits, contact sheets, conversion, simulated sky.",
)

_BOXED = (
    "voc:DIR, coco:FILE, yolo:DIR, cutouts:NAME, composed:NAME, simulated:DIR or frames:FILE for pictures with boxes"
)
_NAME = typer.Argument(..., help=f"Dataset name, folder:DIR or csv:LABELS.csv; {_BOXED}.")
_SCHEME = typer.Option(None, "--scheme", help="Label scheme, when not the dataset's own.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_SEED = typer.Option(0, "--seed", min=0, help="Of the draw.")
_CONFIDENCE = typer.Option(
    None, "--confidence", help="Share of the votes that a label needs, for sets with votes; 0.8 otherwise."
)
_SPIRAL_FROM = typer.Option(
    None, "--spiral-from", help="T-type where spirals begin, for sets with T-types: 0, or 1; 0 otherwise."
)
_SHARES = typer.Option(None, "--shares", help="train/val/test, for example 60/20/20; sets with a split keep theirs.")
_CLASS_MAP = typer.Option(
    [], "--class-map", help="CLASS=NAME, of boxes; CLASS= drops them, *=NAME is for all others. Repeatable."
)
_UNANNOTATED = typer.Option(
    False, "--unannotated-empty", help="Nothing is on pictures without an annotation; else they are left out."
)
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
    class_map: list[str] = _CLASS_MAP,
    unannotated_empty: bool = _UNANNOTATED,
    as_json: bool = _JSON,
) -> None:
    """Counts by label and split, the digests, what was left out, and galaxies that leak to or from other sets."""
    import json
    from dataclasses import asdict

    from edgegal.cli.output import print_table
    from edgegal.data import open_dataset
    from edgegal.data.summary import summarise

    labelled_only = {
        "--scheme": scheme,
        "--against": against,
        "--by-picture": by_picture,
        "--confidence": confidence is not None,
        "--spiral-from": spiral_from is not None,
    }
    if _is_boxed(name, class_map, unannotated_empty, labelled_only):
        boxed = _opened_boxed(name, class_map, unannotated_empty, shares, split_file)
        _print_boxed(boxed.read()[0] if check else boxed, as_json)
        return
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


def _is_boxed(
    name: str, class_map: Sequence[str], unannotated_empty: bool, labelled_only: Mapping[str, object] | None = None
) -> bool:
    """Whether `name` is of pictures with boxes; `InputError` when an option is for the other kind of set."""
    from edgegal.data.boxed.names import FORMS, is_boxed
    from edgegal.errors import InputError

    boxed = is_boxed(name)
    boxed_only = {"--class-map": class_map, "--unannotated-empty": unannotated_empty}
    wrong = [option for option, value in (labelled_only or {} if boxed else boxed_only).items() if value]
    if wrong:
        kind = "labelled pictures" if boxed else f"pictures with boxes ({', '.join(FORMS)})"
        raise InputError(f"{wrong[0]} is for sets of {kind}, not for {name}", "leave it out")
    return boxed


def _opened_boxed(
    name: str, class_map: Sequence[str], unannotated_empty: bool, shares: str | None, split_file: Path | None = None
) -> "BoxedSet":
    from edgegal.data import Shares
    from edgegal.data.boxed.names import parse_class_map
    from edgegal.data.boxed.registry import open_boxed
    from edgegal.device.sources.files import read_still

    return open_boxed(
        name,
        parse_class_map(class_map),
        shares=Shares.parse(shares) if shares else None,
        split=split_file,
        unannotated_empty=unannotated_empty,
        read_frame=read_still,
    )


def _print_boxed(boxed: "BoxedSet", as_json: bool) -> None:
    import json
    from dataclasses import asdict

    from edgegal.cli.output import print_table
    from edgegal.data.boxed.summary import QUANTILES, summarise_boxed

    summary = summarise_boxed(boxed)
    if as_json:
        typer.echo(json.dumps(asdict(summary)))
        return
    (low_w, low_h), (high_w, high_h) = summary.picture_sizes
    typer.echo(f"{summary.name}: {summary.n} pictures of {low_w} x {low_h} to {high_w} x {high_h} pixels")
    typer.echo(f"sha256 {summary.digest}, split sha256 {summary.split_digest}")
    splits = list(next(iter(summary.counts.values())))
    print_table(["boxes", *splits], [[row, *(str(n) for n in by.values())] for row, by in summary.counts.items()])
    header = ["longer side, pixels", *(f"{100 * q:g} %" for q in QUANTILES)]
    print_table(header, [[label, *(f"{v:g}" for v in sides)] for label, sides in summary.sizes.items()])
    for skip in summary.skipped:
        typer.echo(f"left out, {skip}")


def _opened(
    name: str,
    scheme: str,
    confidence: float | None,
    spiral_from: int | None,
    shares: str | None,
    split_file: Path | None = None,
) -> "PictureSet":
    from edgegal.data import LabelRules, Shares, open_dataset
    from edgegal.errors import InputError

    wanted = Shares.parse(shares) if shares else None
    usual = LabelRules()
    rules = LabelRules(
        usual.confidence if confidence is None else confidence,
        usual.spiral_from if spiral_from is None else spiral_from,
    )
    pictures = open_dataset(name, scheme, rules, wanted, split_file)
    idle = {"--confidence": confidence is not None and pictures.votes is None}
    idle["--spiral-from"] = spiral_from is not None and pictures.t_types is None
    for option, ignored in idle.items():
        if ignored:
            raise InputError(f"{name} has nothing that {option} decides", "leave it out")
    return pictures


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

    if _is_boxed(name, (), False):
        pictures: PictureSet | BoxedSet = _opened_boxed(name, (), False, shares)
    else:
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
    class_map: list[str] = _CLASS_MAP,
    unannotated_empty: bool = _UNANNOTATED,
) -> None:
    """A contact sheet: some pictures of each class under its name, with the strongest vote, the T-type or the boxes."""
    from edgegal.data.contact_sheet import contact_sheet, write_png

    labelled_only = {
        "--scheme": scheme,
        "--confidence": confidence is not None,
        "--spiral-from": spiral_from is not None,
    }
    if _is_boxed(name, class_map, unannotated_empty, labelled_only):
        from edgegal.data.boxed.sheet import boxed_sheet

        boxed = _opened_boxed(name, class_map, unannotated_empty, None).subset(split)
        typer.echo(str(write_png(boxed_sheet(boxed, seed), out)))
        return
    pictures = _opened(name, scheme, confidence, spiral_from, None).subset(split, labelled=False)
    typer.echo(str(write_png(contact_sheet(pictures, seed), out)))


@app.command()
def convert(
    name: str = typer.Argument(..., help=f"{_BOXED}."),
    to: str = typer.Option(..., "--to", help="voc, coco or yolo."),
    out: Path = typer.Option(..., "--out", help="Folder to write into; absent or empty."),
    split: str = typer.Option(None, "--split", help="train, val or test; all when absent."),
    class_map: list[str] = _CLASS_MAP,
    unannotated_empty: bool = _UNANNOTATED,
    shares: str = _SHARES,
    split_file: Path = _SPLIT_FILE,
    as_json: bool = _JSON,
) -> None:
    """Pictures with boxes as PNG and annotations that labelImg and others read, to be corrected and read back."""
    import json
    from dataclasses import asdict

    from edgegal.data.boxed.convert import convert as write_set

    boxed = _opened_boxed(name, class_map, unannotated_empty, shares, split_file).subset(split)
    done = write_set(boxed, to, out)
    if as_json:
        typer.echo(json.dumps({"out": str(out), **asdict(done)}))
        return
    typer.echo(f"{out}: {done.pictures} pictures, {done.boxes} boxes, {done.ignored} ignored boxes")
    for skip in done.skipped:
        typer.echo(f"left out, {skip}")


@app.command()
def simulate(
    out: Path = typer.Option(..., "--out", help="Folder to write into; absent or empty."),
    telescope: str = typer.Option(
        None, "--telescope", help="Profile: a name of `edgegal data telescopes`, or a .toml file."
    ),
    frames: int = typer.Option(8, "--frames", min=1, help="Exposures."),
    seed: int = typer.Option(0, "--seed", min=0, help="Of the field and the noise."),
    objects: str = typer.Option(None, "--objects", help="With --telescope: galaxies, or celestial for all."),
    magnitudes: str = typer.Option(
        None, "--magnitudes", help="With --telescope: of the galaxies, LOW-HIGH; 9-16 otherwise."
    ),
    galaxies: int = typer.Option(None, "--galaxies", min=0, help="With --telescope: how many; 20 otherwise."),
) -> None:
    """A simulated night: FITS frames with headers, and the true boxes in truth.json.

    With a telescope these are what its camera writes; without, display-sized colour frames.
    """
    from edgegal.data.simulation import magnitude_range, write_night, write_observation
    from edgegal.errors import InputError
    from edgegal.sky import Night

    if not telescope:
        asked = {"--objects": objects, "--magnitudes": magnitudes, "--galaxies": galaxies}
        alone = [option for option, value in asked.items() if value is not None]
        if alone:
            raise InputError(f"{alone[0]} is for a telescope's night", "name one with --telescope, or leave it out")
        typer.echo(str(write_night(Night(seed=seed, frames=frames), out)))
        return
    from edgegal.data.skies.observation import asked_labels, draw_observation
    from edgegal.data.skies.telescopes import telescope as profile

    scope, labels = profile(telescope), asked_labels(objects or "galaxies")
    between, count = magnitude_range(magnitudes or "9-16"), 20 if galaxies is None else galaxies
    typer.echo(str(write_observation(draw_observation(scope, seed, labels, count, between), frames, out)))


@app.command()
def telescopes(as_json: bool = _JSON) -> None:
    """The telescope profiles that `simulate` knows by name."""
    import json

    from edgegal.cli.output import print_table
    from edgegal.data.skies.telescopes import telescope, telescope_names

    known = [telescope(name) for name in telescope_names()]
    if as_json:
        rows = [{**t.model_dump(), "pixel_scale": t.pixel_scale} for t in known]
        typer.echo(json.dumps(rows))
        return
    print_table(
        ["name", "aperture mm", "focal mm", "sensor", "colour", "arcsec/px", "exposure s", "headers"],
        [
            [
                t.name,
                f"{t.aperture_mm:g}",
                f"{t.focal_length_mm:g}",
                f"{t.width} x {t.height}",
                t.bayer or "mono",
                f"{t.pixel_scale:.2f}",
                f"{t.exposure_s:g}",
                t.software,
            ]
            for t in known
        ],
    )
