"""Pictures that `edgegal run` kept because their class was doubtful: to be labelled, and trained on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal.data.pictures import PictureSet, Skip
from edgegal.data.splits import Shares
from edgegal.data.stores import FolderStore
from edgegal.data.tables import column, complete, read_rows, unsplit
from edgegal.errors import DatasetError
from edgegal.labels import SCHEMES, UNLABELLED, LabelScheme

__all__ = ["read_kept_crops"]

_FACTS = "crops.jsonl"
_LABELS = "labels.csv"
# Folder of those that somebody marked as no galaxy.
_FALSE = "false"


def read_kept_crops(
    path: Path, name: str, scheme: LabelScheme | None = None, shares: Shares | None = None
) -> PictureSet:
    """A set of the pictures in a folder ``crops``.

    A picture has the label that ``labels.csv`` gives it (columns ``file``, without folder, and ``label``), else that of
    the folder it was moved to, else none. What the network said of it is in `votes`. Pictures labelled ``false`` are no
    galaxies and left out.

    Parameters
    ----------
    path
        The folder.
    name
        Name of the set.
    scheme
        What the labels mean; that of the network which doubted when None.
    shares
        Shares of the splits.

    Raises
    ------
    DatasetError
        There is no such folder, it holds no pictures, or a label is none of the scheme.
    """
    if not path.is_dir():
        raise DatasetError(f"{path} is not a folder", "give the folder crops that edgegal run wrote")
    inner = path / "crops"
    if (inner / _FACTS).is_file() and not (path / _FACTS).is_file():
        raise DatasetError(f"{path} is the folder of a whole run", f"give crops:{inner}")
    store = FolderStore(path)
    found = sorted(file for file in store.names() if not any(part.startswith(".") for part in Path(file).parts))
    given = _given_labels(path / _LABELS)
    label_of = {file: given.get(Path(file).name) or Path(file).parent.name for file in found}
    false = tuple(file for file in found if label_of[file] == _FALSE)
    files = tuple(file for file in found if label_of[file] != _FALSE)
    if not files:
        raise DatasetError(f"{path} holds no pictures", "give the folder crops that edgegal run wrote")
    facts = _facts(path / _FACTS)
    rows = [facts.get(Path(file).name, {}) for file in files]
    scheme = scheme or _scheme_of(rows, name)
    labels = [_label(label_of[file], file, scheme) for file in files]
    table = PictureSet(
        name=name,
        scheme=scheme,
        ids=tuple(Path(file).with_suffix("").as_posix() for file in files),
        labels=np.array(labels, np.int32),
        splits=unsplit(len(files)),
        duplicates=("",) * len(files),
        files=files,
        store=store,
        objects=tuple(Path(file).stem for file in files),
        votes=_votes(rows, scheme.labels),
        vote_names=scheme.labels,
        positions=np.array([[_number(row.get(key)) for key in ("ra_deg", "dec_deg")] for row in rows], np.float64),
        skipped=(Skip("pictures marked as no galaxies", false),) if false else (),
    )
    return complete(table, shares, known=false)


def _facts(path: Path) -> dict[str, Mapping[str, Any]]:
    """What is known of each picture by its name; lines that a power cut left incomplete say nothing."""
    if not path.is_file():
        return {}
    facts: dict[str, Mapping[str, Any]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("probabilities"), dict):
            facts[str(row.get("file"))] = row
    return facts


def _scheme_of(rows: Sequence[Mapping[str, Any]], name: str) -> LabelScheme:
    """The scheme with the classes that the network told apart; a known one where there is."""
    told = {tuple(map(str, row["probabilities"])) for row in rows if row.get("probabilities")}
    if len(told) > 1:
        raise DatasetError(
            f"{name} holds pictures of networks with different classes", "say which to read them as: --scheme"
        )
    labels = next(iter(told), ())
    known = next((s for s in SCHEMES.values() if s.labels == labels), None)
    return known or LabelScheme(name, labels, "classes of the network that doubted", mirror_safe=False)


def _given_labels(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    with read_rows(path) as (header, rows):
        file, label = column(header, path, "file"), column(header, path, "label")
        return {row[file]: row[label] for row in rows if len(row) > max(file, label)}


def _label(text: str, file: str, scheme: LabelScheme) -> int:
    if not text:
        return UNLABELLED
    if text not in scheme.labels:
        raise DatasetError(
            f"{file} is labelled {text!r}, which is not in scheme {scheme.name!r}",
            f"use one of: {', '.join(scheme.labels)}, or {_FALSE} for what is no galaxy",
        )
    return scheme.labels.index(text)


def _votes(rows: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> NDArray[np.float32] | None:
    if not labels:
        return None
    votes = [[_number(row.get("probabilities", {}).get(label)) for label in labels] for row in rows]
    return np.array(votes, np.float32)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
