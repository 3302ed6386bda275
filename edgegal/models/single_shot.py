"""What single-shot detectors share: the choices they are built from, their blocks, and how maps become outputs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
from keras import layers, ops

from edgegal.anchors import AnchorSpec, cell_shapes
from edgegal.errors import InputError

__all__ = [
    "FOREGROUND_PRIOR",
    "MOMENTUM",
    "Blueprint",
    "Maps",
    "assemble",
    "cell_counts",
    "conv_norm",
    "depthwise_norm",
    "norm",
    "prior_bias",
    "scaled",
    "separable",
    "shared_count",
    "upsampled",
]

FOREGROUND_PRIOR = 0.01
"""Score every anchor starts from: the -4.6 class bias of the reference recipe (Lin et al. 2017)."""

MOMENTUM = 0.9
"""Of batch normalisation: the .99 of the recipes lags behind on runs of a few thousand steps."""

_WIDTH_STEP = 8


@dataclass(frozen=True)
class Blueprint:
    """One detector to build.

    Attributes
    ----------
    size
        Input side in pixels.
    alpha
        Width multiplier of the backbone and of what is scaled with it.
    depth
        Channels of a feature pyramid's maps; without meaning where there is none.
    classes
        Number of classes, background not counted.
    anchors
        One level a map.
    weights
        Where the backbone starts from, as for `edgegal.models.detector.build_detector`.
    """

    size: int
    alpha: float
    depth: int
    classes: int
    anchors: AnchorSpec
    weights: str


class Maps(NamedTuple):
    """Outputs of the heads, finest map first: codes ``(n, h, w, 4 k)`` and logits ``(n, h, w, classes k)``."""

    codes: list[Any]
    logits: list[Any]


def scaled(width: float, alpha: float) -> int:
    """Channels of a layer that has `width` of them at a multiplier of 1, in steps of 8."""
    return _WIDTH_STEP * max(1, math.ceil(width * alpha / _WIDTH_STEP))


def norm(x: Any, name: str, relu: bool = True) -> Any:
    """Batch normalisation, and a ReLU6 after it."""
    x = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x) if relu else x


def conv_norm(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    """Convolution, batch normalisation, ReLU6."""
    x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
    return norm(x, name)


def depthwise_norm(x: Any, stride: int, name: str) -> Any:
    """Depthwise 3x3 convolution, batch normalisation, ReLU6."""
    x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    return norm(x, name)


def separable(filters: int, name: str, stride: int = 1, bias: Any = None) -> Any:
    """Layer of a depthwise 3x3 and a pointwise convolution, to share between maps; `bias` initialises that it has."""
    return layers.SeparableConv2D(
        filters, 3, stride, padding="same", use_bias=bias is not None, bias_initializer=bias or "zeros", name=name
    )


def upsampled(x: Any, like: Any, name: str) -> Any:
    """`x` at twice its side by nearest neighbour, one row and column less where `like` has an odd side."""
    x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_up")(x)
    surplus = [ours - theirs for ours, theirs in zip(x.shape[1:3], like.shape[1:3], strict=True)]
    if any(surplus):
        x = layers.Cropping2D(tuple((0, pixels) for pixels in surplus), name=f"{name}_crop")(x)
    return x


def prior_bias() -> Any:
    """Initialiser of the bias of logits that makes every score start at `FOREGROUND_PRIOR`."""
    return keras.initializers.Constant(-float(ops.log((1 - FOREGROUND_PRIOR) / FOREGROUND_PRIOR)))


def cell_counts(spec: AnchorSpec) -> list[int]:
    """Anchors in each cell, map by map."""
    return [len(cell_shapes(spec, level)) for level in spec.levels]


def assemble(build: Callable[[Any, Blueprint], Maps], plan: Blueprint, mono: bool, name: str) -> keras.Model:
    """The whole network around `build`, which gets pixels ``(n, size, size, 3)`` RGB 0-255.

    Parameters
    ----------
    build
        Backbone, neck and heads.
    plan
        What they are built from.
    mono
        Whether the channels are averaged first.
    name
        Of the model.
    """
    image = keras.Input((plan.size, plan.size, 3), name="image")
    pixels = image
    if mono:
        grey = ops.mean(image, axis=-1, keepdims=True)
        # Three equal channels, so that networks and weights of colour pictures fit.
        pixels = layers.Concatenate(name="grey")([grey, grey, grey])
    maps = build(pixels, plan)
    codes = _rows(maps.codes, 4, "boxes", plan.anchors)
    logits = _rows(maps.logits, plan.classes, "scores", plan.anchors)
    boxes = layers.Concatenate(axis=1, name="boxes")(codes)
    scores = layers.Activation("sigmoid", name="scores")(layers.Concatenate(axis=1, name="logits")(logits))
    return keras.Model(image, {"boxes": boxes, "scores": scores}, name=name)


def _rows(maps: Sequence[Any], columns: int, name: str, spec: AnchorSpec) -> list[Any]:
    return [
        layers.Reshape((-1, columns), name=f"{name}{level.stride}_flat")(x)
        for x, level in zip(maps, spec.levels, strict=True)
    ]


def shared_count(spec: AnchorSpec) -> int:
    """Anchors in each cell of a detector whose maps share their heads.

    Raises
    ------
    InputError
        The maps differ in them.
    """
    counts = set(cell_counts(spec))
    if len(counts) > 1:
        raise InputError(
            f"maps that share their heads have as many anchors in a cell each, not {sorted(counts)}",
            "give every level as many sizes, or take an SSD",
        )
    return counts.pop()
