"""SSDLite on MobileNetV2 (Liu et al. 2016; Sandler et al. 2018), with anchors small enough for galaxies.

Four feature maps, each with a depthwise 3x3 and a 1x1 convolution for box codes and another pair for scores. Decoding
and suppression stay outside the graph, so every exporter takes it.
"""

from typing import Any

import keras
from keras import layers, ops

from edgegal.anchors import AnchorLevel, AnchorSpec
from edgegal.errors import InputError

__all__ = ["ANCHORS", "FOREGROUND_PRIOR", "ssdlite_mobilenet_v2"]

ANCHORS = AnchorSpec(
    levels=(
        AnchorLevel(8, (14.0, 22.0)),
        AnchorLevel(16, (34.0, 52.0)),
        AnchorLevel(32, (78.0, 118.0)),
        AnchorLevel(64, (165.0, 220.0)),
    ),
    # Edge-on discs are thinner than anything in the pictures the reference recipe was made for.
    ratios=(1.0, 2.0, 0.5, 4.0, 0.25),
)
"""From 10-pixel smudges to a galaxy that fills a 256-pixel tile."""

FOREGROUND_PRIOR = 0.01
"""Score every anchor starts from: the -4.6 class bias of the reference recipe (Lin et al. 2017)."""

# .99 lags behind on runs of a few thousand steps.
_MOMENTUM = 0.9


def _backbone(size: int, alpha: float) -> tuple[Any, list[Any]]:
    """MobileNetV2 up to its last bottleneck: the input and the maps at strides 8, 16 and 32."""
    base = keras.applications.MobileNetV2(
        input_shape=(size, size, 3), alpha=alpha, include_top=False, weights=None, name="mobilenet_v2"
    )
    for layer in base.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    names = ("block_6_expand_relu", "block_13_expand_relu", "block_16_project_BN")
    return base.inputs[0], [base.get_layer(name).output for name in names]


def _conv_norm(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x)


def _depthwise(x: Any, stride: int, name: str) -> Any:
    x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x)


def ssdlite_mobilenet_v2(
    size: int = 256, alpha: float = 0.35, classes: int = 1, anchors: AnchorSpec = ANCHORS
) -> keras.Model:
    """The detector.

    Parameters
    ----------
    size
        Input side in pixels, a multiple of 64.
    alpha
        Width multiplier of the backbone.
    classes
        Number of classes, background not counted.
    anchors
        Anchors of strides 8, 16, 32 and 64.

    Returns
    -------
    keras.Model
        Input ``image`` float32 ``(n, size, size, 3)`` RGB 0-255; outputs ``boxes`` ``(n, a, 4)`` codes ty, tx, th, tw
        and ``scores`` ``(n, a, classes)`` in 0-1, anchors in the order of `edgegal.anchors.generate`.
    """
    if size % 64:
        raise InputError(f"a detector's size is a multiple of 64, not {size}")
    entry, (fine, middle, coarse) = _backbone(size, alpha)
    backbone = keras.Model(entry, [fine, middle, coarse], name="backbone")
    image = keras.Input((size, size, 3), name="image")
    fine, middle, coarse = backbone(layers.Rescaling(1 / 255, name="rescale")(image))
    coarse = _conv_norm(coarse, 160, 1, 1, "coarse")
    extra = _conv_norm(_depthwise(_conv_norm(coarse, 64, 1, 1, "extra_in"), 2, "extra"), 128, 1, 1, "extra_out")
    bias = keras.initializers.Constant(-float(ops.log((1 - FOREGROUND_PRIOR) / FOREGROUND_PRIOR)))
    boxes, scores = [], []
    for x, level in zip((fine, middle, coarse, extra), anchors.levels, strict=True):
        cell = len(level.sizes) * len(anchors.ratios)
        code = layers.Conv2D(cell * 4, 1, name=f"boxes{level.stride}")(_depthwise(x, 1, f"boxes{level.stride}_tower"))
        logit = layers.Conv2D(cell * classes, 1, bias_initializer=bias, name=f"scores{level.stride}")(
            _depthwise(x, 1, f"scores{level.stride}_tower")
        )
        boxes.append(layers.Reshape((-1, 4), name=f"boxes{level.stride}_flat")(code))
        scores.append(layers.Reshape((-1, classes), name=f"scores{level.stride}_flat")(logit))
    codes = layers.Concatenate(axis=1, name="boxes")(boxes)
    probability = layers.Activation("sigmoid", name="scores")(layers.Concatenate(axis=1, name="logits")(scores))
    return keras.Model(image, {"boxes": codes, "scores": probability}, name="ssdlite_mobilenet_v2")
