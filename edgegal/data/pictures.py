"""Labelled pictures from a zip with a CSV, or from a folder for each class.

Pictures stay in their file until asked for: a `PictureSet` is the table (ids, labels, splits), `PictureSet.pictures`
reads the pixels.
"""

import csv
import hashlib
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.errors import DatasetError
from edgegal.frames import View
from edgegal.labels import UNLABELLED, LabelScheme, relabel
from edgegal.preprocess import resize

__all__ = ["SPLITS", "FolderStore", "PictureSet", "Store", "ZipStore", "hash_split", "read_csv", "read_folder"]

SPLITS = ("train", "val", "test")

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})


class Store(Protocol):
    """Where the files of a set lie."""

    @property
    def path(self) -> Path:
        """The zip or the folder."""

    def missing(self, files: Sequence[str]) -> list[str]:
        """Those of `files` that are not there."""

    def contents(self, files: Sequence[str]) -> Iterator[bytes | None]:
        """Bytes of each file in order, None for one that cannot be read."""

    def checksums(self, files: Sequence[str]) -> Iterator[int]:
        """CRC-32 of the bytes of each file."""


@dataclass(frozen=True)
class FolderStore:
    """Files under a folder."""

    path: Path

    def missing(self, files: Sequence[str]) -> list[str]:
        return [file for file in files if not (self.path / file).is_file()]

    def contents(self, files: Sequence[str]) -> Iterator[bytes | None]:
        for file in files:
            try:
                yield (self.path / file).read_bytes()
            except OSError:
                yield None

    def checksums(self, files: Sequence[str]) -> Iterator[int]:
        return (zlib.crc32(content or b"") for content in self.contents(files))


@dataclass(frozen=True)
class ZipStore:
    """Members of a zip file; read in memory, never unpacked.

    Attributes
    ----------
    path
        The zip.
    prefix
        Folder inside the zip that the names are relative to, with its slash; empty for the top.
    """

    path: Path
    prefix: str = ""

    @classmethod
    def open(cls, path: Path) -> "ZipStore":
        """A zip whose members lie at the top or all in one folder; `DatasetError` when it is no sound zip."""
        with _opened(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
        tops = {name.split("/", 1)[0] if "/" in name else "" for name in names}
        top = tops.pop() if len(tops) == 1 else ""
        return cls(path, f"{top}/" if top else "")

    def missing(self, files: Sequence[str]) -> list[str]:
        with _opened(self.path) as archive:
            names = set(archive.namelist())
        return [file for file in files if self.prefix + file not in names]

    def contents(self, files: Sequence[str]) -> Iterator[bytes | None]:
        with _opened(self.path) as archive:
            for file in files:
                try:
                    yield archive.read(self.prefix + file)
                except (KeyError, zipfile.BadZipFile, zlib.error, OSError):
                    yield None

    def checksums(self, files: Sequence[str]) -> Iterator[int]:
        with _opened(self.path) as archive:
            for file in files:
                yield archive.getinfo(self.prefix + file).CRC


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing", "put the zip of the pictures beside the CSV") from None
    except (zipfile.BadZipFile, OSError) as error:
        raise DatasetError(f"{path} is not a readable zip: {error}", "get the file again") from None


@dataclass(frozen=True, eq=False)
class PictureSet:
    """A table of pictures.

    Attributes
    ----------
    name
        What it was opened as.
    scheme
        What the labels mean.
    ids
        One id a picture, unique.
    labels
        ``(n,)`` int32, indices into ``scheme.labels``, `UNLABELLED` where there is none.
    splits
        ``(n,)`` strings, each of `SPLITS`.
    duplicates
        Id of the same galaxy in another set, empty where none is known.
    files
        Names in `store`.
    store
        Where the files lie.
    side
        Side in pixels that `pictures` gives unless told.
    """

    name: str
    scheme: LabelScheme
    ids: tuple[str, ...]
    labels: NDArray[np.int32]
    splits: NDArray[np.str_]
    duplicates: tuple[str, ...]
    files: tuple[str, ...]
    store: Store
    side: int = 128

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.integer]) -> "PictureSet":
        """The pictures a mask or index array picks, in its order."""
        rows = np.arange(len(self))[keep]
        return replace(
            self,
            ids=tuple(self.ids[i] for i in rows),
            labels=self.labels[rows],
            splits=self.splits[rows],
            duplicates=tuple(self.duplicates[i] for i in rows),
            files=tuple(self.files[i] for i in rows),
        )

    def subset(self, split: str | None = None, labelled: bool = True) -> "PictureSet":
        """The pictures of one split (all when None), by default without the unlabelled ones.

        Raises
        ------
        DatasetError
            `split` is none of `SPLITS`.
        """
        if split is not None and split not in SPLITS:
            raise DatasetError(f"no split {split!r}", f"use one of: {', '.join(SPLITS)}")
        keep = np.ones(len(self), np.bool_)
        if split is not None:
            keep &= self.splits == split
        if labelled:
            keep &= self.labels != UNLABELLED
        return self.select(keep)

    def relabelled(self, target: LabelScheme) -> "PictureSet":
        """The same pictures with labels of another scheme."""
        return replace(self, scheme=target, labels=relabel(self.labels, self.scheme, target))

    def pictures(self, size: int | None = None) -> View:
        """Read the pixels.

        A picture of another shape is cut to its central square, then resized once, from the file's own pixels.

        Parameters
        ----------
        size
            Side of the result in pixels; `side` when None.

        Returns
        -------
        View
            ``(n, size, size, 3)`` uint8 RGB.

        Raises
        ------
        DatasetError
            Pictures that cannot be read: how many, and the name of the first.
        """
        size = size or self.side
        result = np.empty((len(self), size, size, 3), np.uint8)
        unreadable = []
        for i, content in enumerate(self.store.contents(self.files)):
            picture = _decode(content)
            if picture is None:
                unreadable.append(self.files[i])
            else:
                result[i] = _squared(picture, size)
        if unreadable:
            raise DatasetError(
                f"{self.name}: {len(unreadable)} of {len(self)} pictures cannot be read, "
                f"the first is {unreadable[0]} in {self.store.path}",
                "replace or remove the damaged files",
            )
        return result

    def digest(self) -> str:
        """sha256 of class names, ids, labels, splits and the CRC-32 of every file, in order."""
        total = hashlib.sha256("\0".join(self.scheme.labels).encode())
        rows = zip(self.ids, self.labels, self.splits, self.store.checksums(self.files), strict=True)
        for row in rows:
            total.update("\0".join(map(str, row)).encode(errors="surrogatepass") + b"\n")
        return total.hexdigest()


