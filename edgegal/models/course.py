"""The two-convolution classifier of the course project this work starts from.

Convolution, pooling and batch normalisation twice, flatten, dense, dropout, softmax: "comparable and much smaller" than
the networks beside it there. Its sizes are what `edgegal tune` searches. The project does not state padding and
activation; Keras's defaults for pictures are taken: no padding, ReLU, 2x2 pooling.
"""

from typing import Any

import keras
from keras import layers

__all__ = ["two_convolution_network"]

# .99 lags behind on runs of a few thousand steps.
_MOMENTUM = 0.9


def _block(x: Any, filters: int, kernel: int, number: int) -> Any:
    x = layers.Conv2D(filters, kernel, activation="relu", name=f"conv{number}")(x)
    x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    return layers.BatchNormalization(momentum=_MOMENTUM, name=f"norm{number}")(x)


def two_convolution_network(
    classes: int,
    size: int = 64,
    filters: tuple[int, int] = (32, 32),
    kernels: tuple[int, int] = (3, 3),
    dense: int = 32,
    dropout: float = 0.5,
) -> keras.Model:
    """A classifier of square pictures, untrained and not compiled.

    Parameters
    ----------
    classes
        Number of classes.
    size
        Input side in pixels, at least 16; the project used 69.
    filters, kernels
        Channels and side of the two convolutions.
    dense
        Units of the dense layer.
    dropout
        Dropout after the dense layer, in training.

    Returns
    -------
    keras.Model
        Input ``image`` float32 ``(n, size, size, 3)`` RGB 0-255, output ``{"probabilities": (n, classes)}``.
    """
    image = keras.Input((size, size, 3), name="image")
    x = layers.Rescaling(1 / 255, name="rescale")(image)
    for i, (channels, side) in enumerate(zip(filters, kernels, strict=True), start=1):
        x = _block(x, channels, side, i)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense, activation="relu", name="dense")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    logits = layers.Dense(classes, name="logits")(x)
    probabilities = layers.Softmax(name="probabilities")(logits)
    return keras.Model(image, {"probabilities": probabilities}, name="two_convolution")
