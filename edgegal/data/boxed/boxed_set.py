"""A table of pictures with boxes; the pixels stay in their files until asked for."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgegal.data.boxed.annotations import (
    UNREADABLE_PICTURES,
    AnnotatedFolder,
    Annotation,
    Tally,
    picture_size,
    sound_boxes,
)
from edgegal.data.fields import Field
from edgegal.data.pictures import Skip, refuse_if_most
from edgegal.data.splits import SPLITS, Shares, assign_splits
from edgegal.data.stores import FolderStore, Store
from edgegal.errors import DatasetError
from edgegal.labels import UNLABELLED

__all__ = ["EVERY_OTHER", "BoxedSet", "Truth", "boxed_folder", "refuse_if_most_boxes", "split_by_object"]

EVERY_OTHER = "*"
"""Key of a class map that stands for all classes it does not name."""

_RESIZED = "pictures of another size than their annotation says"
_UNANNOTATED = "pictures without an annotation"
# As many pictures are read at once as stay small in memory.
_CHUNK = 64
_LARGEST_BROKEN_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Truth:
    """What is on one picture.

    Attributes
    ----------
    size
        Width and height of the picture, pixels.
    boxes
        ``(n, 4)`` float32 x0, y0, x1, y1, each with an area within the picture.
    classes
        ``(n,)`` int32 indices into the set's labels.
    ignore
        ``(m, 4)`` float32 boxes that count neither way.
    ignore_classes
        ``(m,)`` int32 what these would count as.
    magnitudes
        ``(n,)`` float64, NaN where unknown; None when nobody knows any.
    pixel_scale
        Arc seconds per pixel, if known.
    """

    size: tuple[int, int]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int32]
    ignore: NDArray[np.float32]
    ignore_classes: NDArray[np.int32]
    magnitudes: NDArray[np.float64] | None = None
    pixel_scale: float | None = None

    @classmethod
    def of(
        cls,
        size: tuple[int, int],
        boxes: NDArray[np.float32],
        classes: NDArray[np.integer],
        ignore: NDArray[np.bool_],
        magnitudes: NDArray[np.float64] | None = None,
        pixel_scale: float | None = None,
    ) -> "Truth":
        """The truth of boxes of which some, as `ignore` says, count neither way."""
        kinds = classes.astype(np.int32)
        known = None if magnitudes is None else magnitudes[~ignore]
        return cls(size, boxes[~ignore], kinds[~ignore], boxes[ignore], kinds[ignore], known, pixel_scale)

    def reclassed(self, table: NDArray[np.int32]) -> "Truth":
        """With class ``table[c]`` for c; boxes that become `UNLABELLED` are no longer there."""
        classes, ignored = table[self.classes], table[self.ignore_classes]
        keep, keep_ignored = classes != UNLABELLED, ignored != UNLABELLED
        return replace(
            self,
            boxes=self.boxes[keep],
            classes=classes[keep],
            ignore=self.ignore[keep_ignored],
            ignore_classes=ignored[keep_ignored],
            magnitudes=None if self.magnitudes is None else self.magnitudes[keep],
        )


@dataclass(frozen=True, eq=False)
class BoxedSet:
    """Pictures with boxes.

    Iterating gives a `Field` for each picture, in order, at its own size; `DatasetError` at one that cannot be read.

    Attributes
    ----------
    name
        What it was opened as.
    labels
        Class names; the position is the class index.
    ids
        One id a picture, unique.
    splits
        ``(n,)`` strings, each of `SPLITS`.
    files
        Names in `store`.
    store
        Where the files lie.
    truths
        What is on each picture.
    skipped
        What was left out when the set was opened or read.
    """

    name: str
    labels: tuple[str, ...]
    ids: tuple[str, ...]
    splits: NDArray[np.str_]
    files: tuple[str, ...]
    store: Store
    truths: tuple[Truth, ...]
    skipped: tuple[Skip, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Field]:
        for i, field in enumerate(self.fields()):
            if field is None:
                raise DatasetError(
                    f"{self.name}: {self.files[i]} cannot be read", f"replace the damaged file in {self.store.path}"
                )
            yield field

    def select(self, keep: NDArray[np.bool_] | NDArray[np.integer]) -> "BoxedSet":
        """The pictures a mask or index array picks, in its order."""
        rows = np.arange(len(self))[keep]
        return replace(
            self,
            ids=tuple(self.ids[i] for i in rows),
            splits=self.splits[rows],
            files=tuple(self.files[i] for i in rows),
            truths=tuple(self.truths[i] for i in rows),
        )

    def subset(self, split: str | None = None) -> "BoxedSet":
        """The pictures of one split, all when None; `DatasetError` when `split` is none of `SPLITS`."""
        if split is None:
            return self
        if split not in SPLITS:
            raise DatasetError(f"no split {split!r}", f"use one of: {', '.join(SPLITS)}")
        return self.select(self.splits == split)

    def with_splits(self, splits: NDArray[np.str_]) -> "BoxedSet":
        """The same pictures, split otherwise; ``(n,)`` strings, each of `SPLITS`."""
        return replace(self, splits=splits)

    def mapped(self, class_map: Mapping[str, str], labels: Sequence[str] | None = None) -> "BoxedSet":
        """The same pictures in other classes.

        Parameters
        ----------
        class_map
            New name of each class; an empty one takes its boxes away, so that they count as sky. `EVERY_OTHER` stands
            for all classes that the map does not name. A class that already has a name of the result needs no entry,
            and no map is needed where the set has one class and `labels` is one.
        labels
            Classes of the result, in order, as a detector has them; when None, those that the map leads to, in the
            order of the set.

        Raises
        ------
        DatasetError
            A class with boxes is not in the map, or leads to none of `labels`; an entry is of no class of the set.
        """
        if labels is not None and len(labels) == len(self.labels) == 1 and not class_map:
            class_map = {self.labels[0]: labels[0]}
        strange = [name for name in class_map if name not in (*self.labels, EVERY_OTHER)]
        if strange:
            raise DatasetError(
                f"{self.name} has no class {strange[0]!r} to map", f"it has: {', '.join(self.labels) or 'none'}"
            )
        wanted = tuple(labels) if labels is not None else _leads_to(class_map, self.labels)
        table = np.full(len(self.labels), UNLABELLED, np.int32)
        used = {int(c) for truth in self.truths for c in (*truth.classes, *truth.ignore_classes)}
        dropped = Tally()
        for index, label in enumerate(self.labels):
            target = class_map.get(label, label if label in wanted else class_map.get(EVERY_OTHER, label))
            if target in wanted:
                table[index] = wanted.index(target)
            elif target and index in used:
                raise DatasetError(
                    f"{self.name}: class {label!r} is none of: {', '.join(wanted)}",
                    f"map it: --class-map '{label}={wanted[0] if wanted else 'galaxy'}', or to nothing: '{label}='",
                )
        for name, truth in zip(self.ids, self.truths, strict=True):
            for c in truth.classes[table[truth.classes] == UNLABELLED]:
                dropped.add(f"boxes of class {self.labels[c]}, mapped to nothing", name)
        truths = tuple(truth.reclassed(table) for truth in self.truths)
        return replace(self, labels=wanted, truths=truths, skipped=(*self.skipped, *dropped.skips()))

    def read(self) -> tuple["BoxedSet", list[Field]]:
        """Read the pixels and leave out what cannot be read.

        Returns
        -------
        tuple
            The set of the readable pictures, in order, and a field for each. What was left out is named in a warning
            and in `skipped`.

        Raises
        ------
        DatasetError
            More than half cannot be read.
        """
        fields = list(self.fields())
        readable = self.readable(np.array([field is not None for field in fields], np.bool_))
        return readable, [field for field in fields if field is not None]

    def readable(self, found: NDArray[np.bool_]) -> "BoxedSet":
        """The pictures that could be read, as `read` says; ``(n,)`` whether each was."""
        if found.all():
            return self
        skip = Skip(UNREADABLE_PICTURES, tuple(self.files[i] for i in np.flatnonzero(~found)))
        refuse_if_most(self.name, skip, len(self), f"replace the damaged files in {self.store.path}")
        return replace(self.select(found), skipped=(*self.skipped, skip))

    def fields(self) -> Iterator[Field | None]:
        """A field for each picture, in order, at its own size; None for one that cannot be read.

        One of another size than when the set was opened counts as unreadable: its boxes are of another picture.
        """
        for start in range(0, len(self), _CHUNK):
            files = self.files[start : start + _CHUNK]
            pixels = dict(self.store.pixels(files))
            for offset, truth in enumerate(self.truths[start : start + _CHUNK]):
                picture = pixels[offset]
                if picture is None or (picture.shape[1], picture.shape[0]) != truth.size:
                    yield None
                    continue
                yield Field(picture, truth.boxes, truth.ignore, truth.classes, truth.magnitudes, truth.pixel_scale)

    def digest(self) -> str:
        """sha256 of class names, ids, splits, boxes and the CRC-32 of every file, in order."""
        total = hashlib.sha256("\0".join(self.labels).encode())
        rows = zip(self.ids, self.splits, self.store.checksums(self.files), self.truths, strict=True)
        for name, split, checksum, truth in rows:
            total.update(f"{name}\0{split}\0{checksum}\0{truth.size}\n".encode(errors="surrogatepass"))
            for array in (truth.boxes, truth.classes, truth.ignore, truth.ignore_classes):
                total.update(f"{len(array)}\0".encode() + np.ascontiguousarray(array).tobytes())
        return total.hexdigest()


def _leads_to(class_map: Mapping[str, str], labels: Sequence[str]) -> tuple[str, ...]:
    """The names that classes have after a map, in the order of those that first come to them."""
    every_other = class_map.get(EVERY_OTHER)
    targets = set(class_map.values())
    reached = (
        class_map.get(label, label if label in targets or every_other is None else every_other) for label in labels
    )
    return tuple(dict.fromkeys(target for target in reached if target))


def split_by_object(objects: Sequence[str], truths: Sequence[Truth], shares: Shares | None) -> NDArray[np.str_]:
    """Splits by object; pictures with a box of a class, by the lowest, and pictures with none in the same shares."""
    strata = np.array([truth.classes.min(initial=np.iinfo(np.int32).max) for truth in truths], np.int64)
    return assign_splits(objects, strata, shares or Shares())


def boxed_folder(
    name: str, found: AnnotatedFolder, shares: Shares | None = None, unannotated_empty: bool = False
) -> BoxedSet:
    """A set from annotations and the pictures beside them.

    Boxes are cut to their pictures. Those without an area, outside, or with corners that are no numbers are left out,
    counted and named; so are pictures that cannot be read or have another size than their annotation says.

    Parameters
    ----------
    name
        Name of the set.
    found
        What a reader found.
    shares
        Shares of the splits, by picture, where the set gives none; 70/15/15 when None.
    unannotated_empty
        Whether a picture without an annotation is one with nothing on it. Otherwise it is left out.

    Raises
    ------
    DatasetError
        There are no pictures, most are left out, most boxes are, or some pictures only have a split.
    """
    annotations = [*found.annotations, *(Annotation.empty(file) for file in found.bare if unannotated_empty)]
    annotations.sort(key=lambda annotation: annotation.file)
    tally = Tally()
    kept, truths = [], []
    for annotation in annotations:
        size = picture_size(found.path / annotation.file)
        if size is None:
            tally.add(UNREADABLE_PICTURES, annotation.file)
        elif annotation.size is not None and annotation.size != size:
            stated, real = (f"{width} x {height}" for width, height in (annotation.size, size))
            tally.add(_RESIZED, f"{annotation.file} ({stated} stated, {real} found)")
        else:
            kept.append(annotation)
            truths.append(_truth(annotation, size, found.labels, tally))
    skips = (*found.skipped, *tally.skips())
    pictures = len(annotations) + sum(len(skip.names) for skip in found.skipped)
    boxes = sum(len(annotation.classes) for annotation in kept)
    refuse_if_most_boxes(name, skips, pictures, boxes, "mend or remove them")
    if not kept:
        raise DatasetError(
            f"{name} holds no annotated pictures",
            "annotate some; an empty annotation says that nothing is on a picture",
        )
    bare = Skip(_UNANNOTATED, found.bare)
    return BoxedSet(
        name=name,
        labels=found.labels,
        ids=tuple(annotation.file for annotation in kept),
        splits=_splits(name, kept, truths, shares),
        files=tuple(annotation.file for annotation in kept),
        store=FolderStore(found.path),
        truths=tuple(truths),
        skipped=(*skips, *([bare] if found.bare and not unannotated_empty else [])),
    )


def _truth(annotation: Annotation, size: tuple[int, int], labels: Sequence[str], tally: Tally) -> Truth:
    boxes, faults = sound_boxes(annotation.boxes, *size)
    for number, fault in enumerate(faults, 1):
        if fault:
            tally.add(fault, f"box {number} of {annotation.source or annotation.file}")
    good = np.array([not fault for fault in faults], np.bool_)
    classes = np.array([labels.index(name) for name in annotation.classes], np.int32)
    return Truth.of(size, boxes[good], classes[good], annotation.ignore[good])


def refuse_if_most_boxes(name: str, skips: Sequence[Skip], pictures: int, boxes: int, mend: str) -> None:
    """As `refuse_if_most`, of pictures or of boxes, whichever a reason is of; `mend` is for pictures."""
    for skip in skips:
        if not skip.reason.startswith("boxes"):
            refuse_if_most(name, skip, pictures, mend)
        elif len(skip.names) > _LARGEST_BROKEN_SHARE * boxes:
            raise DatasetError(f"{name}: of {boxes} boxes, {skip}", "look at the unit and the order of the corners")


def _splits(
    name: str, annotations: Sequence[Annotation], truths: Sequence[Truth], shares: Shares | None
) -> NDArray[np.str_]:
    given = [annotation.split for annotation in annotations]
    if not any(given):
        return split_by_object([annotation.file for annotation in annotations], truths, shares)
    if not all(given):
        stray = annotations[given.index("")].file
        raise DatasetError(f"{name}: {stray} is in no split, and others are", "put all in one, or none")
    return np.array(given, np.str_)