def _decode(content: bytes | None) -> View | None:
    """Pixels ``(h, w, 3)`` RGB of an encoded picture, None when it is damaged or no picture."""
    if not content:
        return None
    # The decoder fills what a cut-off JPEG lacks with grey and says nothing; its end marker is missing then.
    if content.startswith(b"\xff\xd8") and b"\xff\xd9" not in content[-256:]:
        return None
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    if bgr is None:
        return None
    rgb: View = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return rgb


def _squared(picture: View, size: int) -> View:
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    return square if side == size else resize(square, size, size)


def hash_split(identifier: str) -> str:
    """Split of a picture nobody has assigned: 70 / 15 / 15 by the sha256 of its id, the same on every machine."""
    position = int.from_bytes(hashlib.sha256(identifier.encode(errors="surrogatepass")).digest()[:8], "big") / 2**64
    return "train" if position < 0.70 else "val" if position < 0.85 else "test"


def read_csv(
    path: Path, name: str, scheme: LabelScheme | None = None, aliases: Mapping[str, str] | None = None
) -> PictureSet:
    """A set from a CSV and the pictures beside it.

    The CSV names its columns in the first line: ``file``; ``label_name`` or else ``label``, the class by name, empty
    where unlabelled; ``split``, else `hash_split` assigns one; ``bad``, 1 for a picture to leave out; ``dup_*``, the
    id of the same galaxy in another set. An id is the file's name without folder and suffix. The pictures lie in the
    one zip beside the CSV, or else as files relative to the CSV's folder or to a folder in it.

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

    Raises
    ------
    DatasetError
        A file or column is missing, a label or split is unknown, an id stands twice.
    """
    rows = [row for row in _csv_rows(path) if row.get("bad") != "1"]
    columns = rows[0].keys() if rows else ()
    label_column = "label_name" if "label_name" in columns else "label"
    absent = [column for column in ("file", label_column) if column not in columns]
    if absent:
        raise DatasetError(f"{path} has no rows with {' and '.join(absent)}", "name the columns in its first line")
    files = [row["file"] for row in rows]
    ids = [Path(file).stem for file in files]
    duplicate_column = next((column for column in columns if column.startswith("dup_")), "")
    return _build(
        name,
        scheme,
        ids,
        [row[label_column] for row in rows],
        [row["split"] for row in rows] if "split" in columns else [hash_split(i) for i in ids],
        [row.get(duplicate_column, "") for row in rows],
        files,
        _store_beside(path, files[0]),
        aliases or {},
    )


