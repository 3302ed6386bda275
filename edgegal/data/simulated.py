"""Simulated cutouts of single galaxies, framed as the real ones are: for evaluation sets that may travel."""

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.frames import View
from edgegal.preprocess import Stretch, stretch_linear
from edgegal.sky import KINDS, draw_stars, galaxy_of_side

__all__ = ["simulate_cutouts"]


def simulate_cutouts(
    count: int, seed: int, size: int, stretch: Stretch, crop_scale: float
) -> tuple[View, NDArray[np.int32]]:
    """Draw galaxies of all kinds in turn.

    Parameters
    ----------
    count
        How many.
    seed
        Seed of everything drawn.
    size
        Side of the cutouts in pixels.
    stretch
        Stretch of the device.
    crop_scale
        Side of a cutout over the longer side of its galaxy's box, on average.

    Returns
    -------
    pictures
        ``(count, size, size, 3)`` uint8 RGB.
    labels
        ``(count,)`` int32 indices into `edgegal.sky.KINDS`, the labels of scheme ``gz2-5class``.
    """
    labels = (np.arange(count) % len(KINDS)).astype(np.int32)
    return np.stack([_cutout(int(k), size, stretch, crop_scale, seed, i) for i, k in enumerate(labels)]), labels


def _cutout(kind: int, size: int, stretch: Stretch, crop_scale: float, seed: int, index: int) -> View:
    rng = np.random.default_rng((seed, index))
    seeing = float(rng.uniform(1.5, 5.0)) * size / 128
    side = size / crop_scale * float(rng.uniform(0.75, 1.25))
    light = draw_stars((size, size), int(rng.integers(0, 6)), seeing, float(10 ** rng.uniform(1.5, 3)), rng)
    galaxy = galaxy_of_side(kind, side, seeing, 1.0, rng)
    half = galaxy.shape[0] // 2
    centre = size / 2 + rng.normal(0, size / 64, 2)
    shift = np.array([[1, 0, centre[0] - half], [0, 1, centre[1] - half]], np.float32)
    light += cv2.warpAffine(galaxy, shift, (size, size))
    noise = rng.standard_normal(light.shape, np.float32)
    blur = rng.uniform(0, 1.2)
    if blur > 0.4:
        noise = cv2.GaussianBlur(noise, (0, 0), blur)
        noise /= noise.std()
    return stretch_linear(light + noise, stretch)
