"""What is known of a dataset before anything is trained on it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgegal.data.leakage import Leak, leaks
from edgegal.data.pictures import SPLITS, PictureSet
from edgegal.data.registry import DATASETS, open_dataset
from edgegal.errors import DatasetError
from edgegal.labels import UNLABELLED, scheme

__all__ = ["NO_LABEL", "Listing", "Summary", "counts", "list_datasets", "summarise"]

NO_LABEL = "unlabelled"


@dataclass(frozen=True)
class Listing:
    """A named set and whether it is here.

    Attributes
    ----------
    name
        What `open_dataset` takes.
    state
        ``present``, ``missing``, or what is wrong with it.
    n
        Number of pictures; 0 unless present.
    labels
        Class names.
    source
        Who took the pictures and who labelled them.
    """

    name: str
    state: str
    n: int
    labels: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Summary:
    """What a set holds.

    Attributes
    ----------
    name, scheme
        The set and its label scheme.
    n
        Number of pictures, unlabelled ones included.
    counts
        Pictures by class, `NO_LABEL` last where there are any, and split.
    digest
        `PictureSet.digest`.
    leaks
        Galaxies that this set trains on and another shared set tests on, and the reverse.
    """

    name: str
    scheme: str
    n: int
    counts: Mapping[str, Mapping[str, int]]
    digest: str
    leaks: tuple[Leak, ...]


def list_datasets() -> tuple[Listing, ...]:
    """The named sets in the order of the registry."""
    return tuple(_listed(name) for name in DATASETS)


def _listed(name: str) -> Listing:
    shared = DATASETS[name]
    state, n = "missing", 0
    if shared.present:
        try:
            state, n = "present", len(open_dataset(name))
        except DatasetError as error:
            state, n = error.message, 0
    return Listing(name, state, n, scheme(shared.scheme).labels, shared.source)


def counts(pictures: PictureSet) -> dict[str, dict[str, int]]:
    """Number of pictures by class and split; a row `NO_LABEL` comes last where some have no label."""
    rows = {label: pictures.labels == index for index, label in enumerate(pictures.scheme.labels)}
    unlabelled = pictures.labels == UNLABELLED
    if unlabelled.any():
        rows[NO_LABEL] = unlabelled
    return {
        label: {split: int(np.count_nonzero(row & (pictures.splits == split))) for split in SPLITS}
        for label, row in rows.items()
    }


def summarise(pictures: PictureSet) -> Summary:
    """Count, hash, and look for galaxies shared with the named sets that are present."""
    others = [open_dataset(name) for name, shared in DATASETS.items() if name != pictures.name and shared.present]
    return Summary(
        name=pictures.name,
        scheme=pictures.scheme.name,
        n=len(pictures),
        counts=counts(pictures),
        digest=pictures.digest(),
        leaks=leaks([pictures], others) + leaks(others, [pictures]),
    )
