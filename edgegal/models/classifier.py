"""Compact classifiers of depthwise and pointwise convolutions, with layers only that every exporter takes.

Separable blocks after MobileNets (Howard et al. 2017), inverted residuals after MobileNetV2 (Sandler et al. 2018), both
optionally with squeeze-and-excitation (Hu et al. 2018). No hard sigmoid: the scalar in it defeats the layout pass of
tf2onnx.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
from keras import layers, ops

from edgegal.errors import InputError

__all__ = ["CLOSEST", "compact_network", "inverted_residual_network", "separable_network"]

# .99 lags behind on runs of a few thousand steps.
_MOMENTUM = 0.9

_SQUEEZE = 4
"""Channels of a block over those in the middle of its squeeze-and-excitation."""

CLOSEST = 16
"""Least side in pixels of a look at the middle of a picture."""

Block = Callable[[Any, int, int, str], Any]
"""Tensor, channels out, stride and name to the tensor after the block."""


def _normalised(x: Any, name: str) -> Any:
    x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x)


def _convolution(x: Any, filters: int, stride: int, name: str) -> Any:
    x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return _normalised(x, name)


def _excited(x: Any, name: str) -> Any:
    """Channels weighed by what the whole picture holds of each."""
    channels = x.shape[-1]
    weights = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    weights = layers.Conv2D(max(4, channels // _SQUEEZE), 1, activation="relu", name=f"{name}_reduce")(weights)
    weights = layers.Conv2D(channels, 1, activation="sigmoid", name=f"{name}_excite")(weights)
    return layers.Multiply(name=f"{name}_weigh")([x, weights])


def _separable(x: Any, filters: int, stride: int, name: str, excite: bool = False) -> Any:
    """Depthwise 3x3, then pointwise; with a shortcut where the shape stays."""
    shortcut = x
    x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = _normalised(x, f"{name}_depthwise")
    if excite:
        x = _excited(x, name)
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_pointwise")(x)
    x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_norm")(x)
    if stride == 1 and shortcut.shape[-1] == filters:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x)


def _inverted_residual(x: Any, filters: int, stride: int, name: str, expansion: int = 3, excite: bool = False) -> Any:
    """Pointwise up, depthwise 3x3, pointwise down without activation; with a shortcut where the shape stays."""
    shortcut, channels = x, x.shape[-1]
    x = layers.Conv2D(channels * expansion, 1, use_bias=False, name=f"{name}_expand")(x)
    x = _normalised(x, f"{name}_expand")
    x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = _normalised(x, f"{name}_depthwise")
    if excite:
        x = _excited(x, name)
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project")(x)
    x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_norm")(x)
    return layers.Add(name=f"{name}_add")([shortcut, x]) if stride == 1 and channels == filters else x


def _image(size: int, zooms: Sequence[float] = (), mirrored: bool = False) -> tuple[Any, Any]:
    image = keras.Input((size, size, 3), name="image")
    x = _looks(image, size, zooms, mirrored) if zooms or mirrored else image
    # A pure factor, no offset: zero padding then means black sky, and exporters fold it into the first convolution.
    return image, layers.Rescaling(1 / 255, name="rescale")(x)


def _looks(image: Any, size: int, zooms: Sequence[float], mirrored: bool) -> Any:
    """The whole picture and its middles, at the resolution of the closest look, one after another in the batch."""
    side = round(size / max(zooms, default=1))
    looks = []
    for zoom in (1.0, *zooms):
        margin = round(size * (1 - 1 / zoom) / 2)
        middle = ops.image.crop_images(image, margin, margin, margin, margin) if margin else image
        # Not Keras's layer for it: called without saying whether in training, it says yes to all that follow.
        looks.append(ops.image.resize(middle, (side, side)))
    if mirrored:
        # Across the diagonal: every exporter and runtime swaps axes, not all turn one round.
        looks += [ops.transpose(look, (0, 2, 1, 3)) for look in looks]
    return ops.concatenate(looks, axis=0)


def _classified(image: Any, x: Any, classes: int, dropout: float, name: str, looks: int = 1) -> keras.Model:
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if looks > 1:
        x = ops.mean(ops.reshape(x, (looks, -1, x.shape[-1])), axis=0)
    x = layers.Dropout(dropout, name="dropout")(x)
    logits = layers.Dense(classes, name="logits")(x)
    probabilities = layers.Softmax(name="probabilities")(logits)
    return keras.Model(image, {"probabilities": probabilities}, name=name)


def _levels(x: Any, widths: tuple[int, ...], repeats: int, block: Block) -> Any:
    """Blocks of one width after another; each level but the first halves the resolution."""
    for level, width in enumerate(widths):
        for i in range(repeats):
            x = block(x, width, 2 if level and i == 0 else 1, f"level{level}_block{i}")
    return x


def separable_network(
    classes: int,
    size: int = 64,
    widths: tuple[int, ...] = (16, 32, 64, 112),
    repeats: int = 2,
    dropout: float = 0.3,
    excite: bool = False,
) -> keras.Model:
    """Separable blocks from half the input's resolution on.

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
    excite
        Squeeze-and-excitation in every block.

    Returns
    -------
    keras.Model
        Input ``image`` float32 ``(n, size, size, 3)`` RGB 0-255, output ``{"probabilities": (n, classes)}``.
    """
    image, x = _image(size)
    x = _convolution(x, widths[0], 2, "stem")
    x = _levels(x, widths[1:], repeats, partial(_separable, excite=excite))
    return _classified(image, x, classes, dropout, "separable")


def inverted_residual_network(
    classes: int,
    size: int = 64,
    widths: tuple[int, ...] = (16, 24, 40, 64),
    repeats: int = 2,
    dropout: float = 0.3,
    excite: bool = False,
) -> keras.Model:
    """Inverted-residual blocks from half the input's resolution on; parameters as of `separable_network`."""
    image, x = _image(size)
    x = _convolution(x, widths[0], 2, "stem")
    x = _levels(x, widths[1:], repeats, partial(_inverted_residual, excite=excite))
    return _classified(image, x, classes, dropout, "inverted_residual")


