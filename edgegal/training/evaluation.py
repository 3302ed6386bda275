"""Trained classifiers judged side by side on held-out pictures: a row a method, its mean over seeds, an interval."""

import csv
from collections.abc import Sequence
from pathlib import Path

from edgegal.bundle.manifest import ClassifierDescription
from edgegal.data import open_dataset
from edgegal.data.heldout import Framing, held_out
from edgegal.errors import InputError
from edgegal.inference import tempered
from edgegal.labels import project
from edgegal.labels import scheme as scheme_named
from edgegal.models.artefact import load_trained
from edgegal.reports import ClassificationResult, Run, RunComparison, write_report
from edgegal.training.classifier import predict

__all__ = ["judged", "report_trained"]

_FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "calibration_error")


def judged(
    folder: Path, data: str, scheme: str | None = None, split: str = "test", framing: Framing = "box"
) -> ClassificationResult:
    """What a trained classifier answers on held-out pictures, calibrated, in classes that it shares with the set.

    Parameters
    ----------
    folder
        A trained classifier.
    data, scheme, split, framing
        As for `edgegal.data.heldout.held_out`.

    Raises
    ------
    InputError
        The folder holds no classifier, or set and classifier have no classes in common.
    DatasetError
        The set is missing or damaged, or has no labelled pictures there.
    """
    model, description = load_trained(folder)
    if not isinstance(description, ClassifierDescription):
        raise InputError(f"{folder} is a detector", "give a folder of edgegal train classifier")
    held = held_out(data, description, scheme, split, framing)
    probabilities = tempered(predict(model, held.pictures), description.temperature)
    if description.labels != held.scheme.labels:
        probabilities = project(probabilities, scheme_named(description.scheme), held.scheme)
    summed = "" if description.labels == held.scheme.labels else f", {len(description.labels)} classes summed"
    return ClassificationResult(
        name=f"{description.provenance.architecture}{summed}, seed {description.provenance.seed}",
        ids=held.ids,
        seed=description.provenance.seed,
        dataset=held.name,
        split=split,
        dataset_sha256=open_dataset(data).digest(),
        history=_history(folder),
        parameters=description.provenance.parameters,
        labels=held.scheme.labels,
        truth=held.labels,
        probabilities=probabilities,
    )


def report_trained(
    folders: Sequence[Path],
    data: Sequence[str],
    out: Path,
    scheme: str | None = None,
    split: str = "test",
    framing: Framing = "box",
) -> Path:
    """Write a report of trained classifiers: those of one architecture are one method trained with several seeds.

    Parameters
    ----------
    folders
        Trained classifiers.
    data
        Sets; each architecture gets a row for each of them.
    out
        Folder of the report, as of `edgegal.reports.write_report`.
    scheme, split, framing
        As for `judged`.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        Two networks of one method have one seed, or the sets are judged in different classes.
    """
    rows: dict[str, list[ClassificationResult]] = {}
    for name in data:
        for folder in folders:
            result = judged(folder, name, scheme, split, framing)
            method = result.name.rpartition(", seed ")[0]
            row = rows.setdefault(f"{result.dataset}: {method}", [])
            if any(other.seed == result.seed for other in row):
                raise InputError(
                    f"{folder} is a second {method} with seed {result.seed}",
                    "name networks that differ in their seed alone; report others apart",
                )
            row.append(result)
    classes = {result.labels for results in rows.values() for result in results}
    if len(classes) > 1:
        raise InputError("the sets are judged in different classes", "name classes that they share with --scheme")
    runs = tuple(Run(name, tuple(results)) for name, results in rows.items())
    return write_report(
        "Trained classifiers",
        f"Test pictures of {', '.join(data)}; calibrated probabilities; each row is the mean over its seeds.",
        [results[0] for results in rows.values()],
        RunComparison("Methods", runs, _FIGURES),
        out,
    )


def _history(folder: Path) -> dict[str, list[float]]:
    """Columns of the training log; none of a network that was only adjusted."""
    if not (folder / "history.csv").exists():
        return {}
    with (folder / "history.csv").open(newline="") as file:
        columns = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in columns] for name in columns[0] if name != "epoch"} if columns else {}
