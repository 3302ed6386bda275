"""YOLO text files: one a picture, a box a line, ``class cx cy w h`` in shares of the picture's sides.

They have no word for a box that counts neither way.

Source: the formats of Darknet, Ultralytics and labelImg.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal.data.boxed.annotations import (
    NO_PICTURE,
    UNREADABLE,
    AnnotatedFolder,
    Annotation,
    MalformedError,
    Tally,
    checked_labels,
    folder_split,
    picture_size,
    pictures_below,
    read_text,
    safe_name,
)
from edgegal.data.splits import SPLITS
from edgegal.errors import DatasetError, InputError, MissingPartError

__all__ = ["FILE", "read_yolo", "write_yolo"]

FILE = "data.yaml"
"""What `write_yolo` calls the list of classes and splits."""

_CLASSES = "classes.txt"
_PICTURES, _LABELS = "images", "labels"
_COLUMNS = 5


def read_yolo(path: Path) -> AnnotatedFolder:
    """Read a folder with ``data.yaml`` or ``classes.txt``, or a YAML file of that kind by its own name.

    The text file of a picture lies beside it, or where ``labels`` takes the place of the last ``images`` in its path.
    An empty one says that nothing is on the picture. ``data.yaml`` says the splits, else folders named ``train``,
    ``val`` or ``test`` do.

    Raises
    ------
    DatasetError
        No such folder or list of classes, the list is malformed, a line is of a class that is not in it, or the
        pictures would lie elsewhere.
    MissingPartError
        PyYAML, for ``data.yaml``, or Pillow is not installed.
    """
    folder = path if path.is_dir() else path.parent
    listing = path if path.is_file() else folder / FILE
    if not folder.is_dir() or (not path.is_dir() and not path.is_file()):
        raise DatasetError(f"{path} is missing", f"give a folder with {FILE} or {_CLASSES}")
    if listing.is_file():
        labels, split_of = _read_yaml(listing, folder)
    else:
        labels = _read_classes(folder)
        split_of = {file: folder_split(file) for file in pictures_below(folder)}
    tally = Tally()
    annotations, bare = [], []
    for file, split in sorted(split_of.items()):
        text_file = _text_file(file, folder)
        if text_file is None:
            bare.append(file)
            continue
        size = picture_size(folder / file)
        if size is None:
            # Shares of nothing: the set leaves the picture out, and says so.
            annotations.append(Annotation.empty(file, split))
            continue
        try:
            annotations.append(_annotation(folder, file, text_file, labels, size, split))
        except MalformedError as error:
            tally.add(UNREADABLE, f"{text_file} ({error})")
    for stray in _strays(folder, split_of):
        tally.add(NO_PICTURE, stray)
    return AnnotatedFolder(folder, labels, tuple(annotations), tuple(bare), tally.skips())


def _read_yaml(path: Path, folder: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """The classes, and the split of every picture that the file lists."""
    document = _load_yaml(path)
    names = document.get("names")
    if isinstance(names, Mapping):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise DatasetError(f"{path}: names are not numbered from 0 without a gap", "number them")
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, Sequence) or isinstance(names, str) or not names:
        raise DatasetError(f"{path} has no names", "list the classes under names")
    try:
        labels = checked_labels([str(name) for name in names])
    except InputError as error:
        raise DatasetError(f"{path}: {error.message}", error.mend) from None
    base = _below(str(document.get("path") or "."), path)
    split_of: dict[str, str] = {}
    for split in SPLITS:
        entries = document.get(split) or []
        if not isinstance(entries, (str, list)):
            raise DatasetError(f"{path}: {split} is {entries!r}, no place of pictures", "name folders below the file")
        for entry in [entries] if isinstance(entries, str) else entries:
            for file in _listed(folder, base, str(entry), path):
                if split_of.setdefault(file, split) != split:
                    raise DatasetError(f"{path}: {file} is in {split_of[file]} and in {split}", "list it once")
    if not split_of:
        raise DatasetError(f"{path} lists no picture that is there", "name folders of pictures under train, val, test")
    return labels, split_of


def _load_yaml(path: Path) -> Mapping[str, Any]:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingPartError(f"reading {path} needs PyYAML: {error}", "pip install pyyaml") from None
    try:
        document = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise DatasetError(f"{path}{place} is not YAML: {problem}", "mend the line") from None
    if not isinstance(document, Mapping):
        raise DatasetError(f"{path} is not a list of classes and splits", "give the data.yaml of a YOLO set")
    return document


def _below(entry: str, source: Path) -> str:
    """A place that a YAML names, relative to the YAML's folder.

    Exporters write ``../train/images`` for what lies beside the file: the way up is left out, as other readers do. An
    absolute path is followed only where it is below the folder.
    """
    if Path(entry).is_absolute():
        entry = os.path.relpath(entry, source.parent.absolute())
    else:
        while entry.startswith("../"):
            entry = entry.removeprefix("../")
    return "." if os.path.normpath(entry) == "." else safe_name(entry, str(source))


def _listed(folder: Path, base: str, entry: str, source: Path) -> list[str]:
    """The pictures of an entry: a folder of them, or a text file that names them."""
    place = os.path.normpath(f"{base}/{_below(entry, source)}")
    path = folder / place
    if path.is_dir():
        return [os.path.normpath(f"{place}/{file}") for file in pictures_below(path)]
    if path.is_file() and path.suffix == ".txt":
        lines = [line.strip() for line in read_text(path).splitlines()]
        return [os.path.normpath(f"{base}/{_below(line, source)}") for line in lines if line]
    raise DatasetError(f"{source} names {entry}, which is not there", "name folders below that of the file")


def _read_classes(folder: Path) -> tuple[str, ...]:
    """The classes of ``classes.txt``, in the folder or beside the text files, where labelImg puts it."""
    found = sorted(folder.rglob(_CLASSES))
    lists = {tuple(line.strip() for line in read_text(p).splitlines() if line.strip()) for p in found}
    if len(lists) > 1:
        raise DatasetError(f"{found[0]} and {found[-1]} differ", "give all the same classes in one order")
    if not lists or not next(iter(lists)):
        raise DatasetError(
            f"{folder} holds neither {FILE} nor {_CLASSES}", f"list the classes in {_CLASSES}, one a line"
        )
    return checked_labels(next(iter(lists)))


def _text_file(file: str, folder: Path) -> str | None:
    """The text file of a picture, relative to `folder`; None when it has none."""
    beside = PurePosixPath(file).with_suffix(".txt")
    parts = list(beside.parts)
    apart = None
    if _PICTURES in parts[:-1]:
        last = len(parts) - 1 - parts[::-1].index(_PICTURES)
        apart = PurePosixPath(*parts[:last], _LABELS, *parts[last + 1 :])
    return next((str(p) for p in (apart, beside) if p is not None and (folder / p).is_file()), None)


def _strays(folder: Path, pictures: Mapping[str, str]) -> list[str]:
    """Text files in folders of annotations that belong to no picture."""
    known = {text for file in pictures if (text := _text_file(file, folder)) is not None}
    holders = {folder / PurePosixPath(text).parent for text in known}
    texts = (p.relative_to(folder).as_posix() for holder in holders for p in holder.glob("*.txt"))
    return sorted(text for text in texts if text not in known and PurePosixPath(text).name != _CLASSES)


def _annotation(
    folder: Path, file: str, text_file: str, labels: tuple[str, ...], size: tuple[int, int], split: str
) -> Annotation:
    try:
        lines = (folder / text_file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MalformedError(str(error)) from None
    rows = [_row(line, number, len(labels), text_file) for number, line in enumerate(lines, 1) if line.strip()]
    shares = np.array([box for _, box in rows], np.float64).reshape(-1, 4)
    classes = tuple(labels[index] for index, _ in rows)
    return Annotation(file, _corners(shares, size), classes, np.zeros(len(rows), np.bool_), size, text_file, split)


def _row(line: str, number: int, classes: int, source: str) -> tuple[int, tuple[float, ...]]:
    cells = line.split()
    if len(cells) != _COLUMNS:
        hint = "; outlines are not boxes" if len(cells) > _COLUMNS + 1 else ""
        raise MalformedError(f"line {number}: {len(cells)} values where class, cx, cy, w and h are expected{hint}")
    try:
        index, box = int(cells[0]), tuple(map(float, cells[1:]))
    except ValueError:
        raise MalformedError(f"line {number}: {line.strip()!r} is not an integer and four numbers") from None
    if not 0 <= index < classes:
        raise DatasetError(
            f"{source}, line {number}: class {index}, but there are {classes}, counted from 0",
            "add its name to the list of classes",
        )
    return index, box


def _corners(shares: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    sides = np.array(size, np.float64)
    centre, half = shares[:, :2] * sides, shares[:, 2:] * sides / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def write_yolo(folder: Path, labels: Sequence[str], annotations: Sequence[Annotation]) -> None:
    """Write `FILE`, and a text file for each picture with ``classes.txt`` beside it, which labelImg needs.

    Ignored boxes are left out: whoever calls says so.

    Parameters
    ----------
    folder
        Holds the pictures, below ``images``.
    labels
        The classes, in order.
    annotations
        Of pictures in `folder`, with their sizes.
    """
    labels = checked_labels(labels)
    for annotation in annotations:
        path = folder / _LABELS / PurePosixPath(annotation.file).relative_to(_PICTURES).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / _CLASSES).write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
        path.write_text("".join(_lines(annotation, labels)), encoding="utf-8")
    # JSON's strings are YAML's, but for its escapes.
    lines = ["path: .\n"]
    for split in SPLITS:
        if any(annotation.split == split for annotation in annotations):
            lines.append(f"{split}: {_PICTURES}/{split}\n")
    lines += ["names:\n", *(f"  {i}: {json.dumps(label, ensure_ascii=False)}\n" for i, label in enumerate(labels))]
    (folder / FILE).write_text("".join(lines), encoding="utf-8")


def _lines(annotation: Annotation, labels: tuple[str, ...]) -> list[str]:
    if annotation.size is None:
        raise ValueError(f"{annotation.file} has no size")
    sides = np.array(annotation.size * 2, np.float64)
    boxes = annotation.boxes
    shares = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1) / sides
    rows = zip(shares.tolist(), annotation.classes, annotation.ignore, strict=True)
    return [f"{labels.index(name)} {' '.join(f'{v:.9f}' for v in row)}\n" for row, name, ignore in rows if not ignore]
