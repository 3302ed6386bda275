"""Sets from a CSV with pictures beside it, from a folder for each class, and the checks that all readers share."""

import csv
import gzip
import logging
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from edgegal.data.pictures import PictureSet, Skip, refuse_if_most
from edgegal.data.splits import SPLITS, Shares, assign_splits
from edgegal.data.stores import SUFFIXES, FolderStore, Store, ZipStore
from edgegal.errors import DatasetError
from edgegal.labels import UNLABELLED, LabelScheme

__all__ = ["column", "complete", "numbers", "picture_store", "read_csv", "read_folder", "read_rows", "unsplit"]

_LOG = logging.getLogger(__name__)

# What tables write where there is no label, beside an empty cell and numbers that are none.
_NO_LABEL = frozenset({"na", "null", "none"})
_SPLIT_FOLDERS = {split: split for split in SPLITS} | {"valid": "val", "validation": "val"}


def complete(
    table: PictureSet, shares: Shares | None = None, given: Sequence[str] | None = None, known: Sequence[str] = ()
) -> PictureSet:
    """Check a table against its store and split it.

    Rows without a picture are left out, counted and named; so are pictures without a row.

    Parameters
    ----------
    table
        All rows, with splits of any kind.
    shares
        Shares of the splits, by class and object; 70/15/15 when None.
    given
        Split of each row where the set brings one: it is kept.
    known
        Pictures left out on purpose.

    Raises
    ------
    DatasetError
        An id stands twice, a split is unknown, more than half of the pictures are missing.
    """
    twice = [i for i, count in Counter(table.ids).items() if count > 1]
    if twice:
        raise DatasetError(
            f"{table.name}: {len(twice)} ids stand twice, the first is {twice[0]}", "give each picture one row"
        )
    wrong = sorted(set(given or ()) - set(SPLITS))
    if wrong:
        raise DatasetError(f"{table.name}: unknown split {wrong[0]!r}", f"use one of: {', '.join(SPLITS)}")
    if given is not None:
        if shares is not None:
            _LOG.warning("%s brings its own split, which is kept: %s is not used", table.name, shares)
        table = replace(table, splits=np.array(given, np.str_))
    missing = table.store.missing(table.files)
    absent = Skip("labels without a picture", tuple(file for file in table.files if file in missing))
    refuse_if_most(table.name, absent, len(table), f"get the pictures of {table.store.path} again or drop their rows")
    stray = Skip("pictures without a label", tuple(sorted(table.store.names() - {*table.files, *known})))
    if missing:
        table = table.select(np.array([file not in missing for file in table.files]))
    if given is None:
        table = replace(table, splits=assign_splits(table.objects or table.ids, table.labels, shares or Shares()))
    return replace(table, skipped=(*table.skipped, *(skip for skip in (absent, stray) if skip.names)))


def unsplit(n: int) -> NDArray[np.str_]:
    """Splits of a table that `complete` has yet to split."""
    return np.full(n, SPLITS[0])


