"""The pictures of a recipe, read once and cut as it says."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgegal.data import LabelRules, PictureSet, Shares, open_dataset, without_leaks
from edgegal.data.boxes import cutout_boxes
from edgegal.data.framing import framed
from edgegal.data.splits import SPLITS
from edgegal.errors import DatasetError
from edgegal.frames import View
from edgegal.labels import UNLABELLED, LabelScheme
from edgegal.training.crossval import fold_splits
from edgegal.training.recipe import Data

__all__ = ["Part", "Prepared", "folded", "prepare"]

_FRAMING_SAMPLE = 100


@dataclass(frozen=True, eq=False)
class Part:
    """One split.

    Attributes
    ----------
    ids
        One a picture.
    pictures
        ``(n, size, size, 3)`` uint8 RGB.
    targets
        ``(n,)`` int32 class indices, or ``(n, classes)`` float32 vote fractions.
    objects
        Which object is on each picture, where several can show the same; empty when the ids say it.
    """

    ids: tuple[str, ...]
    pictures: View
    targets: NDArray[np.int32] | NDArray[np.float32]
    objects: tuple[str, ...] = ()

    @property
    def classes(self) -> NDArray[np.int32]:
        """Class index of each picture ``(n,)``: of fractions the greatest."""
        classes = self.targets if self.targets.ndim == 1 else self.targets.argmax(axis=1)
        return classes.astype(np.int32)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.integer]) -> "Part":
        """The pictures a mask or index array picks, in its order."""
        chosen = np.arange(len(self.ids))[rows]
        ids, objects = (tuple(texts[i] for i in chosen) if texts else () for texts in (self.ids, self.objects))
        return Part(ids, self.pictures[chosen], self.targets[chosen], objects)


@dataclass(frozen=True, eq=False)
class Prepared:
    """All pictures of one ``[data]``.

    Attributes
    ----------
    source
        The set, for provenance.
    scheme
        The classes.
    fractions
        Whether targets are the classes' vote fractions.
    parts
        By split.
    crop_scale
        Side of a crop over the longer side of its galaxy's box: what the device has to cut to show the same.
    digest
        SHA-256 of targets, pictures and splits.
    leaked
        Training pictures left out because another set tests on their galaxies.
    """

    source: PictureSet
    scheme: LabelScheme
    fractions: bool
    parts: Mapping[str, Part]
    crop_scale: float
    digest: str
    leaked: int = 0


def prepare(data: Data, limit: int | None = None, tested: Sequence[PictureSet] = ()) -> Prepared:
    """Open a set and read its pictures.

    Parameters
    ----------
    data
        What to read, and how it is cut.
    limit
        Pictures a split at most, each class in proportion.
    tested
        Sets whose test galaxies must not be trained on; what of them stands in the training part is left out.

    Raises
    ------
    DatasetError
        The set is missing, damaged, without votes where they are needed, or a split is empty.
    InputError
        An unknown scheme or class.
    """
    rules = LabelRules(data.confidence, data.spiral_from)
    shares = None if data.split is None else Shares(*data.split)
    pictures = _without(open_dataset(data.set, data.scheme or None, rules, shares), data.leave_out).subset()
    fractions = data.estimate == "vote fractions"
    if fractions:
        pictures = _voted(pictures)
    given = len(pictures)
    if tested:
        (pictures,) = without_leaks([pictures], tested)
    parts = {}
    for split in SPLITS:
        rows = _limited(np.flatnonzero(pictures.splits == split), pictures.labels, limit)
        if not len(rows):
            raise DatasetError(
                f"{data.set} has no pictures to use in its {split} split", "take another set, scheme or split"
            )
        read, pixels = _cut(pictures.select(rows), data)
        targets = read.votes if fractions and read.votes is not None else read.labels
        parts[split] = Part(read.ids, pixels, targets, _objects(read))
    crop_scale = data.crop_scale or _seen_scale(pictures.subset("train"), data.centre)
    return Prepared(pictures, pictures.scheme, fractions, parts, crop_scale, _digest(parts), given - len(pictures))


def _objects(pictures: PictureSet) -> tuple[str, ...]:
    """The object on each picture, where the set tells; a picture without one shows its own."""
    if not pictures.objects:
        return ()
    return tuple(name or own for name, own in zip(pictures.objects, pictures.ids, strict=True))


def folded(prepared: Prepared, folds: int, seed: int) -> list[Prepared]:
    """The same pictures once for each fold, split anew; all pictures of an object are in one split."""
    whole = _joined([prepared.parts[split] for split in SPLITS])
    found = []
    for splits in fold_splits(whole.classes, folds, seed, whole.objects):
        parts = {split: whole.select(splits == split) for split in SPLITS}
        found.append(replace(prepared, parts=parts, digest=_digest(parts)))
    return found


def _joined(parts: list[Part]) -> Part:
    return Part(
        tuple(i for part in parts for i in part.ids),
        np.concatenate([part.pictures for part in parts]),
        np.concatenate([part.targets for part in parts]),
        tuple(name for part in parts for name in part.objects),
    )


def _voted(pictures: PictureSet) -> PictureSet:
    """Pictures with a vote fraction for each class of their scheme."""
    if pictures.votes is None or pictures.vote_names != pictures.scheme.labels:
        raise DatasetError(
            f"{pictures.name} has no vote fractions of the classes of scheme {pictures.scheme.name!r}",
            "take a set with votes and a scheme such as gz-second-level-4",
        )
    return pictures.select(np.flatnonzero(np.isfinite(pictures.votes).all(axis=1)))


def _without(pictures: PictureSet, leave_out: tuple[str, ...]) -> PictureSet:
    """The set without some of its classes and their pictures."""
    if not leave_out:
        return pictures
    gone = {pictures.scheme.index(label) for label in leave_out}
    kept = [i for i in range(len(pictures.scheme.labels)) if i not in gone]
    table = np.full(len(pictures.scheme.labels) + 1, UNLABELLED, np.int32)
    table[kept] = np.arange(len(kept))
    scheme = LabelScheme(
        f"{pictures.scheme.name}-without-{'-'.join(leave_out)}",
        tuple(pictures.scheme.labels[i] for i in kept),
        pictures.scheme.source,
        pictures.scheme.mirror_safe,
    )
    return replace(pictures, scheme=scheme, labels=table[pictures.labels])


def _limited(rows: NDArray[np.int64], classes: NDArray[np.integer], limit: int | None) -> NDArray[np.int64]:
    """At most so many rows, drawn from each class in proportion, the first of each class before all others."""
    if limit is None or len(rows) <= limit:
        return rows
    shuffled = np.random.default_rng(0).permutation(rows)
    place = np.empty(len(shuffled))
    for label in np.unique(classes[shuffled]):
        members = np.flatnonzero(classes[shuffled] == label)
        place[members] = np.arange(len(members)) / len(members)
    return np.sort(shuffled[np.argsort(place, kind="stable")[:limit]])


def _cut(pictures: PictureSet, data: Data) -> tuple[PictureSet, View]:
    """The readable pictures and their pixels ``(n, size, size, 3)``."""
    if data.crop_scale:
        read, whole = pictures.read()
        return read, framed(whole, data.crop_scale, data.size)
    side = round(data.size / data.centre)
    edge = (side - data.size) // 2
    read, whole = pictures.read(side)
    return read, np.ascontiguousarray(whole[:, edge : edge + data.size, edge : edge + data.size])


def _seen_scale(pictures: PictureSet, centre: float) -> float:
    """Median side of what is cut over the longer side of its galaxy's box, within what a manifest takes."""
    _, sample = pictures.select(np.arange(min(len(pictures), _FRAMING_SAMPLE))).read()
    boxes = [box for picture in sample if (box := cutout_boxes(picture).galaxy) is not None]
    scales = [sample.shape[1] * centre / max(float(b[2] - b[0]), float(b[3] - b[1])) for b in boxes]
    return float(np.clip(np.median(scales), 0.5, 10.0)) if scales else 1.0


def _digest(parts: Mapping[str, Part]) -> str:
    total = hashlib.sha256()
    for split, part in parts.items():
        total.update(f"{split} {len(part.ids)} {part.pictures.shape}".encode())
        total.update("\0".join(part.ids).encode(errors="surrogatepass"))
        total.update(np.ascontiguousarray(part.targets).tobytes())
        total.update(np.ascontiguousarray(part.pictures).tobytes())
    return total.hexdigest()
