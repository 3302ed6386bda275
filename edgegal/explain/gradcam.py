"""Gradient-weighted class-activation maps: which parts of a picture speak for the class a network gave it.

Selvaraju et al. 2017, *Grad-CAM*, as the course project used it: each channel of a convolution's output is weighted by
the gradient of the winning class averaged over space, channels are averaged, what speaks against the class is dropped,
and the map is scaled to 0-1.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from edgegal.explain.gradient import gradient
from edgegal.explain.grid import Grid
from edgegal.explain.probe import Site, chosen_site, map_sites, overridden, recorded
from edgegal.frames import View
from edgegal.preprocess import network_input

__all__ = ["ClassMaps", "grad_cam"]


@dataclass(frozen=True)
class ClassMaps:
    """Maps of a batch of pictures.

    Attributes
    ----------
    heat
        ``(n, rows, columns)`` float32, 0-1, at the resolution of the layer; all 0 where nothing speaks for the class.
        Of the look at the whole picture where the network looks several times.
    classes
        ``(n,)`` int32: the winning class, which the map is of.
    probabilities
        ``(n, classes)`` float32, as the network gives them.
    layer
        Path of the layer looked into.
    grid
        Where the cells of `heat` lie in the network's input.
    """

    heat: NDArray[np.float32]
    classes: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    layer: str
    grid: Grid


def grad_cam(model: keras.Model, pictures: View, layer: str | None = None) -> ClassMaps:
    """Class-activation maps of the winning classes.

    Parameters
    ----------
    model
        A classifier: input ``image``, output ``probabilities``. Models inside it and shortcuts are no hindrance; with a
        shortcut around the layer, a map shows what goes through the layer alone.
    pictures
        ``(n, h, w, 3)`` uint8 RGB at the network's input size.
    layer
        Which maps, by path or name; those of the last activation when None: they are zero where it saw nothing, so that
        heat lies on what was seen and not on what was absent.

    Raises
    ------
    InputError
        The network has no feature maps, or none of that name.
    MissingPartError
        Keras runs on a backend without a gradient here.
    """
    sites = map_sites(model)
    site = chosen_site(sites, layer) if layer is not None else _last_activated(sites)
    batch = network_input(pictures)
    given, (answer,) = recorded(model, (site,), batch)
    probabilities, features = ops.convert_to_numpy(given["probabilities"]), ops.convert_to_numpy(answer)
    classes = probabilities.argmax(axis=1).astype(np.int32)
    winners = np.eye(probabilities.shape[1], dtype=np.float32)[classes]

    def evidence(shift: Any) -> Any:
        # The maps themselves are no input, but what is added to them is.
        with overridden(site.layer, lambda maps, *_: maps + shift):
            found = model(batch, training=False)["probabilities"]
        # The logarithm has the gradient's direction, and keeps its size where the probability is all but 1.
        return ops.sum(ops.log(ops.sum(found * winners, axis=1) + keras.config.epsilon()))

    weights = gradient(evidence, np.zeros_like(features)).mean(axis=(1, 2), keepdims=True)
    heat = np.maximum((features * weights).mean(axis=3), 0)[: len(pictures)]
    highest = heat.max(axis=(1, 2), keepdims=True)
    heat = np.divide(heat, highest, out=np.zeros_like(heat), where=highest > 0)
    return ClassMaps(heat.astype(np.float32), classes, probabilities.astype(np.float32), site.path, site.grid)


_ACTIVATIONS = (layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU, layers.Activation)


def _last_activated(sites: tuple[Site, ...]) -> Site:
    activated = [site for site in sites if _is_activated(site.layer)]
    return (activated or list(sites))[-1]


def _is_activated(layer: Any) -> bool:
    if isinstance(layer, _ACTIVATIONS):
        return True
    return getattr(layer, "activation", keras.activations.linear) is not keras.activations.linear
