"""`edgegal explain`: show what a classifier looked at."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgegal.frames import View
    from edgegal.preprocess import Preprocess

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def explain(
    model: Path = typer.Argument(metavar="MODEL_DIR", help="Folder written by edgegal train classifier or tune."),
    pictures: list[str] = typer.Argument(metavar="PICTURES...", help="Cutouts: pictures, FITS files, folders."),
    out: Path = typer.Option(..., "--out", help="Folder for one PNG a picture."),
    layer: str = typer.Option("", "--layer", help="Layer to look into; the last rectified maps when empty."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Show what a classifier looked at: the picture, its class-activation map, the class and its probability."""
    import json
    import os

    import numpy as np

    from edgegal.bundle.manifest import ClassifierDescription
    from edgegal.cli.output import print_table
    from edgegal.errors import InputError
    from edgegal.inference import tempered
    from edgegal.models.artefact import load_trained

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    network, description = load_trained(model)
    if not isinstance(description, ClassifierDescription):
        raise InputError(f"{model} is a {description.task} network", "give a classifier")
    from edgegal.explain.gradcam import grad_cam
    from edgegal.explain.panel import panel

    names, views = zip(*_cutouts(pictures, description.preprocess), strict=True)
    maps = grad_cam(network, np.stack(views), layer or None)
    probabilities = tempered(maps.probabilities, description.temperature)
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, (name, view) in enumerate(zip(names, views, strict=True)):
        label, probability = description.labels[maps.classes[i]], float(probabilities[i, maps.classes[i]])
        path = out / f"{i:04d}_{Path(name).stem}.png"
        _write(path, panel(view, maps.heat[i], maps.grid, f"{label} {probability:.2f}"))
        rows.append({"picture": name, "class": label, "probability": round(probability, 4), "map": str(path)})
    if as_json:
        typer.echo(json.dumps({"layer": maps.layer, "pictures": rows}))
        return
    cells = [[str(row["picture"]), str(row["class"]), f"{row['probability']:.2f}", str(row["map"])] for row in rows]
    print_table(["picture", "class", "probability", "map"], cells)
    typer.echo(f"maps of layer {maps.layer}")


def _cutouts(sources: list[str], preprocess: "Preprocess") -> "Iterator[tuple[str, View]]":
    """Name and network-sized view of each picture, its central square where it is none."""
    from edgegal.device.sources import open_source
    from edgegal.preprocess import as_view, crop_square

    for source in sources:
        with open_source(source) as frames:
            for frame in frames:
                view = as_view(frame, preprocess.stretch)
                height, width = view.shape[:2]
                yield frame.source, crop_square(view, (width / 2, height / 2), min(height, width), preprocess.width)


def _write(path: Path, picture: "View") -> None:
    import os

    import cv2

    temporary = path.with_name(f".{path.name}.{os.getpid()}.png")
    try:
        cv2.imwrite(str(temporary), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
