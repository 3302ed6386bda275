"""Galaxy Zoo 2 with its votes: the challenge's table, and the table of Hart et al. 2016."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edgegal.data.pictures import PictureSet, Skip
from edgegal.data.splits import Shares
from edgegal.data.stores import Store
from edgegal.data.tables import column, complete, numbers, picture_store, read_rows, unsplit
from edgegal.data.votes import ANSWERS, labels_from_votes, shares_of_all
from edgegal.errors import DatasetError
from edgegal.labels import SCHEMES

__all__ = ["CHALLENGE_TABLE", "HART_MAPPING", "HART_TABLE", "read_challenge", "read_hart"]

CHALLENGE_TABLE = "training_solutions_rev1.csv"
HART_TABLE = "gz2_hart16.csv.gz"
HART_MAPPING = "gz2_filename_mapping.csv"

_OWN_SCHEME = SCHEMES["gz-smooth-featured"]
_DEBIASED = re.compile(r"t(\d\d)_\w+_a(\d\d)_\w+_debiased")


def read_challenge(folder: Path, name: str, shares: Shares | None = None) -> PictureSet:
    """The training pictures of the Galaxy Zoo challenge with their 37 vote fractions.

    Parameters
    ----------
    folder
        Holds ``training_solutions_rev1.csv`` and ``images_training_rev1.zip``, or the folder of that name unpacked.
    name
        Name of the set.
    shares
        Shares of the splits.

    Raises
    ------
    DatasetError
        Table or pictures are absent, damaged, or do not fit.
    """
    path = folder / CHALLENGE_TABLE
    ids, fractions = [], []
    with read_rows(path) as (header, rows):
        key = column(header, path, "GalaxyID")
        wanted = [column(header, path, answer) for answer in ANSWERS]
        for row in rows:
            ids.append(row[key])
            fractions.append(_picked(row, wanted))
    store = picture_store(folder, "images_training_rev1.zip", "images_training_rev1")
    return _voted(name, ids, ids, _votes(fractions), None, store, shares)


def read_hart(folder: Path, name: str, shares: Shares | None = None) -> PictureSet:
    """Galaxy Zoo 2 with the debiased votes of Hart et al. 2016, as shares of all volunteers like the challenge's.

    Parameters
    ----------
    folder
        Holds ``gz2_hart16.csv.gz`` (or unpacked), ``gz2_filename_mapping.csv`` and ``images_gz2.zip`` (or its folder
        ``images``).
    name
        Name of the set.
    shares
        Shares of the splits.

    Raises
    ------
    DatasetError
        Table, mapping or pictures are absent, damaged, or do not fit.
    """
    path = folder / HART_TABLE
    path = path if path.is_file() else path.with_suffix("")
    asset_of = _assets(folder / HART_MAPPING)
    ids, assets, fractions, places = [], [], [], []
    with read_rows(path) as (header, rows):
        key = column(header, path, "dr7objid")
        wanted = _debiased(header, path)
        sky = [column(header, path, "ra"), column(header, path, "dec")]
        for row in rows:
            ids.append(row[key])
            assets.append(asset_of.get(row[key], f"{row[key]} (not in {HART_MAPPING})"))
            fractions.append(_picked(row, wanted))
            places.append(_picked(row, sky))
    positions = np.array(places, np.float64).reshape(-1, 2)
    store = picture_store(folder, "images_gz2.zip", "images")
    return _voted(name, ids, assets, shares_of_all(_votes(fractions)), positions, store, shares)


def _assets(path: Path) -> dict[str, str]:
    """Stem of the picture of each object."""
    with read_rows(path) as (header, rows):
        key, asset = column(header, path, "objid"), column(header, path, "asset_id")
        return {row[key]: row[asset] for row in rows if len(row) > max(key, asset)}


def _debiased(header: Sequence[str], path: Path) -> list[int]:
    """Columns of the debiased fractions in the order of `ANSWERS`, which is that of task and answer numbers."""
    found = [(match[1], match[2], i) for i, cell in enumerate(header) if (match := _DEBIASED.fullmatch(cell))]
    if len(found) != len(ANSWERS):
        raise DatasetError(f"{path} has {len(found)} debiased votes, not {len(ANSWERS)}", "fetch the table again")
    return [i for _, _, i in sorted(found)]


def _picked(row: Sequence[str], wanted: Sequence[int]) -> list[float]:
    return numbers([row[i] if i < len(row) else "" for i in wanted])


def _votes(fractions: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    """Fractions ``(n, 37)``, NaN for those that are no shares."""
    votes = np.array(fractions, np.float32).reshape(-1, len(ANSWERS))
    with np.errstate(invalid="ignore"):
        votes[(votes < 0) | (votes > 1)] = np.nan
    return votes


def _voted(
    name: str,
    ids: Sequence[str],
    stems: Sequence[str],
    votes: NDArray[np.float32],
    positions: NDArray[np.float64] | None,
    store: Store,
    shares: Shares | None,
) -> PictureSet:
    known = np.isfinite(votes[:, :3]).sum(axis=1) == 3
    skip = Skip(
        "objects without votes, left without a label", tuple(i for i, told in zip(ids, known, strict=True) if not told)
    )
    file_of = {PurePosixPath(file).stem: file for file in store.names()}
    labels = labels_from_votes(dict(zip(ANSWERS, votes.T, strict=True)), _OWN_SCHEME.name)
    table = PictureSet(
        name=name,
        scheme=_OWN_SCHEME,
        ids=tuple(ids),
        labels=labels,
        splits=unsplit(len(ids)),
        duplicates=("",) * len(ids),
        files=tuple(file_of.get(stem, f"{stem}.jpg") for stem in stems),
        store=store,
        votes=votes,
        vote_names=ANSWERS,
        positions=positions,
        skipped=(skip,) if skip.names else (),
    )
    return complete(table, shares)
