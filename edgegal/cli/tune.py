"""`edgegal tune`: search for a compact classifier."""

from pathlib import Path

import typer

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def tune(
    data: str = typer.Option(..., "--data", help="Dataset name, folder:DIR or csv:LABELS.csv."),
    out: Path = typer.Option(..., "--out", help="Folder of the search; a search found there goes on."),
    trials: int = typer.Option(10, "--trials", min=1, help="Networks to try in all, earlier calls included."),
    epochs: int = typer.Option(40, "--epochs", min=1, help="Longest training of one network."),
    size: int = typer.Option(69, "--size", min=16, help="Input side in pixels."),
    scheme: str = typer.Option("", "--scheme", help="Label scheme to train for; the set's own when empty."),
    learning_rate: float = typer.Option(1e-5, "--learning-rate", help="Of RMSprop."),
    patience: int = typer.Option(2, "--patience", min=1, help="Epochs without a better validation loss."),
    batch_size: int = typer.Option(64, "--batch-size", min=1, help="Pictures a step."),
    max_parameters: int | None = typer.Option(None, "--max-parameters", min=1, help="Do not train larger networks."),
    seed: int = typer.Option(0, "--seed", min=0, help="Of proposals and training."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Bayesian search with Keras Tuner over the two-convolution classifiers of the course project.

    Writes trials.json and the best network, trained, in best/: export it with `edgegal export`. An interrupted search
    goes on with the same command; a larger --trials extends it.
    """
    import json
    import os
    from dataclasses import asdict

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from edgegal.cli.output import print_table

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from edgegal.data import open_dataset
    from edgegal.tuner.search import Epoch, SearchSettings, search

    settings = SearchSettings(
        trials=trials,
        epochs=epochs,
        patience=patience,
        batch_size=batch_size,
        size=size,
        learning_rate=learning_rate,
        seed=seed,
        max_parameters=max_parameters,
    )
    pictures = open_dataset(data, scheme or None)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("searching", total=trials * epochs)

        def told(epoch: Epoch) -> None:
            progress.update(
                task,
                completed=epoch.trial * epochs + epoch.epoch + 1,
                description=f"trial {epoch.trial + 1}/{trials}, epoch {epoch.epoch + 1}: "
                f"validation loss {epoch.val_loss:.3f}, accuracy {epoch.val_accuracy:.3f}",
            )

        try:
            result = search(pictures, settings, out, told)
        except KeyboardInterrupt:
            progress.stop()
            typer.echo(f"interrupted; the same command goes on in {out}", err=True)
            raise
    if as_json:
        document = {
            "folder": str(result.folder),
            "best": result.best.number,
            "trials": [asdict(t) for t in result.trials],
        }
        typer.echo(json.dumps(document))
        return
    rows = []
    for trial in sorted(result.trials, key=lambda t: t.val_loss):
        point = trial.hyperparameters
        marks = ["best"] * (trial.number == result.best.number) + ["Pareto front"] * trial.on_front
        rows.append(
            [
                str(trial.number),
                f"{trial.val_loss:.3f}",
                "-" if trial.val_accuracy is None else f"{trial.val_accuracy:.3f}",
                f"{trial.parameters:,}",
                f"{trial.macs / 1e6:,.1f}",
                f"{trial.seconds:.0f}",
                f"{point['filters_1']}x{point['kernel_1']} {point['filters_2']}x{point['kernel_2']}",
                str(point["dense"]),
                str(point["dropout"]),
                ", ".join(marks) or trial.status,
            ]
        )
    print_table(
        ["trial", "val loss", "accuracy", "parameters", "MMAC", "s", "filters x kernel", "dense", "dropout", "is"], rows
    )
    typer.echo(f"best network: {result.folder} (next: edgegal export {result.folder} --calibration SET --out BUNDLE)")
    typer.echo(f"extend the search: the same command with --trials above {len(result.trials)}")
