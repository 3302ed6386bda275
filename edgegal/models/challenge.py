"""The networks of the Galaxy Zoo challenge study this work starts from.

Three 3x3 convolutions of 32, 64 and 128 filters without padding, 2x2 pooling between them, dense layers; one sigmoid
for smooth or featured, linear outputs for vote fractions. The study's augmentation layer stands outside the graph here,
in the batches (`edgegal.training.augmentation`).
"""

from typing import Any

import keras
import numpy as np
from keras import layers

from edgegal.errors import InputError

__all__ = ["challenge_binary_network", "challenge_fraction_network"]

_FILTERS = (32, 64, 128)
_MIN_SIZE = 24

# ITU-R BT.601 luma, what grey pictures are made with nearly everywhere.
_LUMA = (0.299, 0.587, 0.114)


def _convolutions(size: int, grey: bool) -> tuple[Any, Any]:
    """Input and the flattened features."""
    if size < _MIN_SIZE:
        raise InputError(f"the challenge network cannot see {size} pixels", f"take at least {_MIN_SIZE}")
    image = keras.Input((size, size, 3), name="image")
    x = layers.Rescaling(1 / 255, name="rescale")(image)
    if grey:
        # A convolution that never learns: every exporter takes it, and the input stays what the device gives.
        luma = keras.initializers.Constant(np.array(_LUMA, np.float32).reshape(1, 1, 3, 1))
        x = layers.Conv2D(1, 1, use_bias=False, kernel_initializer=luma, trainable=False, name="grey")(x)
    for i, filters in enumerate(_FILTERS, start=1):
        if i > 1:
            x = layers.MaxPooling2D(2, name=f"pool{i - 1}")(x)
        x = layers.Conv2D(filters, 3, activation="relu", name=f"conv{i}")(x)
    return image, layers.Flatten(name="flatten")(x)


def _dense(x: Any, units: tuple[int, ...], dropout: float) -> Any:
    for i, width in enumerate(units, start=1):
        x = layers.Dense(width, activation="relu", name=f"dense{i}")(x)
    return layers.Dropout(dropout, name="dropout")(x) if dropout else x


def challenge_binary_network(size: int = 64, grey: bool = False, dropout: float = 0.0) -> keras.Model:
    """A classifier of two classes, untrained and not compiled.

    Parameters
    ----------
    size
        Input side in pixels, at least 24; the study used 64.
    grey
        Whether the graph turns pictures grey first.
    dropout
        Dropout after the dense layer, in training: .3 in the study, 0 for none.

    Returns
    -------
    keras.Model
        Input ``image`` float32 ``(n, size, size, 3)`` RGB 0-255, output ``{"probabilities": (n, 2)}``: the sigmoid's
        complement and the sigmoid.
    """
    image, x = _convolutions(size, grey)
    second = layers.Dense(1, activation="sigmoid", name="sigmoid")(_dense(x, (128,), dropout))
    first = layers.Rescaling(-1.0, offset=1.0, name="complement")(second)
    probabilities = layers.Concatenate(name="probabilities")([first, second])
    return keras.Model(image, {"probabilities": probabilities}, name="challenge_binary")


def challenge_fraction_network(
    answers: int, size: int = 64, grey: bool = False, dropout: float = 0.0, dense: tuple[int, ...] = (128, 64)
) -> keras.Model:
    """A regression of vote fractions, untrained and not compiled.

    Parameters
    ----------
    answers
        Number of fractions.
    size, grey, dropout
        As in `challenge_binary_network`.
    dense
        Units of the dense layers: 128 and 64 in the study, 128 alone in its "classification architecture".

    Returns
    -------
    keras.Model
        Input ``image`` float32 ``(n, size, size, 3)`` RGB 0-255, output ``{"probabilities": (n, answers)}``: estimates
        of the fractions, linear, so that they may lie a little outside 0-1 and sum to nearly 1.
    """
    image, x = _convolutions(size, grey)
    fractions = layers.Dense(answers, name="probabilities")(_dense(x, dense, dropout))
    return keras.Model(image, {"probabilities": fractions}, name="challenge_fractions")
