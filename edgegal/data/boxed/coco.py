"""COCO JSON: one file for a set; boxes are x, y, width and height from the outer corner of the top-left pixel.

Source: Lin et al. 2014, ECCV; the data format of cocodataset.org.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np
from pydantic import BaseModel, ValidationError

from edgegal.data.boxed.annotations import (
    NO_PICTURE,
    AnnotatedFolder,
    Annotation,
    Tally,
    checked_labels,
    folder_split,
    pictures_below,
    safe_name,
)
from edgegal.data.splits import SPLITS
from edgegal.errors import DatasetError, InputError

__all__ = ["FILE", "read_coco", "write_coco"]

FILE = "annotations.json"
"""What `write_coco` calls the file."""

_Id: TypeAlias = int | str


class _Picture(BaseModel):
    id: _Id
    file_name: str
    width: int
    height: int
    # Not COCO's: readers that do not know it pass it over.
    split: str = ""


class _Category(BaseModel):
    id: _Id
    name: str


class _Box(BaseModel):
    id: _Id
    image_id: _Id
    category_id: _Id
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class _Document(BaseModel):
    images: list[_Picture]
    annotations: list[_Box]
    categories: list[_Category]


def read_coco(path: Path) -> AnnotatedFolder:
    """Read a COCO file of boxes.

    The pictures lie beside the file or below a folder beside it; or, for a file in a folder ``annotations``, beside or
    below a folder beside that. Crowds are ignored boxes. A listed picture without a box is an empty one. Splits are
    those of the key ``split`` that `write_coco` adds, else of folders named ``train``, ``val`` or ``test``.

    Raises
    ------
    DatasetError
        The file is absent or no such JSON; an id or picture stands twice; a box is of a category that is not listed; a
        picture would lie outside the folder; none of the pictures is there.
    """
    document = _load(path)
    names = _names(document, path)
    files = {picture.id: safe_name(picture.file_name, str(path)) for picture in document.images}
    _refuse_twice([picture.id for picture in document.images], path, "picture id")
    _refuse_twice(list(files.values()), path, "picture")
    _refuse_twice([box.id for box in document.annotations], path, "annotation id")
    tally = Tally()
    boxes_of: defaultdict[_Id, list[_Box]] = defaultdict(list)
    for box in document.annotations:
        if box.category_id not in names:
            raise DatasetError(
                f"{path}: annotation {box.id} is of category {box.category_id}, which is not listed",
                "list it under categories",
            )
        if box.image_id in files:
            boxes_of[box.image_id].append(box)
        else:
            tally.add(NO_PICTURE, f"annotation {box.id} of picture {box.image_id}")
    root = _root(path, list(files.values()))
    annotations = []
    for picture in document.images:
        if picture.split not in ("", *SPLITS):
            raise DatasetError(f"{path}: unknown split {picture.split!r}", f"use one of: {', '.join(SPLITS)}")
        if (root / files[picture.id]).is_file():
            annotations.append(_annotation(picture, files[picture.id], boxes_of[picture.id], names))
        else:
            tally.add(NO_PICTURE, files[picture.id])
    bare = tuple(file for file in pictures_below(root) if file not in set(files.values()))
    return AnnotatedFolder(root, tuple(names.values()), tuple(annotations), bare, tally.skips())


def _load(path: Path) -> _Document:
    try:
        return _Document.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise DatasetError(f"{path} is missing", "give the JSON with the annotations") from None
    except IsADirectoryError:
        raise DatasetError(f"{path} is a folder", "give the JSON in it") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise DatasetError(
            f"{path} is not COCO JSON: {f'{place}: ' if place else ''}{first['msg']}",
            "give a file with images, annotations that have a bbox, and categories",
        ) from None


def _names(document: _Document, path: Path) -> dict[_Id, str]:
    """Class by category id, in the order of the file."""
    _refuse_twice([category.id for category in document.categories], path, "category id")
    try:
        labels = checked_labels([category.name.strip() for category in document.categories])
    except InputError as error:
        raise DatasetError(f"{path}: {error.message}", error.mend) from None
    return {category.id: label for category, label in zip(document.categories, labels, strict=True)}


def _refuse_twice(values: Sequence[_Id], path: Path, what: str) -> None:
    if len(set(values)) < len(values):
        seen: set[_Id] = set()
        twice = next(v for v in values if v in seen or seen.add(v))  # type: ignore[func-returns-value]
        raise DatasetError(f"{path}: {what} {twice} stands twice", "give each its own")


def _root(path: Path, files: Sequence[str]) -> Path:
    """The folder that the pictures' names are relative to."""
    bases = [path.parent, path.parent.parent] if path.parent.name == "annotations" else [path.parent]
    folders = [f for base in bases for f in (base, *sorted(p for p in base.iterdir() if p.is_dir()))]
    for folder in folders:
        if any((folder / file).is_file() for file in files):
            return folder
    named = files[0] if files else "picture"
    raise DatasetError(f"no pictures for {path}: no {named} beside it", "put the pictures beside the JSON")


def _annotation(picture: _Picture, file: str, boxes: Sequence[_Box], names: dict[_Id, str]) -> Annotation:
    corners = np.array([box.bbox for box in boxes], np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return Annotation(
        file,
        corners,
        tuple(names[box.category_id] for box in boxes),
        np.array([box.iscrowd != 0 for box in boxes], np.bool_),
        (picture.width, picture.height),
        file,
        picture.split or folder_split(file),
    )


def write_coco(folder: Path, labels: Sequence[str], annotations: Sequence[Annotation]) -> None:
    """Write `FILE`; ids count from 1, as evaluation tools expect.

    Parameters
    ----------
    folder
        Holds the pictures.
    labels
        The classes, in order.
    annotations
        Of pictures in `folder`, with their sizes.
    """
    labels = checked_labels(labels)
    pictures: list[dict[str, object]] = []
    boxes: list[dict[str, object]] = []
    for number, annotation in enumerate(annotations, 1):
        if annotation.size is None:
            raise ValueError(f"{annotation.file} has no size")
        width, height = annotation.size
        name = PurePosixPath(annotation.file).as_posix()
        pictures.append({"id": number, "file_name": name, "width": width, "height": height, "split": annotation.split})
        for box, label, ignore in zip(annotation.boxes, annotation.classes, annotation.ignore, strict=True):
            x, y, wide, high = map(float, (box[0], box[1], box[2] - box[0], box[3] - box[1]))
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": number,
                    "category_id": labels.index(label) + 1,
                    "bbox": [x, y, wide, high],
                    "area": wide * high,
                    "iscrowd": int(ignore),
                }
            )
    categories = [{"id": i, "name": label} for i, label in enumerate(labels, 1)]
    document = {"images": pictures, "annotations": boxes, "categories": categories}
    (folder / FILE).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
