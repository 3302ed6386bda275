"""What is known of a dataset before anything is trained on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgegal.data.leakage import Leak, Match, comparable, leaks, same_galaxies
from edgegal.data.pictures import PictureSet, Skip
from edgegal.data.registry import DATASETS, Dataset, bare_name, open_dataset
from edgegal.data.splits import SPLITS, split_digest
from edgegal.errors import DatasetError
from edgegal.labels import UNLABELLED, scheme

__all__ = ["NO_LABEL", "Listing", "Shared", "Summary", "counts", "list_datasets", "summarise"]

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
        Number of pictures; of a public set as published, of a shared one as counted, 0 unless present.
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
class Shared:
    """Galaxies that another set has too.

    Attributes
    ----------
    name
        The other set.
    matches
        All of them.
    compared
        Whether any could be found: by pictures, or because the sets have ids or positions in common.
    """

    name: str
    matches: tuple[Match, ...]
    compared: bool


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
    empty
        Classes without a picture.
    digest
        `PictureSet.digest`.
    split_digest
        `splits.split_digest`: equal where the same pictures are in the same splits.
    skipped
        What was left out, with all names.
    shared
        Galaxies in common with other sets.
    leaks
        Galaxies that this set trains on and another set tests on, and the reverse.
    """

    name: str
    scheme: str
    n: int
    counts: Mapping[str, Mapping[str, int]]
    empty: tuple[str, ...]
    digest: str
    split_digest: str
    skipped: tuple[Skip, ...]
    shared: tuple[Shared, ...]
    leaks: tuple[Leak, ...]


def list_datasets() -> tuple[Listing, ...]:
    """The named sets in the order of the registry; the shared ones are opened, the public ones looked for."""
    return tuple(_listed(known) for known in DATASETS.values())


def _listed(known: Dataset) -> Listing:
    state, n = "present" if known.present else "missing", known.n or 0
    if known.shared and known.present:
        try:
            n = len(open_dataset(known.name))
        except DatasetError as error:
            state = error.message
    return Listing(known.name, state, n, scheme(known.scheme).labels, known.source)


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


def summarise(pictures: PictureSet, against: Sequence[PictureSet] | None = None, by_picture: bool = False) -> Summary:
    """Count, hash, and look for galaxies that other sets have too.

    Parameters
    ----------
    pictures
        The set.
    against
        The other sets; the shared ones that are present when None.
    by_picture
        Compare the pictures too, which takes minutes for large sets.
    """
    others = _shared_but(pictures.name) if against is None else against
    counted = counts(pictures)
    return Summary(
        name=pictures.name,
        scheme=pictures.scheme.name,
        n=len(pictures),
        counts=counted,
        empty=tuple(label for label, row in counted.items() if not sum(row.values())),
        digest=pictures.digest(),
        split_digest=split_digest(pictures.ids, pictures.splits.tolist()),
        skipped=pictures.skipped,
        shared=tuple(
            Shared(
                other.name,
                same_galaxies(pictures, other, by_picture),
                by_picture or comparable(pictures, other),
            )
            for other in others
        ),
        leaks=leaks([pictures], others, by_picture) + leaks(others, [pictures], by_picture),
    )


def _shared_but(name: str) -> list[PictureSet]:
    others = (known for known in DATASETS.values() if known.name != bare_name(name))
    return [open_dataset(known.name) for known in others if known.shared and known.present]
