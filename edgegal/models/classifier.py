"""A compact separable-convolution classifier (Howard et al. 2017, MobileNets) with exporter-friendly layers only."""

from typing import Any

import keras
from keras import layers

__all__ = ["separable_network"]

# .99 lags behind on runs of a few thousand steps.
_MOMENTUM = 0.9


def _normalised(x: Any, name: str) -> Any:
    x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x)


def _separable(x: Any, filters: int, stride: int, name: str) -> Any:
    """Depthwise 3x3, then pointwise; with a shortcut where the shape stays."""
    shortcut = x
    x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = _normalised(x, f"{name}_depthwise")
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_pointwise")(x)
    x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_norm")(x)
    if stride == 1 and shortcut.shape[-1] == filters:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x)


def separable_network(
    classes: int, size: int = 64, widths: tuple[int, ...] = (16, 32, 64, 112), repeats: int = 2, dropout: float = 0.3
) -> keras.Model:
    """A classifier of square pictures.

    Parameters
    ----------
    classes
        Number of classes.
    size
        Input side in pixels.
    widths
        Channels of the stem and of each level after it; the first level keeps the stem's resolution, half the input's.
    repeats
        Separable blocks a level.
    dropout
        Dropout before the last layer, in training.

    Returns
    -------
    keras.Model
        Input ``image`` float32 ``(n, size, size, 3)`` RGB 0-255, output ``{"probabilities": (n, classes)}``.
    """
    image = keras.Input((size, size, 3), name="image")
    # A pure factor, no offset: zero padding then means black sky, and exporters fold it into the first convolution.
    x = layers.Rescaling(1 / 255, name="rescale")(image)
    x = layers.Conv2D(widths[0], 3, strides=2, padding="same", use_bias=False, name="stem_conv")(x)
    x = _normalised(x, "stem")
    for level, width in enumerate(widths[1:]):
        for block in range(repeats):
            x = _separable(x, width, 2 if level and block == 0 else 1, f"level{level}_block{block}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    logits = layers.Dense(classes, name="logits")(x)
    probabilities = layers.Softmax(name="probabilities")(logits)
    return keras.Model(image, {"probabilities": probabilities}, name="separable")
