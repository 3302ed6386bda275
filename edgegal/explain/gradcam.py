"""Gradient-weighted class-activation maps: which parts of a picture speak for the class a network gave it.

Selvaraju et al. 2017, *Grad-CAM*, as the course project used it: each channel of a convolution's output is weighted by
the gradient of the winning class averaged over space, channels are averaged, what speaks against the class is dropped,
and the map is scaled to 0-1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgegal.errors import InputError, MissingPartError
from edgegal.explain.grid import Grid, grid_of
from edgegal.frames import View
from edgegal.preprocess import network_input

__all__ = ["ClassMaps", "feature_layers", "grad_cam"]


@dataclass(frozen=True)
class ClassMaps:
    """Maps of a batch of pictures.

    Attributes
    ----------
    heat
        ``(n, rows, columns)`` float32, 0-1, at the resolution of the layer; all 0 where nothing speaks for the class.
    classes
        ``(n,)`` int32: the winning class, which the map is of.
    probabilities
        ``(n, classes)`` float32, as the network gives them.
    layer
        Name of the layer looked into.
    grid
        Where the cells of `heat` lie in the network's input.
    """

    heat: NDArray[np.float32]
    classes: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    layer: str
    grid: Grid


def feature_layers(model: keras.Model) -> tuple[str, ...]:
    """Names of the layers that give maps larger than one cell, in order; a class-activation map can be made of each."""
    return tuple(
        layer.name
        for layer in model.layers
        if not isinstance(layer, keras.layers.InputLayer) and _gives_maps(layer.output)
    )


def _gives_maps(output: Any) -> bool:
    shape: tuple[int, ...] = tuple(getattr(output, "shape", ()))
    return len(shape) == 4 and shape[1] * shape[2] > 1


def grad_cam(model: keras.Model, pictures: View, layer: str | None = None) -> ClassMaps:
    """Class-activation maps of the winning classes.

    Parameters
    ----------
    model
        A classifier: input ``image``, output ``probabilities``.
    pictures
        ``(n, h, w, 3)`` uint8 RGB at the network's input size.
    layer
        Name of a layer of `feature_layers`; the last rectified one when None: its maps are zero where it saw nothing,
        so that heat lies on what was seen and not on what was absent.

    Raises
    ------
    InputError
        There is no such layer, or part of the network goes around it.
    MissingPartError
        Keras runs on a backend without a gradient here.
    """
    name = _chosen(model, layer)
    features_of, head = _split(model, name)
    features = features_of(network_input(pictures), training=False)
    probabilities = ops.convert_to_numpy(head(features, training=False)["probabilities"])
    classes = probabilities.argmax(axis=1).astype(np.int32)
    winners = np.eye(probabilities.shape[1], dtype=np.float32)[classes]

    def evidence(at: Any) -> Any:
        # The logarithm has the gradient's direction, and keeps its size where the probability is all but 1.
        found = head(at, training=False)["probabilities"]
        return ops.sum(ops.log(ops.sum(found * winners, axis=1) + keras.config.epsilon()))

    gradient = _gradient(evidence, features)
    weights = gradient.mean(axis=(1, 2), keepdims=True)
    heat = np.maximum((ops.convert_to_numpy(features) * weights).mean(axis=3), 0)
    highest = heat.max(axis=(1, 2), keepdims=True)
    heat = np.divide(heat, highest, out=np.zeros_like(heat), where=highest > 0)
    return ClassMaps(heat.astype(np.float32), classes, probabilities.astype(np.float32), name, grid_of(model, name))


def _chosen(model: keras.Model, layer: str | None) -> str:
    known = feature_layers(model)
    if not known:
        raise InputError("the network has no layer that gives feature maps")
    if layer is not None and layer not in known:
        raise InputError(f"no feature maps from a layer {layer!r}", f"use one of: {', '.join(known)}")
    if layer is not None:
        return layer
    rectified = [name for name in known if _is_rectified(model.get_layer(name))]
    return (rectified or known)[-1]


def _is_rectified(layer: Any) -> bool:
    return isinstance(layer, keras.layers.ReLU) or getattr(layer, "activation", None) is keras.activations.relu


def _split(model: keras.Model, name: str) -> tuple[keras.Model, keras.Model]:
    """The network up to and after a layer; both share its weights."""
    features = model.get_layer(name).output
    try:
        return keras.Model(model.inputs[0], features), keras.Model(features, model.output)
    except ValueError:
        raise InputError(
            f"part of the network goes around layer {name!r}", "choose one before or after the shortcut"
        ) from None


def _gradient(function: Callable[[Any], Any], at: Any) -> NDArray[np.float32]:
    """Gradient of a scalar function of one tensor: the only place that knows which backend Keras runs on."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(at)
            value = function(at)
        gradient = tape.gradient(value, at)
    elif backend == "jax":
        import jax  # type: ignore[import-not-found, unused-ignore]

        gradient = jax.grad(function)(at)
    else:
        raise MissingPartError(f"no gradients on the Keras backend {backend}", "set KERAS_BACKEND=tensorflow or jax")
    found: NDArray[np.float32] = ops.convert_to_numpy(gradient)
    return found
