"""`edgegal explain`: show what a classifier looked at, what it makes of a picture, and what its filters look for."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgegal.bundle.manifest import ClassifierDescription
    from edgegal.frames import View
    from edgegal.preprocess import Preprocess

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

_MODEL = typer.Argument(metavar="MODEL_DIR", help="Folder written by edgegal train classifier or tune.")
_PICTURES = typer.Argument(metavar="PICTURES...", help="Cutouts: pictures, FITS files, folders.")
_WHOLE = typer.Option(False, "--whole", help="See pictures whole; else around the middle galaxy, as the device does.")
_OUT = typer.Option(..., "--out", help="Folder for the pictures and explain.json.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")


@app.callback()
def root() -> None:
    """Show what a classifier looked at, what it makes of a picture, and what its filters look for."""


@app.command()
def cam(
    model: Path = _MODEL,
    pictures: list[str] = _PICTURES,
    out: Path = _OUT,
    whole: bool = _WHOLE,
    layer: str = typer.Option("", "--layer", help="Layer to look into; the last activated maps when empty."),
    as_json: bool = _JSON,
) -> None:
    """Class-activation maps (Grad-CAM): the picture, what in it speaks for its class, the class and its probability."""
    import numpy as np

    from edgegal.data.contact_sheet import write_png
    from edgegal.inference import tempered

    network, description = _classifier(model)
    from edgegal.explain.gradcam import grad_cam
    from edgegal.explain.panel import panel

    names, views = zip(*_cutouts(pictures, description.preprocess, whole), strict=True)
    maps = grad_cam(network, np.stack(views), layer or None)
    probabilities = tempered(maps.probabilities, description.temperature)
    rows = []
    for i, (name, view) in enumerate(zip(names, views, strict=True)):
        label, probability = description.labels[maps.classes[i]], float(probabilities[i, maps.classes[i]])
        drawn = panel(view, maps.heat[i], maps.grid, f"{label} {probability:.2f}")
        path = write_png(drawn, out / f"{i:04d}_{Path(name).stem}.png")
        rows.append({"picture": name, "class": label, "probability": round(probability, 4), "map": str(path)})
    cells = [[str(row["picture"]), str(row["class"]), f"{row['probability']:.2f}", str(row["map"])] for row in rows]
    _tell(
        {"kind": "cam", "model": str(model), "layer": maps.layer, "pictures": rows},
        (["picture", "class", "probability", "map"], cells, f"maps of layer {maps.layer}"),
        out,
        as_json,
    )


@app.command()
def activations(
    model: Path = _MODEL,
    pictures: list[str] = _PICTURES,
    out: Path = _OUT,
    whole: bool = _WHOLE,
    layer: str = typer.Option("", "--layer", help="One layer; every convolution and pooling when empty."),
    as_json: bool = _JSON,
) -> None:
    """What each convolution and pooling makes of a picture: its feature maps in a grid, a grid a layer."""
    import numpy as np

    from edgegal.data.contact_sheet import write_png

    network, description = _classifier(model)
    from edgegal.explain.activations import layer_maps
    from edgegal.explain.panel import map_sheet

    names, views = zip(*_cutouts(pictures, description.preprocess, whole), strict=True)
    rows = []
    for number, found in enumerate(layer_maps(network, np.stack(views), layer or None)):
        for i, name in enumerate(names):
            file = f"{i:04d}_{Path(name).stem}_{number:02d}_{_as_file(found.layer)}.png"
            path = write_png(map_sheet(found.maps[i], f"{found.layer} ({found.kind})"), out / file)
            _, height, width, channels = found.maps.shape
            rows.append(
                {
                    **{"picture": name, "layer": found.layer, "kind": found.kind, "maps": channels},
                    **{"rows": height, "columns": width, "sheet": str(path)},
                }
            )
    rows.sort(key=lambda row: names.index(row["picture"]))
    cells = [
        [row["picture"], row["layer"], row["kind"], str(row["maps"]), f"{row['columns']}x{row['rows']}", row["sheet"]]
        for row in rows
    ]
    _tell(
        {"kind": "activations", "model": str(model), "sheets": rows},
        (["picture", "layer", "kind", "maps", "cells", "sheet"], cells, ""),
        out,
        as_json,
    )


@app.command()
def filters(
    model: Path = _MODEL,
    out: Path = _OUT,
    layer: str = typer.Option("", "--layer", help="Layer whose filters are shown; the last convolution when empty."),
    count: int = typer.Option(8, "--count", min=1, help="How many filters, from the first."),
    steps: int = typer.Option(60, "--steps", min=1, help="Steps of the ascent."),
    rate: float = typer.Option(6.0, "--rate", help="Mean change of a pixel a step, in counts of 0-255."),
    jitter: int = typer.Option(2, "--jitter", min=0, help="Pixels of shift before each step; 0 for none."),
    blur: float = typer.Option(0.4, "--blur", min=0, help="Blur after each step in pixels; 0 for none."),
    seed: int = typer.Option(0, "--seed", min=0, max=2**32 - 1, help="Seed of the noise that the ascent starts from."),
    as_json: bool = _JSON,
) -> None:
    """What the first filters of a layer look for: pictures that excite them, by gradient ascent from noise."""
    from dataclasses import asdict

    from edgegal.data.contact_sheet import write_png

    network, _ = _classifier(model)
    from edgegal.explain.filters import Ascent, climb
    from edgegal.explain.panel import filter_sheet

    ascent = Ascent(steps, rate, jitter, blur, seed)
    found = climb(network, layer or None, count, ascent)
    rows = [
        {"filter": i, "before": float(low), "after": float(high)}
        for i, (low, high) in enumerate(zip(found.before, found.after, strict=True))
    ]
    captions = [f"{row['filter']}: {row['before']:.3g} to {row['after']:.3g}" for row in rows]
    sheet = filter_sheet(found.pictures, captions, f"{found.layer}: mean activation by noise, then by the picture")
    path = write_png(sheet, out / f"filters_{_as_file(found.layer)}.png")
    document = {"kind": "filters", "model": str(model), "layer": found.layer, "sheet": str(path)}
    _tell(
        {**document, "ascent": asdict(ascent), "filters": rows},
        (
            ["filter", "by noise", "by its picture"],
            [[str(r["filter"]), f"{r['before']:.4g}", f"{r['after']:.4g}"] for r in rows],
            f"filters of layer {found.layer}: {path}",
        ),
        out,
        as_json,
    )


def _classifier(folder: Path) -> "tuple[Any, ClassifierDescription]":
    import os

    from edgegal.bundle.manifest import ClassifierDescription
    from edgegal.errors import InputError
    from edgegal.models.artefact import load_trained

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # The faster kernels of TensorFlow 2.21 end the process on the gradient of a 1 x 1 convolution with a stride, which
    # many networks with shortcuts have.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    network, description = load_trained(folder)
    if not isinstance(description, ClassifierDescription):
        raise InputError(f"{folder} is a {description.task} network", "give a classifier")
    return network, description


def _cutouts(sources: list[str], preprocess: "Preprocess", whole: bool) -> "Iterator[tuple[str, View]]":
    """Name and network-sized view of each picture: of its central square, or of the galaxy in the middle of that."""
    from edgegal.data.framing import framed
    from edgegal.device.sources import open_source
    from edgegal.preprocess import as_view, crop_square

    for source in sources:
        with open_source(source) as frames:
            for frame in frames:
                view = as_view(frame, preprocess.stretch)
                height, width = view.shape[:2]
                side = min(height, width)
                square = crop_square(view, (width / 2, height / 2), side, preprocess.width if whole else side)
                yield (
                    frame.source,
                    square if whole else framed(square[None], preprocess.crop_scale, preprocess.width)[0],
                )


def _as_file(layer: str) -> str:
    return layer.replace("/", "-")


def _tell(document: dict[str, Any], table: tuple[list[str], list[list[str]], str], out: Path, as_json: bool) -> None:
    """Write what was drawn beside the pictures and print it."""
    import json

    from edgegal.cli.output import print_table
    from edgegal.reports.page import write_file

    text = json.dumps(document, indent=1)
    write_file(out / "explain.json", (text + "\n").encode())
    if as_json:
        typer.echo(text)
        return
    header, cells, line = table
    print_table(header, cells)
    if line:
        typer.echo(line)
