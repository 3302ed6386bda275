"""Pascal VOC XML, one file a picture, as labelImg and others write it.

VOC counts pixels from 1 and its corners are the first and the last pixel of an object: the box of the top-left pixel
alone is 1, 1, 1, 1 there and 0, 0, 1, 1 here. Files written here and looked at in labelImg come back unchanged. A box
drawn in labelImg is read up to a pixel larger on the left and above than it was drawn: that program writes down the
corners that it draws between, cut to whole numbers and not below 1.

Source: Everingham et al. 2010, IJCV 88, 303.
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from xml.parsers import expat

import numpy as np

from edgegal.data.boxed.annotations import (
    NO_PICTURE,
    UNREADABLE,
    AnnotatedFolder,
    Annotation,
    MalformedError,
    Tally,
    checked_labels,
    folder_split,
    pictures_below,
    read_text,
    refuse_shared_pictures,
    safe_name,
)
from edgegal.data.splits import SPLITS
from edgegal.errors import DatasetError

__all__ = ["CLASSES", "read_voc", "write_voc"]

CLASSES = "classes.txt"
"""Class names, one a line, in labelImg's form; VOC itself has no such list."""

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
# Thousands of objects fit; a larger file is none of ours.
_MOST_BYTES = 16 << 20
# Where the pictures of a folder of annotations lie, beside the folder itself.
_PICTURE_FOLDERS = ("JPEGImages", "images")


def read_voc(folder: Path) -> AnnotatedFolder:
    """Read every XML file of a folder and the folders in it.

    A picture lies beside its XML under the name that the XML gives, or under the XML's own; or else in a folder
    ``JPEGImages`` or ``images`` beside that of the XML. Splits are those of ``ImageSets/Main/train.txt`` and so on
    where there are such files, else of folders named ``train``, ``val`` or ``test``. Objects marked difficult are
    ignored ones. The classes come in the order of `CLASSES` where that is there, others in alphabetical order.

    Raises
    ------
    DatasetError
        No such folder, or it holds no XML; two XML files are of one picture, or one names a picture elsewhere.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder", "give the folder with the XML files")
    tally = Tally()
    pictures = pictures_below(folder)
    by_stem = {str(PurePosixPath(p).with_suffix("")): p for p in reversed(pictures)}
    splits = _image_sets(folder)
    annotations = []
    sources = sorted(p for p in folder.rglob("*.xml") if not p.name.startswith("."))
    if not sources:
        raise DatasetError(f"{folder} holds no XML file", "save annotations as Pascal VOC, one XML a picture")
    for path in sources:
        source = path.relative_to(folder).as_posix()
        try:
            tree = _parse(path)
            stated = _text(tree, "filename")
            file = _picture_of(source, safe_name(stated, source) if stated else "", frozenset(pictures), by_stem)
            if not file:
                tally.add(NO_PICTURE, source)
                continue
            split = splits.get(PurePosixPath(source).stem, "") if splits else folder_split(file)
            annotations.append(_annotation(tree, file, source, split))
        except MalformedError as error:
            tally.add(UNREADABLE, f"{source} ({error})")
    refuse_shared_pictures(annotations)
    found = {name for annotation in annotations for name in annotation.classes}
    listed = _listed_classes(folder)
    labels = (*listed, *sorted(found - set(listed)))
    bare = sorted(set(pictures) - {a.file for a in annotations} - _named_by_broken(sources, folder, by_stem))
    return AnnotatedFolder(folder, labels, tuple(annotations), tuple(bare), tally.skips())


def _named_by_broken(sources: Sequence[Path], folder: Path, by_stem: Mapping[str, str]) -> set[str]:
    """Pictures beside an XML file of the same name: somebody annotated them, even where the file is broken."""
    stems = (p.relative_to(folder).with_suffix("").as_posix() for p in sources)
    return {by_stem[stem] for stem in stems if stem in by_stem}


def _parse(path: Path) -> ET.Element:
    """The tree of an XML file without a document type.

    Entities that expand without end, or that read other files, can be declared only in a document type, and no
    labelling program writes one: it is refused where it begins, before anything in it is looked at. That is the
    protection defusedxml gives, without one more package.
    """
    builder = ET.TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = _refuse_document_type
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise MalformedError(f"larger than {_MOST_BYTES >> 20} MiB")
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise MalformedError(f"line {error.lineno}: {expat.ErrorString(error.code)}") from None
    except MalformedError:
        raise
    except (OSError, LookupError, ValueError) as error:
        # An encoding nobody knows, among others.
        raise MalformedError(str(error)) from None
    tree = builder.close()
    if tree.tag != "annotation":
        raise MalformedError(f"a document <{tree.tag}>, not <annotation>")
    return tree


def _refuse_document_type(name: str, *_: object) -> None:
    raise MalformedError(f"declares a document type {name!r}, which annotations have no use for")


def _text(element: ET.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _annotation(tree: ET.Element, file: str, source: str, split: str) -> Annotation:
    boxes, classes, ignore = [], [], []
    for number, item in enumerate(tree.iterfind("object"), 1):
        name = _text(item, "name")
        if not name:
            raise MalformedError(f"object {number} has no name")
        x0, y0, x1, y1 = (_number(item, f"bndbox/{corner}", number) for corner in _CORNERS)
        boxes.append((x0 - 1, y0 - 1, x1, y1))
        classes.append(name)
        ignore.append(_text(item, "difficult") == "1")
    return Annotation(
        file,
        np.array(boxes, np.float64).reshape(-1, 4),
        tuple(classes),
        np.array(ignore, np.bool_),
        _size(tree),
        source,
        split,
    )


def _number(item: ET.Element, path: str, number: int) -> float:
    text = _text(item, path)
    try:
        return float(text)
    except ValueError:
        raise MalformedError(f"object {number}: {path} is {text!r}, not a number") from None


def _size(tree: ET.Element) -> tuple[int, int] | None:
    """Width and height; None when absent or 0, which programs write that did not look."""
    try:
        width, height = int(_text(tree, "size/width")), int(_text(tree, "size/height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None


def _picture_of(source: str, stated: str, pictures: frozenset[str], by_stem: Mapping[str, str]) -> str:
    """The picture that an XML is of; empty when there is none."""
    path = PurePosixPath(source)
    folders = [path.parent, *(path.parent.parent / name for name in _PICTURE_FOLDERS)]
    if stated:
        for folder in folders:
            if str(folder / stated) in pictures:
                return str(folder / stated)
    # Both files were renamed, or the XML gives the name without its suffix.
    return next((by_stem[str(folder / path.stem)] for folder in folders if str(folder / path.stem) in by_stem), "")


def _image_sets(folder: Path) -> dict[str, str]:
    """Split by stem, of VOC's own lists; empty when there are none."""
    splits: dict[str, str] = {}
    for split in SPLITS:
        path = folder / "ImageSets" / "Main" / f"{split}.txt"
        if path.is_file():
            for stem in read_text(path).split():
                if splits.setdefault(stem, split) != split:
                    raise DatasetError(f"{path} has {stem}, and so has {splits[stem]}.txt", "list it once")
    return splits