def _csv_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [
                {k.strip(): (v or "").strip() for k, v in row.items() if isinstance(k, str)}
                for row in csv.DictReader(file, restval="")
            ]
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing", "give the path of the CSV that holds the labels") from None
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DatasetError(f"{path} is not a CSV in UTF-8: {error}", "give the CSV that holds the labels") from None


def _store_beside(csv_path: Path, probe: str) -> Store:
    zips = sorted(csv_path.parent.glob("*.zip"))
    if len(zips) > 1:
        raise DatasetError(
            f"{len(zips)} zips lie beside {csv_path}: {', '.join(z.name for z in zips)}", "leave the one that it names"
        )
    if zips:
        return ZipStore.open(zips[0])
    folders = [csv_path.parent, *sorted(p for p in csv_path.parent.iterdir() if p.is_dir())]
    for folder in folders:
        if (folder / probe).is_file():
            return FolderStore(folder)
    raise DatasetError(
        f"no pictures for {csv_path}: no zip beside it and no {probe}", "put the pictures beside the CSV"
    )


def read_folder(path: Path, name: str, scheme: LabelScheme | None = None) -> PictureSet:
    """A set from a folder for each class: ``DIR/<class>/*.jpg``, or ``DIR/<train|val|test>/<class>/*.jpg``.

    An id is the path below the folder. Without split folders `hash_split` assigns the splits.

    Parameters
    ----------
    path
        The folder.
    name
        Name of the set.
    scheme
        What the folders' names mean; when None, the sorted names become a scheme of their own.

    Raises
    ------
    DatasetError
        There is no such folder, it holds no pictures, or a folder's name is no label of the scheme.
    """
    if not path.is_dir():
        raise DatasetError(f"{path} is not a folder", "give a folder that holds a folder for each class")
    below = {child.name for child in path.iterdir() if child.is_dir()}
    depth = 3 if below and below <= set(SPLITS) else 2
    found = sorted(p for p in path.glob("/".join("*" * depth)) if p.suffix.lower() in _SUFFIXES)
    if not found:
        raise DatasetError(
            f"{path} holds no pictures in folders", "make a folder for each class and put pictures in it"
        )
    ids = [p.relative_to(path).as_posix() for p in found]
    splits = [i.split("/")[0] for i in ids] if depth == 3 else [hash_split(i) for i in ids]
    labels = [p.parent.name for p in found]
    return _build(name, scheme, ids, labels, splits, [""] * len(ids), ids, FolderStore(path), {})


def _build(
    name: str,
    scheme: LabelScheme | None,
    ids: Sequence[str],
    label_names: Sequence[str],
    splits: Sequence[str],
    duplicates: Sequence[str],
    files: Sequence[str],
    store: Store,
    aliases: Mapping[str, str],
) -> PictureSet:
    """Check the columns against each other, the scheme and the store."""
    if scheme is None:
        scheme = LabelScheme(name, tuple(sorted(set(label_names) - {""})), "names found in the set", mirror_safe=False)
    twice = [i for i, count in Counter(ids).items() if count > 1]
    if twice:
        raise DatasetError(
            f"{name}: {len(twice)} ids stand twice, the first is {twice[0]}", "give each picture one row"
        )
    wrong = sorted(set(splits) - set(SPLITS))
    if wrong:
        raise DatasetError(f"{name}: unknown split {wrong[0]!r}", f"use one of: {', '.join(SPLITS)}")
    missing = store.missing(files)
    if missing:
        raise DatasetError(
            f"{name}: {len(missing)} of {len(files)} pictures are missing, the first is {missing[0]} in {store.path}",
            "get the pictures again or drop their rows",
        )
    table = {text: _label_index(text, name, scheme, aliases) for text in set(label_names)}
    return PictureSet(
        name=name,
        scheme=scheme,
        ids=tuple(ids),
        labels=np.array([table[text] for text in label_names], np.int32),
        splits=np.array(splits, np.str_),
        duplicates=tuple(duplicates),
        files=tuple(files),
        store=store,
    )


def _label_index(text: str, name: str, scheme: LabelScheme, aliases: Mapping[str, str]) -> int:
    if not text:
        return UNLABELLED
    for candidate in (text, aliases.get(text), text.replace("_", "-")):
        if candidate in scheme.labels:
            return scheme.labels.index(candidate)
    raise DatasetError(
        f"{name}: label {text!r} is not in scheme {scheme.name!r}", f"use one of: {', '.join(scheme.labels)}"
    )
