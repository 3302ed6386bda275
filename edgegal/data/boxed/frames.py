"""A camera's frames as a boxed set: those of `edgegal data simulate`, or any with a truth of the same form."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from pydantic import BaseModel, Field, ValidationError, model_validator
from typing_extensions import Self

from edgegal.data.boxed.annotations import UNREADABLE_PICTURES, Tally, safe_name, sound_boxes
from edgegal.data.boxed.boxed_set import BoxedSet, Truth, refuse_if_most_boxes, split_by_object
from edgegal.data.boxes import SMALLEST_SIDE_PX
from edgegal.data.splits import Shares
from edgegal.errors import DatasetError, FrameError
from edgegal.frames import Frame, View
from edgegal.labels import SCHEMES
from edgegal.preprocess import Stretch, as_view

__all__ = ["FrameReader", "FrameStore", "read_frames"]

FrameReader: TypeAlias = Callable[[Path, int], Frame]
"""Reads a file as a frame, `edgegal.device.sources.files.read_still`: the device's own, so that such a frame takes the
road of one at the telescope. Whoever opens the set hands it over, for data stand beside the device and do not know
it."""


@dataclass(frozen=True)
class FrameStore:
    """Frames of a folder, and of folders in it, as the views that networks see."""

    path: Path
    read: FrameReader
    stretch: Stretch = Stretch()

    def names(self) -> set[str]:
        """All files that are there."""
        return {p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file()}

    def missing(self, files: Sequence[str]) -> set[str]:
        """Those of `files` that are not there."""
        return set(files) - self.names()

    def pixels(self, files: Sequence[str]) -> Iterator[tuple[int, View | None]]:
        """Index into `files` and the view of each, None for one that cannot be read."""
        for index, file in enumerate(files):
            try:
                yield index, as_view(self.read(self.path / file, index), self.stretch)
            except (FrameError, OSError):
                yield index, None

    def checksums(self, files: Sequence[str]) -> Iterator[int]:
        """CRC-32 of the bytes of each file; 0 when unreadable."""
        for file in files:
            try:
                yield zlib.crc32((self.path / file).read_bytes())
            except OSError:
                yield 0


_MEND = "its form is that of truth.json, which edgegal data simulate writes"


class _Object(BaseModel):
    # Null where the object nowhere rises above the noise.
    box: tuple[float, float, float, float] | None
    label: str = Field(SCHEMES["galaxy"].labels[0], alias="class")
    magnitude: float | None = None
    unclear: bool = False


class _FrameTruth(BaseModel):
    file: str
    objects: list[_Object] = []
    galaxies: list[_Object] = []

    @model_validator(mode="after")
    def _says_what_is_there(self) -> Self:
        if not self.model_fields_set & {"objects", "galaxies"}:
            raise ValueError(f"{self.file} has no list of objects; an empty one says that nothing is there")
        return self


class _Truth(BaseModel):
    labels: list[str] = []
    frames: list[_FrameTruth]


def read_frames(
    name: str,
    path: Path,
    folder: Path,
    read: FrameReader,
    stretch: Stretch = Stretch(),
    shares: Shares | None = None,
    one_field: bool = False,
) -> BoxedSet:
    """Read a truth; the frames are looked at once, for their sizes and scales.

    Boxes are cut to their frames. Those without an area or outside are left out, counted and named; so are frames that
    cannot be read.

    Parameters
    ----------
    name
        Name of the set.
    path
        The truth: JSON as `edgegal data simulate` writes it beside its frames. Of each frame the file, and of each
        object in it the box and, where known, class and magnitude, and whether it is unclear.
    folder
        Holds the frames; their files are named relative to it.
    read
        Reads a frame.
    stretch
        Stretch of the views.
    shares
        Shares of the splits, by file.
    one_field
        Whether all frames show the same galaxies, as those of a night do. They are in one split then: ``train``, unless
        `shares` has no such part.

    Raises
    ------
    DatasetError
        There is no truth, it is malformed or names a frame twice; most frames cannot be read, or most boxes are left
        out.
    """
    try:
        truth = _Truth.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(f"{path} is missing", _MEND) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        wrong = f"{place} {first['msg']}".strip()
        raise DatasetError(f"{path} is no truth: {wrong}", _MEND) from None
    frames = truth.frames
    files = [safe_name(frame.file, str(path)) for frame in frames]
    twice = next((file for file in files if files.count(file) > 1), None)
    if twice is not None:
        raise DatasetError(f"{path}: frame {twice} stands twice", "list all its objects in one place")
    found = sorted({entry.label for frame in frames for entry in (*frame.objects, *frame.galaxies)})
    labels = tuple(dict.fromkeys((*truth.labels, *found))) or SCHEMES["galaxy"].labels
    tally = Tally()
    kept, truths = [], []
    for frame, file in zip(frames, files, strict=True):
        try:
            seen = read(folder / file, 0)
        except (FrameError, OSError):
            tally.add(UNREADABLE_PICTURES, file)
            continue
        kept.append(file)
        truths.append(_truth(frame, seen, labels, tally))
    boxes = sum(entry.box is not None for frame in frames for entry in (*frame.objects, *frame.galaxies))
    mend = f"the frames of {path.name} are to be in {folder}"
    refuse_if_most_boxes(name, tally.skips(), len(frames), boxes, mend)
    if not kept:
        raise DatasetError(f"{path} lists no frames", _MEND)
    return BoxedSet(
        name=name,
        labels=labels,
        ids=tuple(kept),
        splits=split_by_object([name] * len(kept) if one_field else kept, truths, shares),
        files=tuple(kept),
        store=FrameStore(folder, read, stretch),
        truths=tuple(truths),
        skipped=tally.skips(),
    )


def _truth(frame: _FrameTruth, seen: Frame, labels: Sequence[str], tally: Tally) -> Truth:
    objects = [entry for entry in (*frame.objects, *frame.galaxies) if entry.box is not None]
    boxes, faults = sound_boxes(np.array([entry.box for entry in objects], np.float64).reshape(-1, 4), *seen.size)
    for number, fault in enumerate(faults, 1):
        if fault:
            tally.add(fault, f"box {number} of {frame.file}")
    good = np.array([not fault for fault in faults], np.bool_)
    classes = np.array([labels.index(entry.label) for entry in objects], np.int32)
    magnitudes = np.array([np.nan if e.magnitude is None else e.magnitude for e in objects], np.float64)
    known = magnitudes[good] if np.isfinite(magnitudes).any() else None
    kept = boxes[good]
    unclear = np.array([entry.unclear for entry in objects], np.bool_)[good]
    unclear |= (kept[:, 2:] - kept[:, :2]).max(axis=1, initial=0) < SMALLEST_SIDE_PX
    return Truth.of(seen.size, kept, classes[good], unclear, known, seen.pixel_scale)
