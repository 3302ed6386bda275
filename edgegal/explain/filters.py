"""What the filters of a layer look for: pictures that excite them, climbed to from noise.

Gradient ascent on the input (Erhan et al. 2009, *Visualizing higher-layer features of a deep network*), with the
jitter and blur that Yosinski et al. 2015 (arXiv:1506.06579) and Mordvintsev et al. 2015 found to keep pictures smooth.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgegal.errors import InputError
from edgegal.explain.gradient import gradient
from edgegal.explain.probe import CONVOLUTIONS, Site, chosen_site, map_sites, recorded
from edgegal.frames import View

__all__ = ["Ascent", "FilterPictures", "climb"]


@dataclass(frozen=True)
class Ascent:
    """How pictures are climbed to.

    Attributes
    ----------
    steps
        Number of steps.
    rate
        Size of a step: mean change of a pixel in counts of 0-255.
    jitter
        Pixels, at most, by which the picture is shifted before a step and back after; 0 for none.
    blur
        Standard deviation in pixels of the blur after a step; 0 for none.
    seed
        Of the noise and the shifts.
    """

    steps: int = 60
    rate: float = 6.0
    jitter: int = 2
    blur: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.rate <= 0 or self.jitter < 0 or self.blur < 0:
            raise InputError(
                f"no ascent with {self.steps} steps of {self.rate}, jitter {self.jitter}, blur {self.blur}",
                "give at least one step of a rate above 0, jitter and blur 0 or more",
            )


@dataclass(frozen=True)
class FilterPictures:
    """Pictures that excite filters.

    Attributes
    ----------
    layer
        Path of the layer.
    pictures
        ``(n, h, w, 3)`` uint8 RGB, of the first n filters.
    before, after
        ``(n,)`` mean activation of each filter by the noise it began with and by its picture.
    """

    layer: str
    pictures: View
    before: NDArray[np.float32]
    after: NDArray[np.float32]


_FREE = 0.25
"""Share of the steps, the last ones, without jitter and blur: these find a smooth shape, those what it lacks."""

_GREY, _NOISE = 127.5, 12.0
"""Where pictures begin: even grey with some noise on it."""


def climb(model: keras.Model, layer: str | None = None, count: int = 8, ascent: Ascent = Ascent()) -> FilterPictures:
    """Climb to a picture for each of the first `count` filters of a layer.

    Parameters
    ----------
    model
        A classifier.
    layer
        Which, by path or name; the last convolution when None.
    count
        Filters; fewer where the layer has fewer.
    ascent
        How.

    Raises
    ------
    InputError
        The network has no feature maps, or none of that name.
    MissingPartError
        Keras runs on a backend without a gradient here.
    """
    sites = map_sites(model)
    convolutions = [s for s in sites if isinstance(s.layer, CONVOLUTIONS)]
    # A network may begin with the one convolution that gives maps; it is then the last as well.
    site = chosen_site(sites, layer) if layer is not None else (convolutions or list(sites))[-1]
    count = min(count, site.shape[2])
    rng = np.random.default_rng(ascent.seed)
    size = tuple(int(side) for side in model.inputs[0].shape[1:])
    pictures = (_GREY + rng.normal(0, _NOISE, (count, *size))).astype(np.float32)
    before = _excitement(model, site, pictures)

    def total(at: Any) -> Any:
        _, (maps,) = recorded(model, (site,), at)
        return ops.sum(_of_own_filter(maps, count))

    for step in range(ascent.steps):
        free = step >= (1 - _FREE) * ascent.steps
        shift = np.zeros(2, int) if free else rng.integers(-ascent.jitter, ascent.jitter + 1, 2)
        pictures = np.roll(pictures, shift, axis=(1, 2))
        slope = gradient(total, pictures)
        size_of = np.abs(slope).mean(axis=(1, 2, 3), keepdims=True)
        # A filter that the noise leaves cold has no slope: it starts again from another, stronger one.
        silent = size_of[:, 0, 0, 0] < 1e-12
        pictures += ascent.rate * np.divide(slope, size_of, out=np.zeros_like(slope), where=size_of >= 1e-12)
        pictures[silent] = _GREY + rng.normal(0, 4 * _NOISE, (int(silent.sum()), *size))
        pictures = np.roll(pictures, -shift, axis=(1, 2))
        if ascent.blur and not free:
            pictures = np.stack([cv2.GaussianBlur(p, (0, 0), ascent.blur) for p in pictures])
        pictures = np.clip(pictures, 0, 255).astype(np.float32)
    shown = np.rint(pictures).astype(np.uint8)
    return FilterPictures(site.path, shown, before, _excitement(model, site, shown.astype(np.float32)))


def _of_own_filter(maps: Any, count: int) -> Any:
    """Mean activation ``(count,)``: of the first picture by the first filter, of the second by the second ..."""
    return ops.diagonal(ops.mean(maps, axis=(1, 2))[:, :count])


def _excitement(model: keras.Model, site: Site, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    _, (maps,) = recorded(model, (site,), pictures)
    found: NDArray[np.float32] = ops.convert_to_numpy(_of_own_filter(maps, len(pictures)))
    return found
