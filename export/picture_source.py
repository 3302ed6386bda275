"""Pictures by name for calibration and parity, as the network will meet them, at its input size."""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from typing_extensions import Self

from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription
from edgegal.data import PictureSet, open_dataset
from edgegal.data.boxed.boxed_set import BoxedSet
from edgegal.data.boxed.frames import FrameReader
from edgegal.data.boxed.names import is_boxed
from edgegal.data.boxes import SMALLEST_SIDE_PX
from edgegal.data.framing import framed
from edgegal.data.mixture import Ingredients, mixed_fields
from edgegal.data.simulated import simulate_cutouts
from edgegal.data.splits import SPLITS
from edgegal.data.stores import SUFFIXES, FolderStore
from edgegal.data.tables import complete, unsplit
from edgegal.data.windows import random_window
from edgegal.errors import InputError
from edgegal.export.overlap import parts_tested_on, refuse_equal_files, refuse_near_duplicates, without_test_galaxies
from edgegal.export.progress import Progress, silent
from edgegal.frames import View
from edgegal.labels import UNLABELLED, LabelScheme
from edgegal.preprocess import crop_square

__all__ = ["SIMULATED", "Drawn", "PictureSource", "draw", "open_cutouts"]

SIMULATED = "simulated"
"""The simulated sky, drawn here: no set has to be there for it."""

# Far from the seeds that training and evaluation sets draw their simulated pictures with.
_SEED_OFFSET = 20_000_000


