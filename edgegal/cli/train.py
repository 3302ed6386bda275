"""`edgegal train`: a classifier on labelled pictures, a detector on composed fields."""

from pathlib import Path

import typer

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Train a classifier or a detector."
)

_OUT = typer.Option(..., "--out", help="Folder for model.keras, model.json and history.csv.")
_SEED = typer.Option(0, "--seed", help="Seed of initialisation, order and augmentation.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")


@app.callback()
def train() -> None:
    """Train a classifier or a detector."""


@app.command()
def detector(
    data: list[str] = typer.Option([], "--data", help="Set that lends real galaxies; repeatable; none: simulated."),
    out: Path = _OUT,
    fields: int = typer.Option(6000, "--fields", min=1, help="Fields to compose."),
    epochs: int = typer.Option(8, "--epochs", min=1, help="Passes over the fields."),
    batch: int = typer.Option(16, "--batch", min=1, help="Fields a step."),
    size: int = typer.Option(256, "--size", help="Input side in pixels, a multiple of 64."),
    seed: int = _SEED,
    as_json: bool = _JSON,
) -> None:
    """Train an SSD-MobileNetV2 that finds galaxies. Interrupt and run again to go on after the last whole epoch."""
    from edgegal.cli.training import finish, resuming
    from edgegal.data import open_dataset
    from edgegal.training.detector import DetectorSettings, train_detector

    settings = DetectorSettings(epochs=epochs, batch=batch, seed=seed)
    with resuming(out) as callbacks:
        trained = train_detector([open_dataset(name) for name in data], fields, settings, size, callbacks=callbacks)
    finish(trained, out, as_json)


@app.command()
def classifier(
    data: str = typer.Option(..., "--data", help="Dataset: a name from `edgegal data list`, folder:DIR or csv:FILE."),
    out: Path = _OUT,
    scheme: str = typer.Option("", "--scheme", help="Label scheme to train for; the set's own when empty."),
    epochs: int = typer.Option(80, "--epochs", min=1, help="Passes over the pictures."),
    batch: int = typer.Option(64, "--batch", min=1, help="Pictures a step."),
    size: int = typer.Option(64, "--size", min=16, help="Input side in pixels."),
    balance: float = typer.Option(0.5, "--balance", min=0, max=1, help="0: classes as common as they are; 1: equal."),
    simulated: int = typer.Option(0, "--simulated", min=0, help="Simulated cutouts to add (five-class scheme)."),
    seed: int = _SEED,
    as_json: bool = _JSON,
) -> None:
    """Train a compact classifier. Interrupt and run again to go on after the last whole epoch."""
    from edgegal.cli.training import finish, resuming
    from edgegal.data import open_dataset
    from edgegal.training.classifier import ClassifierSettings, train_classifier

    pictures = open_dataset(data, scheme or None)
    settings = ClassifierSettings(epochs=epochs, batch=batch, balance=balance, seed=seed)
    with resuming(out) as callbacks:
        trained = train_classifier(pictures, pictures.scheme, settings, simulated, size, callbacks=callbacks)
    finish(trained, out, as_json)