def read_csv(
    path: Path,
    name: str,
    scheme: LabelScheme | None = None,
    aliases: Mapping[str, str] | None = None,
    shares: Shares | None = None,
) -> PictureSet:
    """A set from a CSV and the pictures beside it.

    The CSV names its columns in the first line: ``file``; ``label_name`` or else ``label``, the class by name, empty
    where unlabelled (``nan``, ``na``, ``null`` and ``none`` are no classes either unless the scheme has one, and are
    counted); ``split``, else `assign_splits` gives one; ``object``, where several pictures show one; ``bad``, 1 for a
    picture to leave out; ``dup_*``, the id of the same galaxy in another set; ``ra`` and ``dec``, or ``ra_deg`` and
    ``dec_deg``, in degrees. An id is the file's name without folder and suffix, or without suffix alone where two
    folders have files of one name. The pictures lie in the one zip beside the CSV, or else as files relative to the
    CSV's folder or to a folder in it.

    Parameters
    ----------
    path
        The CSV.
    name
        Name of the set.
    scheme
        What the labels mean; when None, the sorted names found become a scheme of their own.
    aliases
        Names in the CSV that the scheme calls differently; ``_`` for ``-`` needs none.
    shares
        Shares of the splits, where the CSV gives none.

    Raises
    ------
    DatasetError
        A file or column is missing, a label or split is unknown, an id stands twice, most pictures are missing.
    """
    everything = _dictionaries(path)
    rows = [row for row in everything if row.get("bad") != "1"]
    columns = rows[0].keys() if rows else ()
    label_column = "label_name" if "label_name" in columns else "label"
    absent = [wanted for wanted in ("file", label_column) if wanted not in columns]
    if absent:
        raise DatasetError(f"{path} has no rows with {' and '.join(absent)}", "name the columns in its first line")
    files = tuple(row["file"] for row in rows)
    bad = Skip("pictures marked bad", tuple(row["file"] for row in everything if row.get("bad") == "1"))
    duplicate_column = next((c for c in columns if c.startswith("dup_")), "")
    texts = [row[label_column] for row in rows]
    empty = [_says_none(text) and (scheme is None or text not in scheme.labels) for text in texts]
    nameless = Skip(
        "labels that name no class, such as nan, left without one",
        tuple(file for file, none in zip(files, empty, strict=True) if none),
    )
    texts = ["" if none else text for text, none in zip(texts, empty, strict=True)]
    scheme, labels = _labels(texts, name, scheme, aliases or {})
    table = PictureSet(
        name=name,
        scheme=scheme,
        ids=_ids(files),
        labels=labels,
        splits=unsplit(len(files)),
        duplicates=tuple(row.get(duplicate_column, "") for row in rows),
        files=files,
        store=_store_beside(path, files),
        # A picture of which nobody says what it shows shows something of its own.
        objects=tuple(row["object"] or own for row, own in zip(rows, _ids(files), strict=True))
        if "object" in columns
        else (),
        positions=_positions(rows, columns),
        skipped=tuple(skip for skip in (bad, nameless) if skip.names),
    )
    return complete(table, shares, [row["split"] for row in rows] if "split" in columns else None, bad.names)


def _ids(files: Sequence[str]) -> tuple[str, ...]:
    """Each file's name without folder and suffix; with its folder where two would be the same."""
    stems = tuple(Path(file).stem for file in files)
    if len(set(stems)) == len(stems):
        return stems
    return tuple(file.removesuffix(Path(file).suffix) for file in files)


def _says_none(text: str) -> bool:
    """Whether a label says that there is none: by a word, or as a number that is none."""
    if text.casefold() in _NO_LABEL:
        return True
    try:
        return math.isnan(float(text))
    except ValueError:
        return False


def _dictionaries(path: Path) -> list[dict[str, str]]:
    with read_rows(path) as (header, rows):
        return [dict(zip(header, [*row, *[""] * (len(header) - len(row))], strict=False)) for row in rows]


@contextmanager
def read_rows(path: Path, delimiter: str = ",") -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """The first line of a CSV, plain or gzipped, and an iterator over the other lines, cells without outer spaces.

    Raises
    ------
    DatasetError
        The file is absent, damaged or no CSV in UTF-8.
    """
    try:
        with _opened(path) as file:
            reader = csv.reader(file, delimiter=delimiter)
            header = [cell.strip() for cell in next(reader, [])]
            yield header, ([cell.strip() for cell in row] for row in reader if row)
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing", "give the path of the CSV that holds the labels") from None
    except (UnicodeDecodeError, csv.Error, OSError, EOFError) as error:
        raise DatasetError(f"{path} is not a CSV in UTF-8: {error}", "give the CSV that holds the labels") from None


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", newline="", encoding="utf-8-sig")
    return path.open(newline="", encoding="utf-8-sig")


def column(header: Sequence[str], path: Path, *names: str) -> int:
    """Position of the first of `names` that a table has; `DatasetError` when it has none."""
    for name in names:
        if name in header:
            return header.index(name)
    raise DatasetError(f"{path} has no column {' or '.join(names)}", "get the table again")


def numbers(cells: Sequence[str]) -> list[float]:
    """Cells as numbers, NaN for those that are none."""
    return [_number(cell) for cell in cells]


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _positions(rows: Sequence[Mapping[str, str]], columns: Collection[str]) -> NDArray[np.float64] | None:
    for ra, dec in (("ra", "dec"), ("ra_deg", "dec_deg")):
        if ra in columns and dec in columns:
            return np.array([numbers((row[ra], row[dec])) for row in rows], np.float64)
    return None


