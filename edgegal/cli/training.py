"""What the training verbs share: going on after an interruption, and saying what came out."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import typer

__all__ = ["finish", "resuming"]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextmanager
def resuming(out: Path) -> Iterator[list[Any]]:
    """Keras callbacks that keep the state after each epoch below `out`; progress goes to stderr.

    The state is deleted when training ends, and kept when it is interrupted.
    """
    import keras

    backup = out / ".resume"
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with redirect_stdout(sys.stderr):
            yield [keras.callbacks.BackupAndRestore(str(backup))]
    except BaseException:
        if new and not any(path.is_file() for path in out.rglob("*")):
            shutil.rmtree(out)
        raise
    shutil.rmtree(backup, ignore_errors=True)


def finish(trained: tuple[Any, Any, dict[str, list[float]]], out: Path, as_json: bool) -> None:
    """Save a trained network and print what it is."""
    from edgegal.models.artefact import save_trained

    model, description, history = trained
    save_trained(model, description, out, history)
    last = {name: values[-1] for name, values in history.items()}
    if as_json:
        typer.echo(json.dumps({"out": str(out), "model": description.model_dump(mode="json"), "last_epoch": last}))
        return
    figures = ", ".join(f"{name} {value:.4f}" for name, value in last.items())
    typer.echo(f"{out}: {description.provenance.architecture}, {description.provenance.parameters:,} parameters")
    typer.echo(f"last epoch: {figures}")
