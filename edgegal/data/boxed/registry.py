"""Boxed sets by name, such as ``voc:DIR`` and ``cutouts:NAME``: `edgegal.data.boxed.names` has all forms."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgegal.data.boxed.boxed_set import EVERY_OTHER, BoxedSet, boxed_folder
from edgegal.data.boxed.coco import read_coco
from edgegal.data.boxed.frames import FrameReader, read_frames
from edgegal.data.boxed.names import FORMS, is_boxed, parse_class_map
from edgegal.data.boxed.voc import read_voc
from edgegal.data.boxed.yolo import read_yolo
from edgegal.data.pictures import PictureSet
from edgegal.data.registry import bare_name, open_dataset, parse_split
from edgegal.data.simulation import TRUTH
from edgegal.data.splits import Shares, read_split
from edgegal.errors import DatasetError, InputError
from edgegal.preprocess import Stretch

__all__ = ["galaxies_of", "is_boxed", "open_all", "open_boxed", "parse_class_map"]

_OF_CUTOUTS = ("cutouts", "composed")
_JSON = ".json"
_READERS = {"voc": read_voc, "coco": read_coco, "yolo": read_yolo}


def open_boxed(
    name: str,
    class_map: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    shares: Shares | None = None,
    split: Path | None = None,
    unannotated_empty: bool = False,
    stretch: Stretch = Stretch(),
    read_frame: FrameReader | None = None,
) -> BoxedSet:
    """Open a set of pictures with boxes.

    Parameters
    ----------
    name
        ``voc:DIR``, ``coco:FILE.json``, ``yolo:DIR`` or ``yolo:DATA.yaml``; ``cutouts:NAME`` with any name that
        `open_dataset` takes, whose galaxies are boxed by segmentation; ``composed:NAME`` or ``composed:NAME,COUNT``,
        fields composed with its test galaxies; ``simulated:DIR`` that `edgegal data simulate` wrote;
        ``frames:FILE.json`` with the boxes of any frames in the same form, which lie beside the file, or
        ``frames:FILE.json,DIR`` in a folder. ``@FILE.json`` after any of them says its split, after NAME in
        ``composed:NAME@FILE.json,COUNT``.
    class_map, labels
        See `BoxedSet.mapped`. Without both the set keeps its own classes.
    shares
        Shares of the splits, 70/15/15 when None; a set that brings a split keeps it.
    split
        File of `edgegal data split` that says the splits, where the name does not.
    unannotated_empty
        Whether a picture without an annotation is one with nothing on it; otherwise it is left out.
    stretch
        Stretch of the views, for composed fields and frames of a camera.
    read_frame
        Reads these, see `FrameReader`; no other set needs it.

    Raises
    ------
    DatasetError
        No such set, or it is damaged; a class is not in the map.
    InputError
        The split is said twice.
    MissingPartError
        The set needs a package that is not installed.
    """
    bare, split = _bare_and_split(name, shares, split)
    opened = replace(_opened(bare, shares, unannotated_empty, stretch, read_frame), name=name)
    if split is not None:
        opened = opened.with_splits(read_split(split, opened.ids))
    return opened.mapped(class_map or {}, labels) if class_map or labels is not None else opened


def open_all(
    names: Sequence[str],
    class_map: Mapping[str, str],
    labels: Sequence[str],
    stretch: Stretch = Stretch(),
    read_frame: FrameReader | None = None,
    unannotated_empty: bool = False,
) -> list[BoxedSet]:
    """Open several sets in the same classes: each takes from the map what is of its own classes.

    Parameters are those of `open_boxed`.

    Raises
    ------
    DatasetError
        As there; or an entry of the map is of no class of any set.
    InputError
        There are no sets, and something was said of how to read them.
    """
    if not names and (class_map or unannotated_empty):
        option = "--class-map" if class_map else "--unannotated-empty"
        raise InputError(f"{option} is for sets of pictures with boxes, and none is named", "leave it out")
    sets = [open_boxed(n, unannotated_empty=unannotated_empty, stretch=stretch, read_frame=read_frame) for n in names]
    known = {label for one in sets for label in one.labels} | {EVERY_OTHER}
    strange = [name for name in class_map if name not in known]
    if strange:
        raise DatasetError(
            f"no set has a class {strange[0]!r} to map", f"they have: {', '.join(sorted(known - {EVERY_OTHER}))}"
        )
    return [one.mapped({k: v for k, v in class_map.items() if k in (*one.labels, EVERY_OTHER)}, labels) for one in sets]


def _opened(
    name: str, shares: Shares | None, unannotated_empty: bool, stretch: Stretch, read_frame: FrameReader | None
) -> BoxedSet:
    form, _, location = name.partition(":")
    if form not in FORMS or not location:
        raise DatasetError(
            f"{name!r} is no set with boxes",
            "give voc:DIR, coco:FILE.json, yolo:DIR, cutouts:NAME, composed:NAME, simulated:DIR or frames:FILE.json",
        )
    if form == "cutouts":
        # sep is imported for this form alone.
        from edgegal.data.boxed.cutouts import boxed_cutouts

        return boxed_cutouts(name, open_dataset(location, shares=shares))
    if form == "composed":
        from edgegal.data.boxed.composed import COMPOSED, composed_set

        dataset, count = _dataset_and_count(location)
        return composed_set(name, open_dataset(dataset), COMPOSED if count is None else count, stretch)
    if form in ("simulated", "frames"):
        if read_frame is None:
            raise ValueError(f"{name} needs read_frame")
        night = form == "simulated"
        truth, folder = (Path(location) / TRUTH, Path(location)) if night else _truth_and_folder(location)
        return read_frames(name, truth, folder, read_frame, stretch, shares, one_field=night)
    return boxed_folder(name, _READERS[form](Path(location)), shares, unannotated_empty)


def _bare_and_split(name: str, shares: Shares | None, split: Path | None) -> tuple[str, Path | None]:
    """A name as its own form is written, and the split to give the set."""
    form, _, location = name.partition(":")
    if form in _OF_CUTOUTS:
        # `open_dataset` takes the split that the name says.
        parse_split(location if form == "cutouts" else _dataset_and_count(location)[0], None, split)
        return name, split
    if form in ("coco", "frames") and _JSON not in bare_name(name):
        # What ends in .json is the set itself, below a folder with such a sign in its name.
        return name, split
    return parse_split(name, shares, split)


def galaxies_of(name: str) -> PictureSet | None:
    """The set that a boxed set has its galaxies from; None where it is no set of cutouts. Errors as `open_dataset`."""
    form, _, location = name.partition(":")
    if form not in _OF_CUTOUTS:
        return None
    return open_dataset(location if form == "cutouts" else _dataset_and_count(location)[0])


def _dataset_and_count(location: str) -> tuple[str, int | None]:
    """The parts of ``composed:NAME,COUNT``."""
    dataset, _, count = location.rpartition(",")
    return (dataset, int(count)) if count.isdecimal() else (location, None)


def _truth_and_folder(location: str) -> tuple[Path, Path]:
    """The truth and the folder of its frames: beside it unless the name says where."""
    if location.endswith(_JSON):
        return Path(location), Path(location).parent
    truth, comma, folder = location.partition(f"{_JSON},")
    if not comma or not folder:
        raise DatasetError(
            f"frames:{location} names no boxes of frames", "give frames:FILE.json or frames:FILE.json,DIR"
        )
    return Path(truth + _JSON), Path(folder)
