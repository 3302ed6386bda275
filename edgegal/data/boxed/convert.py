"""Write a boxed set as pictures and annotations that other programs read and people can correct."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from edgegal.data.boxed.annotations import Annotation, Tally, checked_labels
from edgegal.data.boxed.boxed_set import BoxedSet, Truth
from edgegal.data.boxed.coco import write_coco
from edgegal.data.boxed.voc import write_voc
from edgegal.data.boxed.yolo import write_yolo
from edgegal.data.new_folder import new_folder
from edgegal.data.pictures import Skip
from edgegal.data.splits import SPLITS
from edgegal.data.stores import SUFFIXES
from edgegal.errors import DatasetError, InputError
from edgegal.frames import View

__all__ = ["FORMATS", "Converted", "convert"]


@dataclass(frozen=True)
class _Format:
    """How a set lies in a folder: a folder for the pictures of a split, and what writes the annotations."""

    pictures: str
    write: Callable[[Path, Sequence[str], Sequence[Annotation]], None]


FORMATS: Mapping[str, _Format] = {
    # labelImg keeps the XML beside the picture.
    "voc": _Format("{split}", write_voc),
    "coco": _Format("images/{split}", write_coco),
    "yolo": _Format("images/{split}", write_yolo),
}


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes
    ----------
    pictures, boxes, ignored
        How many; the ignored boxes are not among the boxes.
    skipped
        What the set left out, and what the format cannot say.
    """

    pictures: int
    boxes: int
    ignored: int
    skipped: tuple[Skip, ...]


def convert(boxed: BoxedSet, form: str, out: Path) -> Converted:
    """Write pictures as PNG, a folder for each split, and their annotations.

    Parameters
    ----------
    boxed
        What to write. Its splits come back when the folder is read.
    form
        One of `FORMATS`.
    out
        Absent or empty; it appears whole or not at all.

    Raises
    ------
    InputError
        No such format, a class name that no file can hold, or `out` is a file or holds something.
    DatasetError
        There are no pictures, or most cannot be read.
    """
    if form not in FORMATS:
        raise InputError(f"unknown format {form!r}", f"use one of: {', '.join(FORMATS)}")
    if not len(boxed):
        raise DatasetError(f"{boxed.name} has no such pictures", "choose another split")
    checked_labels(boxed.labels)
    with new_folder(out) as unfinished:
        annotations, readable = _write_pictures(boxed, FORMATS[form], unfinished)
        FORMATS[form].write(unfinished, boxed.labels, annotations)
    ignored = sum(int(annotation.ignore.sum()) for annotation in annotations)
    lost = Tally()
    if form == "yolo":
        for annotation in annotations:
            for _ in range(int(annotation.ignore.sum())):
                lost.add("ignored boxes, which YOLO cannot mark", annotation.file)
    return Converted(
        len(annotations),
        sum(len(annotation.classes) for annotation in annotations) - ignored,
        0 if form == "yolo" else ignored,
        (*readable.skipped, *lost.skips()),
    )


def _write_pictures(boxed: BoxedSet, form: _Format, folder: Path) -> tuple[list[Annotation], BoxedSet]:
    """Write every picture that can be read; annotations of those, and the set without the others."""
    stems = _stems(boxed.ids)
    annotations = []
    found = np.zeros(len(boxed), np.bool_)
    for index, field in enumerate(boxed.fields()):
        if field is None:
            continue
        found[index] = True
        split = str(boxed.splits[index])
        file = f"{form.pictures.format(split=split)}/{stems[index]}.png"
        _write_png(field.picture, folder / file)
        annotations.append(_annotation(boxed.truths[index], boxed.labels, file, split))
    return annotations, boxed.readable(found)


def _stems(ids: Sequence[str]) -> list[str]:
    """File names without suffix, no two the same on a file system that does not tell capitals apart."""
    taken: set[str] = set()
    stems = []
    for name in ids:
        path = PurePosixPath(name)
        # Folders that the new set has anyway say nothing twice.
        folders = [part for part in path.parts[:-1] if part not in (*SPLITS, "images")]
        plain = "_".join((*folders, path.stem if path.suffix.lower() in SUFFIXES else path.name))
        stem = base = re.sub(r"[^\w.-]+", "_", plain).strip("._") or "picture"
        number = 2
        while stem.casefold() in taken:
            stem, number = f"{base}-{number}", number + 1
        taken.add(stem.casefold())
        stems.append(stem)
    return stems


def _write_png(picture: View, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, coded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    path.write_bytes(coded.tobytes())


def _annotation(truth: Truth, labels: Sequence[str], file: str, split: str) -> Annotation:
    kinds = (*truth.classes.tolist(), *truth.ignore_classes.tolist())
    return Annotation(
        file=file,
        boxes=np.concatenate([truth.boxes, truth.ignore]).astype(np.float64),
        classes=tuple(labels[kind] for kind in kinds),
        ignore=np.arange(len(kinds)) >= len(truth.classes),
        size=truth.size,
        source=file,
        split=split,
    )
