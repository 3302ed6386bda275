"""What an annotation file says of one picture, whatever its format, and what is kept of it.

The modules `voc`, `coco` and `yolo` read and write `Annotation`; none of them judges a box. That is done here, once.
"""

import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edgegal.data.pictures import Skip
from edgegal.data.splits import SPLITS
from edgegal.data.stores import SUFFIXES
from edgegal.errors import DatasetError, InputError, MissingPartError

__all__ = [
    "NO_PICTURE",
    "UNREADABLE",
    "UNREADABLE_PICTURES",
    "AnnotatedFolder",
    "Annotation",
    "MalformedError",
    "Tally",
    "checked_labels",
    "folder_split",
    "picture_size",
    "pictures_below",
    "read_text",
    "refuse_shared_pictures",
    "safe_name",
    "sound_boxes",
]

NO_PICTURE = "annotations without a picture"
UNREADABLE = "annotation files that cannot be read"
UNREADABLE_PICTURES = "unreadable pictures"

_NOT_FINITE = "boxes with corners that are no numbers"
_NO_AREA = "boxes without an area"
_OUTSIDE = "boxes outside their picture"

_SPLIT_FOLDERS = {split: split for split in SPLITS} | {"valid": "val", "validation": "val"}
# EXIF orientations that swap width and height; the decoder turns such pictures upright.
_ORIENTATION_TAG, _LYING = 0x0112, frozenset({5, 6, 7, 8})


class MalformedError(ValueError):
    """One annotation file cannot be used, with the line where known; its set goes on without it."""


@dataclass(frozen=True, eq=False)
class Annotation:
    """Boxes of one picture as its annotation gives them.

    Attributes
    ----------
    file
        The picture, relative to the set's folder, with ``/``.
    boxes
        ``(n, 4)`` float64 x0, y0, x1, y1 in pixels, continuous coordinates; unchecked.
    classes
        Class name of each box.
    ignore
        ``(n,)`` whether a box counts neither way: VOC's difficult, COCO's crowd.
    size
        Width and height of the picture as the annotation states them; None when it does not.
    source
        What to call the annotation in messages.
    split
        Which split the set puts it in; empty when it does not say.
    """

    file: str
    boxes: NDArray[np.float64]
    classes: tuple[str, ...]
    ignore: NDArray[np.bool_]
    size: tuple[int, int] | None = None
    source: str = ""
    split: str = ""

    def __post_init__(self) -> None:
        n = len(self.classes)
        if self.boxes.shape != (n, 4) or self.ignore.shape != (n,):
            raise ValueError(f"{n} classes, boxes {self.boxes.shape} and flags {self.ignore.shape} do not agree")

    @classmethod
    def empty(cls, file: str, split: str = "") -> "Annotation":
        """A picture with nothing on it."""
        return cls(file, np.zeros((0, 4)), (), np.zeros(0, np.bool_), split=split)


@dataclass(frozen=True, eq=False)
class AnnotatedFolder:
    """An annotated set as it lies on the disk.

    Attributes
    ----------
    path
        The folder that the pictures' names are relative to.
    labels
        Its classes, in its own order.
    annotations
        One a picture.
    bare
        Pictures without an annotation: nobody said that nothing is on them.
    skipped
        What could not be used.
    """

    path: Path
    labels: tuple[str, ...]
    annotations: tuple[Annotation, ...]
    bare: tuple[str, ...]
    skipped: tuple[Skip, ...] = ()


class Tally:
    """Collects what is left out, by reason."""

    def __init__(self) -> None:
        self._names: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, reason: str, name: str) -> None:
        """Leave out `name`; `reason` says what it is, in the plural."""
        self._names[reason].append(name)

    def count(self, reason: str) -> int:
        """How many were left out for that reason."""
        return len(self._names.get(reason, ()))

    def skips(self) -> tuple[Skip, ...]:
        """All of it, in the order in which the reasons first came up."""
        return tuple(Skip(reason, tuple(names)) for reason, names in self._names.items())


def sound_boxes(boxes: NDArray[np.float64], width: int, height: int) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Boxes cut to their picture, and what is wrong with each.

    Parameters
    ----------
    boxes
        ``(n, 4)`` x0, y0, x1, y1.
    width, height
        Of the picture, pixels.

    Returns
    -------
    tuple
        ``(n, 4)`` float32, and for each box a reason to leave it out, in the plural; empty for a good one, which has
        an area within the picture.
    """
    finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(boxes), axis=1)
    area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    # Rounded first: what float32 makes of a sliver at the border may have no area.
    limits = np.array([width, height, width, height], np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        cut = np.clip(boxes.astype(np.float32), 0, limits)
    inside = (cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1])
    rows = zip(finite, area, inside, strict=True)
    return cut, tuple(_NOT_FINITE if not f else _NO_AREA if not a else _OUTSIDE if not i else "" for f, a, i in rows)


def read_text(path: Path) -> str:
    """The text of a file of labels or names; `DatasetError` when it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8: {error.reason} at byte {error.start}", "save it as UTF-8") from None


def checked_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Class names that every format can hold; `InputError` for others.

    They are printable, without spaces around, and each stands once.
    """
    bad = [label for label in labels if not label or label != label.strip() or not label.isprintable()]
    if bad:
        raise InputError(f"{bad[0]!r} is no class name", "give printable names without spaces around them")
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if list(labels).count(label) > 1)
        raise InputError(f"class {twice!r} stands twice", "give each class one name")
    return tuple(labels)


def safe_name(name: str, source: str) -> str:
    """A picture's name below the folder of its set, ``/`` between the parts.

    Raises
    ------
    DatasetError
        It is empty, absolute or leads out of the folder. Sets come from anywhere, and the pictures that a set names
        are copied by `edgegal data convert`.
    """
    slashed = name.replace("\\", "/")
    path = os.path.normpath(slashed)
    if (
        not name.strip()
        or "\0" in name
        or path in (".", "..")
        or path.startswith(("/", "../"))
        or PurePosixPath(slashed).parts[0].endswith(":")
    ):
        raise DatasetError(f"{source} names the picture {name!r}, outside its folder", "name pictures in the set only")
    return path


def pictures_below(folder: Path) -> tuple[str, ...]:
    """All pictures of a folder and the folders in it, sorted; hidden ones are passed over."""
    found = (p.relative_to(folder) for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return tuple(sorted(p.as_posix() for p in found if not any(part.startswith(".") for part in p.parts)))


def folder_split(file: str) -> str:
    """The split that a folder on the way to a picture is named after; empty when none is."""
    return next((_SPLIT_FOLDERS[part] for part in file.split("/")[:-1] if part in _SPLIT_FOLDERS), "")


def refuse_shared_pictures(annotations: Iterable[Annotation]) -> None:
    """`DatasetError` when two annotations are of one picture: which of them is true?"""
    seen: dict[str, str] = {}
    for annotation in annotations:
        other = seen.setdefault(annotation.file, annotation.source)
        if other != annotation.source:
            raise DatasetError(
                f"{other} and {annotation.source} both annotate {annotation.file}", "leave one annotation a picture"
            )


def picture_size(path: Path) -> tuple[int, int] | None:
    """Width and height that a picture will have when decoded, from its header; None when it has none that is sound.

    Raises
    ------
    MissingPartError
        Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPartError(f"annotated pictures need Pillow: {error}", "pip install 'edgegal[train]'") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                width, height = picture.size
                # Of other formats Pillow would decode the whole picture, to look for what follows it.
                lying = picture.format == "JPEG" and picture.getexif().get(_ORIENTATION_TAG) in _LYING
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
    return (height, width) if lying else (width, height)
