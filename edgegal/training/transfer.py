"""Transfer: a network starts from the weights of another, and training moves some of its layers only."""

from typing import Any, Literal

import keras

from edgegal.errors import InputError

__all__ = ["HEAD", "Tune", "start_from", "train_only"]

Tune = Literal["none", "dense", "last two convolutions", "as built"]

HEAD = "logits"
"""Name of the layer that knows the classes; networks of other classes cannot share it."""


def start_from(model: keras.Model, source: keras.Model, same_classes: bool) -> bool:
    """Copy weights from `source` into `model`, layer by layer of the same name.

    Parameters
    ----------
    model, source
        The same architecture at the same input size; only the layer `HEAD` may differ in shape.
    same_classes
        Whether both tell the same classes in the same order. If not, `HEAD` keeps its fresh weights.

    Returns
    -------
    bool
        Whether `HEAD` was copied too.

    Raises
    ------
    InputError
        The architectures differ.
    """
    there = {layer.name: layer for layer in source.layers}
    for layer in model.layers:
        shapes = [w.shape for w in layer.weights]
        if not shapes or (layer.name == HEAD and not same_classes):
            continue
        other = there.get(layer.name)
        if other is None or [w.shape for w in other.weights] != shapes:
            raise InputError(
                f"layer {layer.name} of network {model.name} has no counterpart in the pretrained {source.name}",
                "give both the same network and size of pictures",
            )
        layer.set_weights(other.get_weights())
    return same_classes


def train_only(model: keras.Model, tune: Tune, head: bool) -> None:
    """Freeze all layers that training shall not move.

    Parameters
    ----------
    model
        Dense layers after convolutions.
    tune
        ``none``, ``dense``: the dense layers; ``last two convolutions``: those and the dense layers; ``as built``: what
        the network's builder left trainable.
    head
        Whether `HEAD` is trained whatever `tune` says: it must be where it is new.
    """
    if tune == "as built":
        return
    convolutions = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)][-2:]
    for layer in model.layers:
        layer.trainable = _moves(layer, tune, convolutions) or (head and layer.name == HEAD)


def _moves(layer: Any, tune: Tune, last_convolutions: list[str]) -> bool:
    if isinstance(layer, keras.layers.Dense):
        return tune != "none"
    return tune == "last two convolutions" and layer.name in last_convolutions
