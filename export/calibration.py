"""Calibration pictures: what the ranges of integer activations are read from, and where they came from."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription
from edgegal.data.boxed.frames import FrameReader
from edgegal.errors import InputError
from edgegal.export.picture_source import PictureSource, draw
from edgegal.export.progress import Progress, silent
from edgegal.frames import View
from edgegal.preprocess import network_input

__all__ = ["MIN_SAMPLES", "Calibration", "calibrate"]

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
    blank = int(np.sum(pictures.min(axis=(1, 2, 3), initial=255) >= pictures.max(axis=(1, 2, 3), initial=0)))
    if len(pictures) - blank < MIN_SAMPLES:
        constant = f", {blank} of them of one value and without any range," if blank else ""
        raise InputError(
            f"{len(pictures)} calibration pictures from {source}{constant} are too few",
            f"give at least {MIN_SAMPLES} that show something",
        )


def calibrate(
    description: ClassifierDescription | DetectorDescription,
    source: PictureSource,
    samples: int,
    seed: int,
    read_frame: FrameReader | None = None,
    progress: Progress = silent,
) -> Calibration:
    """Calibration pictures for a network; parameters and errors as of `draw`, and those of `Calibration`."""
    drawn = draw(description, source, samples, seed, read_frame, progress)
    return Calibration(drawn.pictures, drawn.dataset, drawn.split, seed)
