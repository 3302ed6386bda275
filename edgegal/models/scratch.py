"""The scratch classifiers of the course project this work starts from: convolution and pooling pairs, then two dense.

The project compares seven of them: a simple one, one with two more pairs, and that one with dropout, batch
normalisation and L1L2 penalties in several combinations. It states neither filters nor rates. Taken here: 3x3
convolutions that double their filters from 32 on, no padding, ReLU, 2x2 pooling, 128 dense units, dropout after each
pooling and after the dense layer, normalisation after each convolution, penalties on the kernels of convolutions and of
the dense layer.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from edgegal.errors import InputError

__all__ = ["scratch_network"]

# .99 lags behind on runs of a few thousand steps.
_MOMENTUM = 0.9

_LEAST_CELLS = 4


def scratch_network(
    classes: int,
    size: int = 69,
    filters: Sequence[int] = (32, 64),
    dense: int = 128,
    dropout: float = 0.0,
    batch_norm: bool = False,
    l1: float = 0.0,
    l2: float = 0.0,
) -> keras.Model:
    """A classifier of square pictures, untrained and not compiled.

    Parameters
    ----------
    classes
        Number of classes.
    size
        Input side in pixels; the project used 69.
    filters
        Channels of each convolution and pooling pair.
    dense
        Units of the dense layer.
    dropout
        Share of cells dropped in training after each pooling and after the dense layer; 0 leaves the layers out.
    batch_norm
        Whether each convolution is normalised.
    l1, l2
        Penalties on kernels; 0 for none.

    Returns
    -------
    keras.Model
        Input ``image`` float32 ``(n, size, size, 3)`` RGB 0-255, output ``{"probabilities": (n, classes)}``.

    Raises
    ------
    InputError
        The pictures are too small for so many pairs.
    """
    image = keras.Input((size, size, 3), name="image")
    x = layers.Rescaling(1 / 255, name="rescale")(image)

    def penalty() -> Any:
        return keras.regularizers.L1L2(l1, l2) if l1 or l2 else None

    for i, channels in enumerate(filters, start=1):
        if x.shape[1] < _LEAST_CELLS:
            raise InputError(
                f"{size} pixels are too few for {len(filters)} pairs", "take larger pictures or fewer pairs"
            )
        x = layers.Conv2D(channels, 3, kernel_regularizer=penalty(), name=f"conv{i}")(x)
        if batch_norm:
            x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"norm{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"dropout{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(dense, activation="relu", kernel_regularizer=penalty(), name="dense")(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    logits = layers.Dense(classes, name="logits")(x)
    probabilities = layers.Softmax(name="probabilities")(logits)
    return keras.Model(image, {"probabilities": probabilities}, name="scratch")
