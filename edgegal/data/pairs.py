"""Blended pairs: two single galaxies laid over one another, as mergers and close pairs look in a survey's cutouts.

Labelled mergers are few (72 of 4,669 training pictures in ``gz1_6class``), single galaxies are many.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.frames import View

__all__ = ["blended_pairs"]

# Displayed light is compressed, so light that adds up on the detector does not add up here: in between the sum and the
# brighter of the two.
_NORM = 2.0


def blended_pairs(pictures: View, count: int, seed: int) -> View:
    """Draw pairs at random.

    Parameters
    ----------
    pictures
        ``(n, side, side, 3)`` uint8 RGB of single galaxies, each in the middle.
    count
        Pairs to draw.
    seed
        Seed of everything drawn.

    Returns
    -------
    View
        ``(count, side, side, 3)``; the point between the two galaxies lies in the middle.
    """
    return np.stack([_pair(pictures, np.random.default_rng((seed, i))) for i in range(count)])


def _pair(pictures: View, rng: np.random.Generator) -> View:
    side = pictures.shape[1]
    first, second = (pictures[i] for i in rng.choice(len(pictures), 2, replace=False))
    angle = rng.uniform(0, 2 * np.pi)
    # From nearly one body to two that just touch: a galaxy fills about half of a cutout.
    apart = rng.uniform(0.12, 0.36) * side * np.array([np.cos(angle), np.sin(angle)])
    share = rng.uniform(0.3, 0.7)
    light = [
        _moved(first, -share * apart, float(rng.uniform(0.6, 1.0)), rng),
        _moved(second, (1 - share) * apart, float(rng.uniform(0.35, 0.95)), rng),
    ]
    sky = np.median(first[:: side // 16, :: side // 16].reshape(-1, 3), axis=0)
    together = (light[0] ** _NORM + light[1] ** _NORM) ** (1 / _NORM) + sky
    blended: View = np.clip(together, 0, 255).astype(np.uint8)
    return blended


def _moved(picture: View, offset: NDArray[np.float64], scale: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Light above the sky, ``(side, side, 3)`` float32, turned, shrunk, shifted, and sheared as a tide might."""
    side = picture.shape[0]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(0, 360)), scale)
    turn[:, :2] @= np.array([[1, rng.uniform(-0.25, 0.25)], [0, 1]])
    middle = turn[:, :2] @ np.array([side / 2, side / 2]) + turn[:, 2]
    turn[:, 2] += side / 2 - middle + offset
    sky = np.median(picture.reshape(-1, 3), axis=0)
    light = np.clip(picture.astype(np.float32) - sky.astype(np.float32), 0, None) * _window(side)
    return cv2.warpAffine(light, turn, (side, side), flags=cv2.INTER_LINEAR)


def _window(side: int) -> NDArray[np.float32]:
    """1 within, falling to 0 at the edge, ``(side, side, 1)``: no edge of a cutout crosses the pair."""
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    radius = np.hypot(*np.meshgrid(axis, axis))
    return np.clip((0.5 - radius) / 0.1, 0, 1, dtype=np.float32)[..., None]
