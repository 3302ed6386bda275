"""Detectors whose maps exchange what they see before one head, shared between them, judges all.

FPN (Lin et al. 2017) passes it from coarse to fine, BiFPN (Tan et al. 2020) back as well, several times. Levels 3 to 7
have strides of 8 to 128 pixels. The convolutions of the head are shared, their batch normalisation is not: each map
has statistics of its own. Converters fold it into the convolutions, so that a converted head takes five times the room
of the trained one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from keras import layers

from edgegal.models.efficientnet_lite import efficientnet_lite, imagenet_weights, load_imagenet_weights
from edgegal.models.mobilenet import mobilenet_v2_maps
from edgegal.models.single_shot import (
    Blueprint,
    Maps,
    norm,
    prior_bias,
    separable,
    shared_count,
    upsampled,
)

__all__ = ["efficientdet", "fpnlite"]

_FINEST, _COARSEST = 3, 7
_TOWER_FPN, _TOWER_BIFPN = 4, 3
_REPEATS = 3


def fpnlite(pixels: Any, plan: Blueprint) -> Maps:
    """FPN on MobileNetV2 with separable convolutions, and one tower of four for codes and scores.

    The recipe ``ssd_mobilenet_v2_fpnlite`` of the TF Object Detection API; 128 channels there.
    """
    unit = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")
    names = ("block_5_add", "block_12_add", "out_relu")
    laterals = [
        layers.Conv2D(plan.depth, 1, name=f"lateral{level}")(x)
        for level, x in enumerate(
            mobilenet_v2_maps(unit(pixels), plan.size, plan.alpha, names, plan.weights), start=_FINEST
        )
    ]
    x = laterals.pop()
    features = [x]
    for level in range(_FINEST + len(laterals) - 1, _FINEST - 1, -1):
        lateral = laterals[level - _FINEST]
        x = layers.Add(name=f"top_down{level}")([upsampled(x, lateral, f"top_down{level}"), lateral])
        features.insert(0, norm(separable(plan.depth, f"smooth{level}")(x), f"smooth{level}"))
    for level in range(_FINEST + len(features), _COARSEST + 1):
        features.append(norm(separable(plan.depth, f"coarse{level}", stride=2)(features[-1]), f"coarse{level}"))
    towers = _towers(features, plan.depth, _TOWER_FPN, "tower")
    return _predicted(towers, towers, plan)


def efficientdet(pixels: Any, plan: Blueprint) -> Maps:
    """EfficientDet-Lite0: three BiFPN cells and two towers of three on EfficientNet-Lite0.

    As in the Lite variants, maps are fused by a plain sum, which integer hardware runs, and activations are ReLU6.
    """
    features = _efficientnet_maps(pixels, plan)
    x = layers.Conv2D(plan.depth, 1, name="coarse6")(features[-1])
    features.append(_pooled(norm(x, "coarse6", relu=False), "coarse6"))
    features.append(_pooled(features[-1], "coarse7"))
    for repeat in range(_REPEATS):
        features = _bifpn(features, plan.depth, f"cell{repeat}")
    return _predicted(
        _towers(features, plan.depth, _TOWER_BIFPN, "boxes_tower"),
        _towers(features, plan.depth, _TOWER_BIFPN, "scores_tower"),
        plan,
    )


def _efficientnet_maps(pixels: Any, plan: Blueprint) -> list[Any]:
    """The last map of EfficientNet-Lite0 at each of the strides 8, 16 and 32."""
    base = efficientnet_lite(1, plan.size)
    if plan.weights != "none":
        load_imagenet_weights(base, imagenet_weights() if plan.weights == "imagenet" else Path(plan.weights))
    names = ("block4_add", "block10_add", "block15_project_norm")
    backbone = keras.Model(base.inputs[0], [base.get_layer(name).output for name in names], name="backbone")
    return list(backbone(pixels))


def _pooled(x: Any, name: str) -> Any:
    return layers.MaxPooling2D(3, 2, padding="same", name=f"{name}_pool")(x)


def _bifpn(features: Sequence[Any], depth: int, name: str) -> list[Any]:
    """One cell: coarse to fine, then fine to coarse, where each map also sees what it was before the cell."""
    top_down = {_COARSEST: _resized(features[-1], depth, f"{name}_in{_COARSEST}")}
    for level in range(_COARSEST - 1, _FINEST - 1, -1):
        before = _resized(features[level - _FINEST], depth, f"{name}_in{level}")
        above = upsampled(top_down[level + 1], before, f"{name}_down{level}")
        top_down[level] = _fused([before, above], depth, f"{name}_down{level}")
    fused = [top_down[_FINEST]]
    for level in range(_FINEST + 1, _COARSEST + 1):
        parts = [
            _resized(features[level - _FINEST], depth, f"{name}_skip{level}"),
            _pooled(fused[-1], f"{name}_up{level}"),
        ]
        if level < _COARSEST:
            parts.append(top_down[level])
        fused.append(_fused(parts, depth, f"{name}_up{level}"))
    return fused


def _resized(x: Any, depth: int, name: str) -> Any:
    """`x` with `depth` channels: a 1x1 convolution where it has others, each time it is used, as published."""
    if x.shape[-1] == depth:
        return x
    return norm(layers.Conv2D(depth, 1, name=name)(x), name, relu=False)


def _fused(parts: Sequence[Any], depth: int, name: str) -> Any:
    x = layers.ReLU(max_value=6.0, name=f"{name}_relu")(layers.Add(name=f"{name}_sum")(list(parts)))
    return norm(separable(depth, name)(x), name, relu=False)


def _towers(features: Sequence[Any], depth: int, count: int, name: str) -> list[Any]:
    """Every map after `count` separable convolutions that all share, each with its own batch normalisation."""
    convolutions = [separable(depth, f"{name}{step}") for step in range(count)]
    towers = []
    for level, x in enumerate(features, start=_FINEST):
        for step, convolution in enumerate(convolutions):
            x = norm(convolution(x), f"{name}{step}_level{level}")
        towers.append(x)
    return towers


def _predicted(for_codes: Sequence[Any], for_scores: Sequence[Any], plan: Blueprint) -> Maps:
    cell = shared_count(plan.anchors)
    codes = separable(cell * 4, "codes", bias="zeros")
    logits = separable(cell * plan.classes, "class_logits", bias=prior_bias())
    return Maps([codes(x) for x in for_codes], [logits(x) for x in for_scores])