@dataclass(frozen=True)
class PictureSource:
    """A split of a set.

    Attributes
    ----------
    name
        What `open_dataset` or `open_boxed` takes, ``folder:DIR`` of pictures without labels, or `SIMULATED`.
    split
        ``train`` or ``val``; ``test`` is refused.
    """

    name: str
    split: str

    def __post_init__(self) -> None:
        if self.split == "test":
            raise InputError(
                f"{self.name}: test pictures are for the final figures, not for calibration or parity",
                f"take {self.name}@train or {self.name}@val",
            )

    def __str__(self) -> str:
        return f"{self.name} {self.split}"

    @classmethod
    def parse(cls, text: str, split: str) -> Self:
        """The source written as ``NAME`` or ``NAME@SPLIT``; `split` is what the first form means."""
        name, _, asked = text.rpartition("@")
        return cls(name, asked) if name and asked in SPLITS else cls(text, split)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Pictures and where they come from.

    Attributes
    ----------
    pictures
        ``(n, h, w, 3)`` uint8 RGB at input size.
    dataset, split
        What to call their source.
    """

    pictures: View
    dataset: str
    split: str

    @property
    def source(self) -> str:
        """Dataset and split in words."""
        return f"{self.dataset} {self.split}"


def draw(
    description: ClassifierDescription | DetectorDescription,
    source: PictureSource,
    samples: int,
    seed: int,
    read_frame: FrameReader | None = None,
    progress: Progress = silent,
) -> Drawn:
    """Draw pictures for a network.

    A classifier sees galaxies, labelled or not, cropped as the device crops them: whole cutouts by their segmentation,
    frames by their boxes. A detector sees windows of frames; fields composed with the galaxies of a set of cutouts.

    Parameters
    ----------
    description
        The network.
    source
        Where from.
    samples
        How many.
    seed
        Seed of the draw.
    read_frame
        Reads frames of ``simulated:DIR`` and ``frames:FILE.json``, see `open_boxed`.
    progress
        Told when there are fewer than asked for, and what was left out because something is tested on it.

    Raises
    ------
    InputError
        The split is empty, or holds what the set, or a set the network learned from, tests on.
    DatasetError, MissingPartError
        As `open_dataset` and `open_boxed`.
    """
    name = source.name
    if source.name == SIMULATED:
        pictures, name = _simulated(description, samples, _drawing_seed(source, seed)), "simulated sky"
    elif is_boxed(source.name):
        pictures = _of_frames(description, source, samples, seed, read_frame)
    else:
        galaxies = _galaxies(description, source, samples, seed, progress)
        if isinstance(description, DetectorDescription):
            ingredients = Ingredients.of([galaxies], (), (), seed)
            pictures = _fields(description, samples, _drawing_seed(source, seed), ingredients)
            name = f"fields composed with {source.name}"
        else:
            pictures = framed(galaxies.read()[1], description.preprocess.crop_scale, description.preprocess.height)
    if len(pictures) < samples:
        progress(f"{source} has {len(pictures)} pictures, fewer than the {samples} asked for: all are taken")
    return Drawn(pictures, name, source.split)


def open_cutouts(name: str) -> PictureSet:
    """The set of pictures called `name`, as `open_dataset`; ``folder:DIR`` may also hold pictures without any label."""
    form, _, location = name.partition(":")
    folder = Path(location)
    if form == "folder" and location and folder.is_dir():
        files = tuple(sorted(p.name for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()))
        if files and not any(p.is_dir() and not p.name.startswith(".") for p in folder.iterdir()):
            return _unlabelled(folder, name, files)
    return open_dataset(name)


def _unlabelled(folder: Path, name: str, files: tuple[str, ...]) -> PictureSet:
    return complete(
        PictureSet(
            name=name,
            scheme=LabelScheme(name, (), "no labels"),
            ids=files,
            labels=np.full(len(files), UNLABELLED, np.int32),
            splits=unsplit(len(files)),
            duplicates=("",) * len(files),
            files=files,
            store=FolderStore(folder),
        )
    )


def _galaxies(
    description: ClassifierDescription | DetectorDescription,
    source: PictureSource,
    samples: int,
    seed: int,
    progress: Progress,
) -> PictureSet:
    dataset = open_cutouts(source.name)
    tests = parts_tested_on(description, dataset, progress)
    part = without_test_galaxies(dataset.subset(source.split, labelled=False), tests, progress)
    _refuse_empty(len(part), source)
    drawn = part.select(np.sort(np.random.default_rng(seed).permutation(len(part))[:samples]))
    refuse_near_duplicates(drawn, tests)
    return drawn


def _refuse_empty(count: int, source: PictureSource) -> None:
    if not count:
        raise InputError(
            f"{source.name} has no pictures in its {source.split} split",
            "name another set or split with --calibration and --parity, as NAME@train or NAME@val",
        )


def _fields(description: DetectorDescription, samples: int, seed: int, ingredients: Ingredients) -> View:
    prepared = description.preprocess
    return np.stack([f.picture for f in mixed_fields(samples, seed, prepared.height, prepared.stretch, ingredients)])


def _simulated(description: ClassifierDescription | DetectorDescription, samples: int, seed: int) -> View:
    if isinstance(description, DetectorDescription):
        return _fields(description, samples, seed, Ingredients())
    prepared = description.preprocess
    return simulate_cutouts(samples, seed, prepared.height, prepared.stretch, prepared.crop_scale)[0]


def _drawing_seed(source: PictureSource, seed: int) -> int:
    """Seed of what is drawn: with one seed for all, fields without a galaxy of the set would stand in two of them."""
    return _SEED_OFFSET + seed + zlib.crc32(str(source).encode())


def _of_frames(
    description: ClassifierDescription | DetectorDescription,
    source: PictureSource,
    samples: int,
    seed: int,
    read_frame: FrameReader | None,
) -> View:
    # Some of its readers need packages that other sets do not.
    from edgegal.data.boxed.registry import open_boxed

    opened = open_boxed(source.name, stretch=description.preprocess.stretch, read_frame=read_frame)
    part = opened.subset(source.split)
    _refuse_empty(len(part), source)
    refuse_equal_files(opened, source.split)
    rng = np.random.default_rng(seed)
    drawn = part.select(rng.permutation(len(part))[:samples])
    size = description.preprocess.height
    if isinstance(description, DetectorDescription):
        views = list(islice(_windows(drawn, size, math.ceil(samples / len(drawn)), rng), samples))
    else:
        views = list(islice(_crops(drawn, description.preprocess.crop_scale, size), samples))
    if not views:
        raise InputError(f"{source} shows nothing to cut out", "name a set of cutouts, or frames with boxes")
    return np.stack(views)


def _windows(frames: BoxedSet, size: int, each: int, rng: np.random.Generator) -> Iterator[View]:
    """Windows as detectors learn from, `each` of every readable frame."""
    for frame in frames.fields():
        if frame is not None:
            yield from (random_window(frame, size, rng, SMALLEST_SIDE_PX).picture for _ in range(each))


def _crops(frames: BoxedSet, scale: float, size: int) -> Iterator[View]:
    """Galaxies cut out by their boxes."""
    for frame in frames.fields():
        if frame is None:
            continue
        for x0, y0, x1, y1 in frame.boxes:
            yield crop_square(frame.picture, ((x0 + x1) / 2, (y0 + y1) / 2), float(max(x1 - x0, y1 - y0)) * scale, size)
