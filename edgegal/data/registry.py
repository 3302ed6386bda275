"""Datasets by name: the shared sets, and the forms ``folder:DIR`` and ``csv:LABELS.csv``."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import edgegal
from edgegal.data.pictures import PictureSet, read_csv, read_folder
from edgegal.errors import DatasetError
from edgegal.labels import scheme as scheme_named

__all__ = ["DATASETS", "SharedSet", "open_dataset", "shared_root"]


@dataclass(frozen=True)
class SharedSet:
    """A set in the shared data folder: ``<name>/labels.csv`` with one zip beside it.

    Attributes
    ----------
    name
        Name of the set and of its folder.
    scheme
        Name of the label scheme of its CSV.
    source
        Who took the pictures and who labelled them.
    aliases
        Names in its CSV that the scheme calls differently.
    """

    name: str
    scheme: str
    source: str
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels_csv(self) -> Path:
        """Where its table is expected."""
        return shared_root() / self.name / "labels.csv"

    @property
    def present(self) -> bool:
        """Whether its table is there."""
        return self.labels_csv.is_file()


DATASETS: Mapping[str, SharedSet] = {
    s.name: s
    for s in (
        SharedSet("gz1_6class", "gz1-6class", "SDSS DR7 colour cutouts; Galaxy Zoo 1, Lintott et al. 2011"),
        SharedSet(
            "gz2_kaggle_5class",
            "gz2-5class",
            "SDSS colour cutouts; Galaxy Zoo 2, Willett et al. 2013, clean-sample cuts of Zhu et al. 2019",
            {"completely_round_smooth": "round", "in_between_smooth": "in-between", "cigar_smooth": "cigar"},
        ),
    )
}


def shared_root() -> Path:
    """Folder of the shared sets: ``EDGEGAL_SHARED_DATA``, else ``../shared/data`` beside the checkout."""
    named = os.environ.get("EDGEGAL_SHARED_DATA")
    return Path(named) if named else Path(edgegal.__file__).resolve().parents[2] / "shared" / "data"


def open_dataset(name: str, scheme: str | None = None) -> PictureSet:
    """Open a set of labelled pictures.

    Parameters
    ----------
    name
        A name in `DATASETS`, ``folder:DIR`` (a folder for each class) or ``csv:LABELS.csv``.
    scheme
        Label scheme of the result. A shared set is relabelled to it; the names in a folder or CSV are read as its
        labels. When None, the set's own.

    Raises
    ------
    DatasetError
        No such set, or it is damaged.
    InputError
        No such scheme, or no map to it from the set's own.
    """
    target = scheme_named(scheme) if scheme else None
    form, _, location = name.partition(":")
    if form == "folder" and location:
        return read_folder(Path(location), name, target)
    if form == "csv" and location:
        return read_csv(Path(location), name, target)
    shared = DATASETS.get(name)
    if shared is None:
        raise DatasetError(
            f"no dataset called {name!r}", f"use one of: {', '.join(DATASETS)}, folder:DIR, csv:LABELS.csv"
        )
    if not shared.present:
        raise DatasetError(
            f"dataset {name} is not here: no {shared.labels_csv}", "set EDGEGAL_SHARED_DATA to the folder that holds it"
        )
    opened = read_csv(shared.labels_csv, name, scheme_named(shared.scheme), shared.aliases)
    return opened.relabelled(target) if target else opened
