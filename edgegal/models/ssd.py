"""SSD on MobileNetV2 (Liu et al. 2016; Sandler et al. 2018): heads straight on the maps of the backbone."""

from collections.abc import Sequence
from typing import Any

from keras import layers

from edgegal.models.mobilenet import mobilenet_v2_maps
from edgegal.models.single_shot import (
    Blueprint,
    Maps,
    cell_counts,
    conv_norm,
    depthwise_norm,
    prior_bias,
    scaled,
    upsampled,
)

__all__ = ["ssd", "ssdlite", "ssdlite_topdown"]

_MERGED = 64


def ssdlite(pixels: Any, plan: Blueprint) -> Maps:
    """Maps at strides 8 to 64; a depthwise 3x3 and a 1x1 convolution for box codes, another pair for scores, on each.

    Random weights expect pixels of 0-1, as the networks trained so far have been given.
    """
    names = ("block_6_expand_relu", "block_13_expand_relu", "block_16_project_BN")
    fine, middle, coarse = mobilenet_v2_maps(_unit(plan)(pixels), plan.size, plan.alpha, names, plan.weights)
    return _lite_heads([fine, middle, *_coarse_maps(coarse)], plan)


def ssdlite_topdown(pixels: Any, plan: Blueprint) -> Maps:
    """`ssdlite` whose finest map also sees what stands around and what the narrow end of a bottleneck left out.

    To the finest map are added the two coarser ones, merged as in a feature pyramid (Lin et al. 2017), and the map of
    stride 4, which the backbone passes on through a third as many channels; two residual blocks follow. What is added
    starts at zero, so that the network begins as the `ssdlite` whose weights it is given.
    """
    names = ("block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu", "block_16_project_BN")
    finest, fine, middle, coarse = mobilenet_v2_maps(_unit(plan)(pixels), plan.size, plan.alpha, names, plan.weights)
    coarse, extra = _coarse_maps(coarse)
    lateral = conv_norm(middle, _MERGED, 1, 1, "lateral16")
    above = upsampled(conv_norm(coarse, _MERGED, 1, 1, "lateral32"), middle, "above16")
    merged = depthwise_norm(layers.Add(name="merge16")([lateral, above]), 1, "merge16")
    context = upsampled(_begun_at_zero(merged, fine, "context8"), fine, "context8")
    detail = _begun_at_zero(depthwise_norm(finest, 2, "detail8"), fine, "detail8")
    fine = layers.Add(name="merge8")([fine, context, detail])
    for block in ("refine8_first", "refine8_second"):
        fine = layers.Add(name=f"{block}_add")([fine, _begun_at_zero(depthwise_norm(fine, 1, block), fine, block)])
    return _lite_heads([fine, middle, coarse, extra], plan)


def _coarse_maps(coarse: Any) -> tuple[Any, Any]:
    """Maps of stride 32 and 64 from the end of the backbone."""
    coarse = conv_norm(coarse, 160, 1, 1, "coarse")
    extra = depthwise_norm(conv_norm(coarse, 64, 1, 1, "extra_in"), 2, "extra")
    return coarse, conv_norm(extra, 128, 1, 1, "extra_out")


def _begun_at_zero(x: Any, like: Any, name: str) -> Any:
    return layers.Conv2D(like.shape[-1], 1, kernel_initializer="zeros", name=name)(x)


def _lite_heads(features: Sequence[Any], plan: Blueprint) -> Maps:
    maps = Maps([], [])
    for x, level, cell in zip(features, plan.anchors.levels, cell_counts(plan.anchors), strict=True):
        for name, outputs, bias, found in (
            (f"boxes{level.stride}", cell * 4, "zeros", maps.codes),
            (f"scores{level.stride}", cell * plan.classes, prior_bias(), maps.logits),
        ):
            tower = depthwise_norm(x, 1, f"{name}_tower")
            found.append(layers.Conv2D(outputs, 1, bias_initializer=bias, name=name)(tower))
    return maps


def ssd(pixels: Any, plan: Blueprint) -> Maps:
    """Six maps from stride 16 on, the last four beyond the backbone; a 1x1 convolution for codes and one for scores.

    The recipe ``ssd_mobilenet_v2`` of the TF Object Detection API, its additional maps of 512, 256, 256 and 128
    channels scaled like the backbone.
    """
    names = ("block_13_expand_relu", "out_relu")
    features = mobilenet_v2_maps(_centred()(pixels), plan.size, plan.alpha, names, plan.weights)
    for number, width in enumerate((512, 256, 256, 128), start=1):
        x = conv_norm(features[-1], scaled(width / 2, plan.alpha), 1, 1, f"extra{number}_in")
        features.append(conv_norm(x, scaled(width, plan.alpha), 3, 2, f"extra{number}"))
    maps = Maps([], [])
    for x, level, cell in zip(features, plan.anchors.levels, cell_counts(plan.anchors), strict=True):
        maps.codes.append(layers.Conv2D(cell * 4, 1, name=f"boxes{level.stride}")(x))
        maps.logits.append(
            layers.Conv2D(cell * plan.classes, 1, bias_initializer=prior_bias(), name=f"scores{level.stride}")(x)
        )
    return maps


def _unit(plan: Blueprint) -> Any:
    return layers.Rescaling(1 / 255, name="rescale") if plan.weights == "none" else _centred()


def _centred() -> Any:
    """Pixels 0-255 to the -1 to 1 that Keras's MobileNetV2 was trained with on ImageNet."""
    return layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")
