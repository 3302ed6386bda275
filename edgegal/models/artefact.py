"""A trained network on disk: ``model.keras``, what it is in ``model.json``, how it got there in ``history.csv``."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription
from edgegal.errors import InputError, MissingPartError

__all__ = ["load_trained", "read_description", "save_trained", "versions"]

_MODEL, _DESCRIPTION, _HISTORY = "model.keras", "model.json", "history.csv"

_ADAPTER: TypeAdapter[ClassifierDescription | DetectorDescription] = TypeAdapter(
    ClassifierDescription | DetectorDescription
)


def save_trained(
    model: Any,
    description: ClassifierDescription | DetectorDescription,
    folder: Path,
    history: Mapping[str, Sequence[float]] | None = None,
) -> Path:
    """Write a trained Keras model and its description into `folder`, each file through a temporary name.

    Parameters
    ----------
    model
        A built Keras model with input ``image`` and the outputs its task names.
    description
        What it is.
    folder
        Made when absent.
    history
        Columns of the training log, one value an epoch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pid = os.getpid()
    temporary = folder / f".{pid}.{_MODEL}"
    try:
        model.save(temporary)
        temporary.replace(folder / _MODEL)
        temporary.write_text(description.model_dump_json(indent=1) + "\n")
        temporary.replace(folder / _DESCRIPTION)
        if history:
            with temporary.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["epoch", *history])
                writer.writerows([i + 1, *row] for i, row in enumerate(zip(*history.values(), strict=True)))
            temporary.replace(folder / _HISTORY)
    finally:
        temporary.unlink(missing_ok=True)
    return folder


def read_description(folder: Path) -> ClassifierDescription | DetectorDescription:
    """The description beside a model; `InputError` when it is missing or does not fit the schema."""
    path = folder / _DESCRIPTION
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{folder} is not a trained model: it has no {_DESCRIPTION}", "make one: edgegal train"
        ) from None
    except ValidationError as error:
        raise InputError(f"{path}: {error.errors()[0]['msg']}") from error


def load_trained(folder: Path) -> tuple[Any, ClassifierDescription | DetectorDescription]:
    """The Keras model in `folder` and its description.

    Raises
    ------
    InputError
        The folder is not a trained model, or its weights are damaged.
    MissingPartError
        Keras is not installed.
    """
    description = read_description(folder)
    try:
        import keras
    except ImportError as error:
        raise MissingPartError(
            f"reading a trained model needs Keras: {error}", "pip install 'edgegal[train]'"
        ) from None
    path = folder / _MODEL
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True), description
    except Exception as error:  # Keras lets through whatever a damaged file provokes.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} is not a readable Keras model: {reason}") from error


def versions() -> dict[str, str]:
    """Versions of what trains: they belong in the provenance of every network."""
    import keras
    import numpy as np

    from edgegal import __version__

    backend = keras.backend.backend()
    return {"edgegal": __version__, "keras": keras.__version__, "numpy": np.__version__, "backend": backend}
