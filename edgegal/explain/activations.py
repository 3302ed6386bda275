"""What each convolution and pooling of a network makes of a picture."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgegal.errors import InputError
from edgegal.explain.probe import CONVOLUTIONS, POOLINGS, chosen_site, map_sites, recorded
from edgegal.frames import View
from edgegal.preprocess import network_input

__all__ = ["LayerMaps", "layer_maps"]


@dataclass(frozen=True)
class LayerMaps:
    """Feature maps of one layer.

    Attributes
    ----------
    layer
        Its path in the network.
    kind
        Its Keras class: ``Conv2D``, ``MaxPooling2D``.
    maps
        ``(n, rows, columns, channels)`` float32, a picture each, as the layer gives them; of the look at the whole
        picture where the network looks several times.
    """

    layer: str
    kind: str
    maps: NDArray[np.float32]


def layer_maps(model: keras.Model, pictures: View, layer: str | None = None) -> list[LayerMaps]:
    """Feature maps of pictures in the order the layers run.

    Parameters
    ----------
    model
        A classifier.
    pictures
        ``(n, h, w, 3)`` uint8 RGB at the network's input size.
    layer
        One layer of any kind that gives maps, by path or name; every convolution and pooling when None.

    Raises
    ------
    InputError
        The network has no feature maps, or none of that name.
    """
    sites = map_sites(model)
    wanted = tuple(s for s in sites if isinstance(s.layer, CONVOLUTIONS + POOLINGS))
    if layer is not None:
        wanted = (chosen_site(sites, layer),)
    if not len(pictures):
        raise InputError("no pictures to look at")
    _, answers = recorded(model, wanted, network_input(pictures))
    return [
        LayerMaps(
            site.path, type(site.layer).__name__, ops.convert_to_numpy(answer)[: len(pictures)].astype(np.float32)
        )
        for site, answer in zip(wanted, answers, strict=True)
    ]