def picture_store(folder: Path, archive: str, unpacked: str) -> Store:
    """The zip `archive` in `folder`, or the folder `unpacked` in it; `DatasetError` when neither is there."""
    if (folder / archive).is_file():
        return ZipStore.open(folder / archive)
    if (folder / unpacked).is_dir():
        return FolderStore(folder / unpacked)
    raise DatasetError(f"{folder} holds neither {archive} nor a folder {unpacked}", "put the pictures there")


def _store_beside(csv_path: Path, files: Sequence[str]) -> Store:
    zips = sorted(csv_path.parent.glob("*.zip"))
    if len(zips) > 1:
        raise DatasetError(
            f"{len(zips)} zips lie beside {csv_path}: {', '.join(z.name for z in zips)}", "leave the one that it names"
        )
    if zips:
        return ZipStore.open(zips[0])
    folders = [csv_path.parent, *sorted(p for p in csv_path.parent.iterdir() if p.is_dir())]
    for folder in folders:
        if any((folder / file).is_file() for file in files):
            return FolderStore(folder)
    raise DatasetError(
        f"no pictures for {csv_path}: no zip beside it and no {files[0]}", "put the pictures beside the CSV"
    )


def read_folder(path: Path, name: str, scheme: LabelScheme | None = None, shares: Shares | None = None) -> PictureSet:
    """A set from a folder for each class: ``DIR/<class>/*.jpg``, or ``DIR/<train|val|test>/<class>/*.jpg``.

    An id is the path below the folder. Without split folders `assign_splits` gives the splits; ``valid`` and
    ``validation`` are ``val`` too. Folders whose names begin with a dot are passed over.

    Parameters
    ----------
    path
        The folder.
    name
        Name of the set.
    scheme
        What the folders' names mean; when None, the sorted names become a scheme of their own, those of empty
        folders among them.
    shares
        Shares of the splits, where no folders give them.

    Raises
    ------
    DatasetError
        There is no such folder, it holds no pictures, or a folder's name is no label of the scheme.
    """
    if not path.is_dir():
        raise DatasetError(f"{path} is not a folder", "give a folder that holds a folder for each class")
    try:
        below = _shown_folders(path)
        in_splits = bool(below) and {child.name for child in below} <= set(_SPLIT_FOLDERS)
        classes = [folder for split in below for folder in _shown_folders(split)] if in_splits else below
        found = sorted(p for folder in classes for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
        bare = [folder.name for folder in classes if _is_empty(folder)]
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error}", "make all its folders readable") from None
    if not found:
        raise DatasetError(
            f"{path} holds no pictures in folders", "make a folder for each class and put pictures in it"
        )
    ids = tuple(p.relative_to(path).as_posix() for p in found)
    scheme, labels = _labels([p.parent.name for p in found], name, scheme, {}, bare)
    table = PictureSet(name, scheme, ids, labels, unsplit(len(ids)), ("",) * len(ids), ids, FolderStore(path))
    return complete(table, shares, [_SPLIT_FOLDERS[i.split("/")[0]] for i in ids] if in_splits else None)


def _shown_folders(path: Path) -> list[Path]:
    """The folders in a folder, without hidden ones."""
    return [child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")]


def _is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but hidden files."""
    return all(child.name.startswith(".") for child in folder.iterdir())


def _labels(
    texts: Sequence[str],
    name: str,
    scheme: LabelScheme | None,
    aliases: Mapping[str, str],
    bare: Collection[str] = (),
) -> tuple[LabelScheme, NDArray[np.int32]]:
    """Class of each text, and the scheme, made of the texts and the classes without pictures when None."""
    if scheme is None:
        found = sorted({*texts, *bare} - {""})
        scheme = LabelScheme(name, tuple(found), "names found in the set", mirror_safe=False)
    table = {text: _label_index(text, name, scheme, aliases) for text in set(texts)}
    return scheme, np.array([table[text] for text in texts], np.int32)


def _label_index(text: str, name: str, scheme: LabelScheme, aliases: Mapping[str, str]) -> int:
    if not text:
        return UNLABELLED
    for candidate in (text, aliases.get(text), text.replace("_", "-")):
        if candidate in scheme.labels:
            return scheme.labels.index(candidate)
    raise DatasetError(
        f"{name}: label {text!r} is not in scheme {scheme.name!r}", f"use one of: {', '.join(scheme.labels)}"
    )
