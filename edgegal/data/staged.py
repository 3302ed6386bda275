"""Sets with numerical T-types: EFIGI, and Nair & Abraham 2010."""

import tarfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edgegal.data.pictures import PictureSet, Skip
from edgegal.data.splits import Shares
from edgegal.data.stores import FolderStore, Store, TarStore
from edgegal.data.t_types import hubble_labels
from edgegal.data.tables import column, complete, numbers, picture_store, unsplit
from edgegal.errors import DatasetError
from edgegal.labels import SCHEMES

__all__ = ["EFIGI_PICTURES", "EFIGI_TABLES", "NAIR_TABLE", "read_efigi", "read_nair_abraham"]

EFIGI_TABLES = "efigi_tables-1.6.2.tgz"
EFIGI_PICTURES = "efigi_png_gri-1.6.tgz"
NAIR_TABLE = "table2.tsv"

_ATTRIBUTES = "EFIGI_attributes.txt"
_COORDINATES = "EFIGI_coord_redshift.txt"
_MOST_TEXT = 64 << 20


def read_efigi(folder: Path, name: str, shares: Shares | None = None) -> PictureSet:
    """EFIGI: the second column of its attributes is the T-type, the first names the galaxy and its picture.

    Positions come from the columns ``RA`` and ``DEC``, in degrees, of ``EFIGI_coord_redshift.txt`` where it is there.

    Parameters
    ----------
    folder
        Holds ``efigi_tables-1.6.2.tgz`` or ``EFIGI_attributes.txt``, and ``efigi_png_gri-1.6.tgz`` or a folder ``png``.
    name
        Name of the set.
    shares
        Shares of the splits.

    Raises
    ------
    DatasetError
        Table or pictures are absent, damaged, or do not fit.
    """
    lines = [line.split() for line in _attributes(folder).splitlines() if not line.startswith("#")]
    rows = [line for line in lines if len(line) > 1]
    if not rows:
        raise DatasetError(f"{folder}: {_ATTRIBUTES} has no galaxies", "fetch the set again")
    unpacked = folder / "png"
    store: Store = FolderStore(unpacked) if unpacked.is_dir() else TarStore(folder / EFIGI_PICTURES)
    ids = [row[0] for row in rows]
    return _staged(name, ids, numbers([row[1] for row in rows]), _efigi_positions(folder, ids), store, shares)


def _attributes(folder: Path) -> str:
    text = _efigi_table(folder, _ATTRIBUTES)
    if text is not None:
        return text
    archive = folder / EFIGI_TABLES
    if not archive.is_file():
        raise DatasetError(f"{archive} is missing", f"fetch the set, or put {_ATTRIBUTES} there")
    raise DatasetError(f"{archive} holds no {_ATTRIBUTES}", "fetch the set again")


def _efigi_table(folder: Path, name: str) -> str | None:
    """One of EFIGI's tables, from the folder or the archive in it; None where neither has it."""
    plain, archive = folder / name, folder / EFIGI_TABLES
    try:
        if plain.is_file():
            return plain.read_text(encoding="utf-8")
        if not archive.is_file():
            return None
        with tarfile.open(archive, "r:*") as tables:
            for member in tables:
                if PurePosixPath(member.name).name == name and member.isfile() and member.size <= _MOST_TEXT:
                    source = tables.extractfile(member)
                    return source.read().decode("utf-8") if source else ""
    except (tarfile.TarError, zlib.error, EOFError, OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{folder}: {name} cannot be read: {error}", "fetch the set again") from None
    return None


def _efigi_positions(folder: Path, ids: Iterable[str]) -> NDArray[np.float64] | None:
    """Right ascension and declination of each galaxy; None where no table names these columns."""
    lines = [line.lstrip("#").split() for line in (_efigi_table(folder, _COORDINATES) or "").splitlines()]
    start = next((i for i, line in enumerate(lines) if {"RA", "DEC"} <= set(line)), None)
    if start is None:
        return None
    header = lines[start]
    ra, dec = header.index("RA"), header.index("DEC")
    place_of = {row[0]: numbers((row[ra], row[dec])) for row in lines[start + 1 :] if len(row) > max(ra, dec)}
    return np.array([place_of.get(i, [np.nan, np.nan]) for i in ids], np.float64).reshape(-1, 2)


def read_nair_abraham(folder: Path, name: str, shares: Shares | None = None) -> PictureSet:
    """Nair & Abraham 2010: the table as VizieR gives it, and pictures named by its key.

    The key is the column ``SDSS`` (or ``JID``, ``dr7objid``, ``objID``), the T-type ``TType`` (or ``TT``). VizieR's
    comments, units and rules are passed over; commas separate too. ``_RAJ2000`` and ``_DEJ2000`` (or ``RAJ2000`` and
    ``DEJ2000``, or ``ra`` and ``dec``) are used in degrees where there.

    Parameters
    ----------
    folder
        Holds ``table2.tsv`` and ``images.zip`` or a folder ``images`` with ``<key>.jpg`` or ``.png``.
    name
        Name of the set.
    shares
        Shares of the splits.

    Raises
    ------
    DatasetError
        Table or pictures are absent, damaged, or do not fit.
    """
    path = folder / NAIR_TABLE
    header, rows = _vizier(path)
    key = column(header, path, "SDSS", "JID", "dr7objid", "objID")
    stage = column(header, path, "TType", "TT")
    positions = None
    for ra, dec in (("_RAJ2000", "_DEJ2000"), ("RAJ2000", "DEJ2000"), ("ra", "dec")):
        if ra in header and dec in header:
            places = [numbers((row[header.index(ra)], row[header.index(dec)])) for row in rows]
            positions = np.array(places, np.float64).reshape(-1, 2)
            break
    store = picture_store(folder, "images.zip", "images")
    return _staged(name, [row[key] for row in rows], numbers([row[stage] for row in rows]), positions, store, shares)


def _vizier(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table from VizieR; of equal length."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing", "save J/ApJS/186/427/table2 from VizieR there") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is no text in UTF-8: {error}", "save the table from VizieR again") from None
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    separator = next((s for s in ("\t", ";", ",") if lines and s in lines[0]), "\t")
    cells = [[cell.strip() for cell in line.split(separator)] for line in lines]
    header = cells[0] if cells else []
    # Units stand between the names and a rule of dashes.
    rule = next((i for i, row in enumerate(cells[:4]) if row and set("".join(row)) == {"-"}), 0)
    rows = [row for row in cells[rule + 1 :] if len(row) == len(header)]
    if not rows:
        raise DatasetError(f"{path} has no rows", "save J/ApJS/186/427/table2 from VizieR again")
    return header, rows


def _staged(
    name: str,
    ids: Sequence[str],
    stages: Sequence[float],
    positions: NDArray[np.float64] | None,
    store: Store,
    shares: Shares | None,
) -> PictureSet:
    t_types = np.array(stages, np.float32)
    unknown = Skip(
        "galaxies without a T-type, left without a label",
        tuple(i for i, stage in zip(ids, t_types, strict=True) if not np.isfinite(stage)),
    )
    file_of = {PurePosixPath(file).stem: file for file in store.names()}
    table = PictureSet(
        name=name,
        scheme=SCHEMES["hubble3"],
        ids=tuple(ids),
        labels=hubble_labels(t_types),
        splits=unsplit(len(ids)),
        duplicates=("",) * len(ids),
        files=tuple(file_of.get(i, f"{i}.png") for i in ids),
        store=store,
        t_types=t_types,
        positions=positions,
        skipped=(unknown,) if unknown.names else (),
    )
    return complete(table, shares)