def _listed_classes(folder: Path) -> tuple[str, ...]:
    path = folder / CLASSES
    if not path.is_file():
        return ()
    lines = read_text(path).splitlines()
    return checked_labels([line.strip() for line in lines if line.strip()])


def write_voc(folder: Path, labels: Sequence[str], annotations: Sequence[Annotation]) -> None:
    """Write an XML beside each picture, and `CLASSES`.

    Boxes are rounded outwards to whole pixels, as VOC and labelImg have them. Objects that touch the border are marked
    truncated.

    Parameters
    ----------
    folder
        Holds the pictures.
    labels
        The classes, in order.
    annotations
        Of pictures in `folder`, with their sizes.
    """
    (folder / CLASSES).write_text("".join(f"{label}\n" for label in checked_labels(labels)), encoding="utf-8")
    for annotation in annotations:
        tree = ET.ElementTree(_tree(annotation))
        ET.indent(tree, "\t")
        path = (folder / annotation.file).with_suffix(".xml")
        tree.write(path, encoding="utf-8", xml_declaration=False)


def _tree(annotation: Annotation) -> ET.Element:
    if annotation.size is None:
        raise ValueError(f"{annotation.file} has no size")
    width, height = annotation.size
    path = PurePosixPath(annotation.file)
    root = ET.Element("annotation")
    _children(root, folder=path.parent.name, filename=path.name)
    _children(ET.SubElement(root, "source"), database="edgegal")
    _children(ET.SubElement(root, "size"), width=width, height=height, depth=3)
    _children(root, segmented=0)
    for box, name, ignore in zip(annotation.boxes, annotation.classes, annotation.ignore, strict=True):
        # A box never rounds to nothing: outwards.
        low, high = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
        truncated = low.min() <= 0 or high[0] >= width or high[1] >= height
        item = ET.SubElement(root, "object")
        _children(item, name=name, pose="Unspecified", truncated=int(truncated), difficult=int(ignore))
        corners = dict(zip(_CORNERS, (*(low + 1), *high), strict=True))
        _children(ET.SubElement(item, "bndbox"), **corners)
    return root


def _children(parent: ET.Element, **texts: object) -> None:
    for tag, text in texts.items():
        ET.SubElement(parent, tag).text = str(text)