def compact_network(
    classes: int,
    size: int = 64,
    widths: tuple[int, ...] = (16, 40, 64, 112),
    repeats: int = 3,
    dropout: float = 0.3,
    excite: bool = False,
    zooms: Sequence[float] = (),
    mirrored: bool = False,
) -> keras.Model:
    """Two full convolutions down to a quarter of the input's resolution, then separable blocks.

    Depthwise layers at half resolution cost more time than all that follows; a full convolution that goes on to a
    quarter learns as much in half the time.

    Parameters
    ----------
    classes
        Number of classes.
    size
        Input side in pixels.
    widths
        Channels of the two convolutions, then of each level of separable blocks; the first level keeps a quarter of the
        input's resolution.
    repeats
        Separable blocks a level.
    dropout
        Dropout before the last layer, in training.
    excite
        Squeeze-and-excitation in every block.
    zooms
        Further looks at the picture, with the same weights: at its middle, enlarged by so much. What is seen in all is
        averaged. A look costs as much as the network without any at ``size / max(zooms)`` pixels.
    mirrored
        Look at each of these mirrored too, where that changes no label (`LabelScheme.mirror_safe`).

    Returns
    -------
    keras.Model
        Input ``image`` float32 ``(n, size, size, 3)`` RGB 0-255, output ``{"probabilities": (n, classes)}``.

    Raises
    ------
    InputError
        A zoom that does not enlarge, or leaves less than `CLOSEST` pixels.
    """
    if zooms and not (min(zooms) > 1 and size / max(zooms) >= CLOSEST):
        raise InputError(
            f"no looks at {size} px enlarged by {', '.join(f'{z:g}' for z in zooms)}",
            f"enlarge by more than 1, and leave at least {CLOSEST} px",
        )
    image, x = _image(size, zooms, mirrored)
    x = _convolution(x, widths[0], 2, "stem")
    x = _convolution(x, widths[1], 2, "down")
    x = _levels(x, widths[2:], repeats, partial(_separable, excite=excite))
    return _classified(image, x, classes, dropout, "compact", (1 + len(zooms)) * (1 + mirrored))
