"""A trained network on disk: ``model.keras``, what it is in ``model.json``, how it got there in ``history.csv``."""

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription
from edgegal.errors import InputError, MissingPartError

__all__ = ["is_trained", "load_network", "load_trained", "read_description", "save_trained", "versions"]

_MODEL, _DESCRIPTION, _HISTORY = "model.keras", "model.json", "history.csv"

_RUN = "run.json"
"""What a recipe leaves beside its networks (`edgegal.training.recipe_run`)."""

_ADAPTER: TypeAdapter[ClassifierDescription | DetectorDescription] = TypeAdapter(
    ClassifierDescription | DetectorDescription
)


def save_trained(
    model: Any,
    description: ClassifierDescription | DetectorDescription | None,
    folder: Path,
    history: Mapping[str, Sequence[float]] | None = None,
) -> Path:
    """Write a trained Keras model and its description into `folder`.

    All files are written under temporary names first: when one cannot be, those of an earlier network stay.

    Parameters
    ----------
    model
        A built Keras model with input ``image`` and the outputs its task names.
    description
        What it is; None for a network that is neither classifier nor detector, which `load_trained` then refuses.
    folder
        Made when absent.
    history
        Columns of the training log, one value an epoch.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    texts = {}
    if description is not None:
        texts[_DESCRIPTION] = description.model_dump_json(indent=1) + "\n"
    if history:
        texts[_HISTORY] = _table(history)
    temporary = {name: folder / f".{os.getpid()}.{name}" for name in (_MODEL, *texts)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        model.save(temporary[_MODEL])
        for name, text in texts.items():
            temporary[name].write_bytes(text.encode())
        for name, path in temporary.items():
            path.replace(folder / name)
        if description is None:
            (folder / _DESCRIPTION).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder / _MODEL} cannot be written: {error.strerror or error}",
            "free space there, or choose another folder",
        ) from error
    finally:
        _discard(temporary.values())
    return folder


def _table(history: Mapping[str, Sequence[float]]) -> str:
    """The training log as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["epoch", *history])
    writer.writerows([i + 1, *row] for i, row in enumerate(zip(*history.values(), strict=True)))
    return text.getvalue()


def _discard(files: Iterable[Path]) -> None:
    """Delete what is there of some files, as far as that can be done."""
    for path in files:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def read_description(folder: Path) -> ClassifierDescription | DetectorDescription:
    """The description beside a model; `InputError` when it is missing or does not fit the schema."""
    path = folder / _DESCRIPTION
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except FileNotFoundError:
        if _estimates_votes(folder):
            raise InputError(
                f"{folder} holds a network of vote fractions, which is no classifier: its outputs are no probabilities",
                'its figures stand in the report of its recipe; take a run with estimate = "classes" for this',
            ) from None
        raise InputError(
            f"{folder} is not a trained model: it has no {_DESCRIPTION}", "make one: edgegal train"
        ) from None
    except ValidationError as error:
        raise InputError(f"{path}: {error.errors()[0]['msg']}") from error


def _estimates_votes(folder: Path) -> bool:
    """Whether a recipe trained the network on vote fractions."""
    try:
        document = json.loads((folder / _RUN).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("estimate") == "vote fractions"


def is_trained(folder: Path) -> bool:
    """Whether a trained network lies in the folder."""
    return (folder / _DESCRIPTION).exists()


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
    return load_network(folder), description


def load_network(folder: Path) -> Any:
    """The Keras model in `folder`, whatever it is; raises as `load_trained` does, but needs no description."""
    try:
        import keras
    except ImportError as error:
        raise MissingPartError(
            f"reading a trained model needs Keras: {error}", "pip install 'edgegal[train]'"
        ) from None
    path = folder / _MODEL
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
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
