"""Calibration pictures: what the ranges of integer activations are read from, and where they came from."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription
from edgegal.data import PictureSet
from edgegal.errors import InputError
from edgegal.frames import View
from edgegal.preprocess import network_input

__all__ = ["MIN_SAMPLES", "Calibration", "calibrate", "network_pictures"]

MIN_SAMPLES = 16
"""Fewer pictures than this do not show a network's range."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Pictures at network input size and where they came from.

    Attributes
    ----------
    pictures
        ``(n, h, w, 3)`` uint8 RGB, at least `MIN_SAMPLES`.
    dataset
        Name of the dataset they were drawn from.
    split
        The split of it: never ``test``, whose accuracy would then be measured on pictures the network was tuned to.
    seed
        Seed they were drawn with.
    """

    pictures: View
    dataset: str
    split: str
    seed: int

    def __post_init__(self) -> None:
        _check_pictures(self.pictures, f"{self.dataset} {self.split}")
        if self.split == "test":
            raise InputError(f"calibration on the test split of {self.dataset} is refused", "take the train split")

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def sha256(self) -> str:
        """Hex hash of shape and pixels."""
        digest = hashlib.sha256(repr(self.pictures.shape).encode())
        digest.update(np.ascontiguousarray(self.pictures).tobytes())
        return digest.hexdigest()

    def batches(self) -> list[NDArray[np.float32]]:
        """Network inputs of one picture each."""
        return [network_input(picture) for picture in self.pictures]


def _check_pictures(pictures: NDArray[Any], source: str) -> None:
    if pictures.dtype.kind == "f" and not np.isfinite(pictures).all():
        raise InputError(f"calibration pictures of {source} hold NaN or infinite values")
    if pictures.dtype != np.uint8:
        raise InputError(f"calibration pictures of {source} are {pictures.dtype}, not uint8")
    if pictures.ndim != 4 or pictures.shape[-1] != 3:
        raise InputError(f"calibration pictures of {source} are {pictures.shape}, not (n, h, w, 3)")
    if len(pictures) < MIN_SAMPLES:
        raise InputError(
            f"{len(pictures)} calibration pictures from {source} are too few", f"give at least {MIN_SAMPLES}"
        )


def network_pictures(
    description: ClassifierDescription | DetectorDescription, dataset: PictureSet, split: str, samples: int, seed: int
) -> View:
    """Pictures as the network will meet them, at its input size.

    A classifier sees galaxies of the dataset, labelled or not, cropped as the device crops them; a detector sees
    fields composed with them, and whole cutouts.

    Parameters
    ----------
    description
        The network.
    dataset
        Where the galaxies come from.
    split
        Split of the dataset.
    samples
        How many pictures; fewer when a classifier's dataset has fewer.
    seed
        Seed of the draw.

    Returns
    -------
    View
        ``(n, h, w, 3)`` uint8 RGB.
    """
    part = dataset.subset(split=split, labelled=False)
    if not len(part):
        raise InputError(f"{dataset.name} has no pictures in its {split} split")
    drawn = np.sort(np.random.default_rng(seed).permutation(len(part))[:samples])
    size = description.preprocess.height
    if isinstance(description, ClassifierDescription):
        from edgegal.data.framing import framed

        return framed(part.select(drawn).read()[1], description.preprocess.crop_scale, size)
    from edgegal.data.mixture import Ingredients, mixed_fields

    ingredients = Ingredients.of([part.select(drawn)], (), (), seed)
    fields = mixed_fields(samples, seed, size, description.preprocess.stretch, ingredients)
    return np.stack([field.picture for field in fields])


def calibrate(
    description: ClassifierDescription | DetectorDescription, dataset: PictureSet, samples: int, seed: int
) -> Calibration:
    """Calibration pictures for a network from the train split of a dataset."""
    pictures = network_pictures(description, dataset, "train", samples, seed)
    composed = isinstance(description, DetectorDescription)
    return Calibration(pictures, f"fields composed with {dataset.name}" if composed else dataset.name, "train", seed)
