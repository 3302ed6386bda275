"""The four-convolution network of the thesis this work starts from, after Dominguez Sanchez et al. 2018.

Kernels 6, 5, 2 and 3, leaky ReLU, 2x2 pooling after the second and third convolution, three dropouts, 1000 dense units,
softmax. The thesis states neither filters nor padding nor the dropouts' places and rates: filters are those of the
paper (MNRAS 476, 3661), padding is none, and dropout stands after each pooling and after the dense layer.
"""

from typing import Any

import keras
from keras import layers

from edgegal.errors import InputError

__all__ = ["four_convolution_network"]


_KERNELS = (6, 5, 2, 3)
_FILTERS = (32, 64, 128, 128)
_MIN_SIZE = 24


def four_convolution_network(
    classes: int, size: int = 96, dense: int = 1000, pool_dropout: float = 0.25, dense_dropout: float = 0.5
) -> keras.Model:
    """A classifier of square pictures, untrained and not compiled.

    Parameters
    ----------
    classes
        Number of classes.
    size
        Input side in pixels, at least 24; the thesis used 96.
    dense
        Units of the dense layer; 1000 at 96 pixels make 46 million weights.
    pool_dropout, dense_dropout
        Shares dropped in training after each pooling and after the dense layer.

    Returns
    -------
    keras.Model
        Input ``image`` float32 ``(n, size, size, 3)`` RGB 0-255, output ``{"probabilities": (n, classes)}``.

    Raises
    ------
    InputError
        The pictures are too small.
    """
    if size < _MIN_SIZE:
        raise InputError(f"the four-convolution network cannot see {size} pixels", f"take at least {_MIN_SIZE}")
    image = keras.Input((size, size, 3), name="image")
    x: Any = layers.Rescaling(1 / 255, name="rescale")(image)
    for i, (filters, kernel) in enumerate(zip(_FILTERS, _KERNELS, strict=True), start=1):
        x = layers.Conv2D(filters, kernel, name=f"conv{i}")(x)
        x = layers.LeakyReLU(name=f"leaky{i}")(x)
        if i in (2, 3):
            x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
            x = layers.Dropout(pool_dropout, name=f"dropout{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense, name="dense")(x)
    x = layers.LeakyReLU(name="dense_leaky")(x)
    x = layers.Dropout(dense_dropout, name="dropout_dense")(x)
    logits = layers.Dense(classes, name="logits")(x)
    probabilities = layers.Softmax(name="probabilities")(logits)
    return keras.Model(image, {"probabilities": probabilities}, name="four_convolution")
