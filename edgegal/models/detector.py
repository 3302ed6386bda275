"""The detectors that can be trained, by name.

All keep decoding and suppression outside the graph, so that every exporter takes them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras

from edgegal.anchors import AnchorLevel, AnchorSpec, fpn_anchors, ssd_anchors
from edgegal.errors import InputError
from edgegal.models.pyramid import efficientdet, fpnlite
from edgegal.models.single_shot import FOREGROUND_PRIOR, Blueprint, Maps, assemble, scaled
from edgegal.models.ssd import ssd, ssdlite, ssdlite_topdown

__all__ = [
    "ANCHORS",
    "DEFAULT_DETECTOR",
    "DETECTORS",
    "FOREGROUND_PRIOR",
    "DetectorArchitecture",
    "build_detector",
    "detector_architecture",
]

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

_SMALLEST_SIZE = 32


@dataclass(frozen=True)
class DetectorArchitecture:
    """A kind of detector and its recipe.

    Attributes
    ----------
    name
        What it is called in recipes and on the command line.
    description
        One line for a listing.
    build
        Backbone, neck and heads on pixels ``(n, size, size, 3)`` RGB 0-255.
    anchors
        The anchors of its recipe at an input side in pixels.
    strides
        Strides of its maps; its anchors have these.
    multiple
        The input side is a multiple of this.
    alpha
        Width multiplier unless another is asked for; None where the width is fixed.
    depth
        Channels of its pyramid's maps at a width multiplier of 1; None where it has no pyramid.
    focal_alpha, focal_gamma
        Of the focal loss in its recipe.
    matching
        Which anchors it learns a galaxy from, of `edgegal.training.matching.MATCHINGS`.
    """

    name: str
    description: str
    build: Callable[[Any, Blueprint], Maps]
    anchors: Callable[[int], AnchorSpec]
    strides: tuple[int, ...]
    multiple: int
    alpha: float | None
    depth: int | None
    focal_alpha: float
    focal_gamma: float
    matching: str = "published"


def _galaxy_anchors(size: int) -> AnchorSpec:
    """The same at every size: galaxies do not grow with the tile."""
    return ANCHORS


def _fpn_anchors(size: int) -> AnchorSpec:
    return fpn_anchors()


def _efficientdet_anchors(size: int) -> AnchorSpec:
    # EfficientDet's own coder has no scales; its Huber loss bends at .1 instead, where a tenfold offset reaches 1.
    return fpn_anchors(smallest=24.0, per_level=3, layout="even")


_SSDLITE = DetectorArchitecture(
    "ssdlite-mobilenet-v2",
    "SSDLite on MobileNetV2, four maps from stride 8 on: for small galaxies on small computers",
    ssdlite,
    _galaxy_anchors,
    strides=(8, 16, 32, 64),
    multiple=64,
    alpha=0.35,
    depth=None,
    focal_alpha=0.75,
    focal_gamma=2.0,
)

DETECTORS: Mapping[str, DetectorArchitecture] = MappingProxyType(
    {
        architecture.name: architecture
        for architecture in (
            _SSDLITE,
            replace(
                _SSDLITE,
                name="ssdlite-mobilenet-v2-topdown",
                description="SSDLite whose finest map sees the coarser ones and one of stride 4: "
                "for galaxies of a dozen pixels",
                build=ssdlite_topdown,
                matching="small galaxies",
            ),
            DetectorArchitecture(
                "ssd-mobilenet-v2",
                "SSD on MobileNetV2 with 1x1 heads, six maps from stride 16 on (TF Object Detection API)",
                ssd,
                ssd_anchors,
                strides=(16, 32, 64, 128, 256, 512),
                multiple=1,
                alpha=0.35,
                depth=None,
                focal_alpha=0.75,
                focal_gamma=2.0,
            ),
            DetectorArchitecture(
                "ssd-mobilenet-v2-fpnlite",
                "Feature pyramid on MobileNetV2, five maps from stride 8 on, shared heads (TF Object Detection API)",
                fpnlite,
                _fpn_anchors,
                strides=(8, 16, 32, 64, 128),
                multiple=32,
                alpha=0.35,
                depth=128,
                focal_alpha=0.25,
                focal_gamma=2.0,
            ),
            DetectorArchitecture(
                "efficientdet-lite0",
                "BiFPN on EfficientNet-Lite0, five maps from stride 8 on: for comparison with published figures",
                efficientdet,
                _efficientdet_anchors,
                strides=(8, 16, 32, 64, 128),
                multiple=32,
                alpha=None,
                depth=64,
                focal_alpha=0.25,
                focal_gamma=1.5,
            ),
        )
    }
)
"""Every detector that can be trained, by name."""

DEFAULT_DETECTOR = "ssdlite-mobilenet-v2"


def detector_architecture(name: str) -> DetectorArchitecture:
    """The architecture of that name; `InputError` when there is none."""
    try:
        return DETECTORS[name]
    except KeyError:
        raise InputError(f"no detector {name!r}", f"use one of: {', '.join(DETECTORS)}") from None


def build_detector(
    name: str = DEFAULT_DETECTOR,
    size: int = 256,
    alpha: float | None = None,
    classes: int = 1,
    anchors: AnchorSpec | None = None,
    mono: bool = False,
    weights: str | Path | None = None,
    depth: int | None = None,
) -> keras.Model:
    """A detector, not compiled.

    Parameters
    ----------
    name
        Of `DETECTORS`.
    size
        Input side in pixels, a multiple of the architecture's.
    alpha
        Width multiplier; None for the architecture's.
    classes
        Number of classes, background not counted.
    anchors
        Anchors with the architecture's strides, as small as wanted; None for its recipe's.
    mono
        Average the channels first: for cameras without colour and for telling galaxies by their light alone. The input
        stays RGB.
    weights
        Where the backbone starts from. None or ``none``: at random. ``imagenet``: Keras's MobileNetV2, fetched once
        and only for the width multipliers it is published at, or the checkpoint of EfficientNet-Lite0 in its package.
        Else the path of such a file. Only backbones trained on ImageNet can be had this way: none of the sources has
        whole detectors trained on COCO.
    depth
        Channels of the pyramid's maps; None for the architecture's, scaled by `alpha`.

    Returns
    -------
    keras.Model
        Input ``image`` float32 ``(n, size, size, 3)`` RGB 0-255; outputs ``boxes`` ``(n, a, 4)`` codes ty, tx, th, tw
        and ``scores`` ``(n, a, classes)`` in 0-1, anchors in the order of `edgegal.anchors.generate`.

    Raises
    ------
    InputError
        Something that the architecture cannot be built with, or a file of weights that does not fit it.
    MissingPartError
        Weights that cannot be fetched, or whose package is not installed.
    """
    kind = detector_architecture(name)
    spec = kind.anchors(size) if anchors is None else anchors
    _check(kind, size, alpha, classes, spec, depth)
    width = alpha or kind.alpha or 1.0
    plan = Blueprint(
        size=size,
        alpha=width,
        depth=depth or (scaled(kind.depth, width) if kind.depth else 0),
        classes=classes,
        anchors=spec,
        weights=str(weights or "none"),
    )
    return assemble(kind.build, plan, mono, name.replace("-", "_"))


def _check(
    kind: DetectorArchitecture, size: int, alpha: float | None, classes: int, anchors: AnchorSpec, depth: int | None
) -> None:
    if size % kind.multiple or size < _SMALLEST_SIZE:
        raise InputError(
            f"{kind.name} takes a size that is a multiple of {kind.multiple} and at least {_SMALLEST_SIZE}, not {size}",
            f"give {max(1, round(size / kind.multiple)) * kind.multiple}, or another multiple",
        )
    if alpha is not None and (kind.alpha is None or alpha <= 0):
        raise InputError(f"{kind.name} cannot have a width multiplier of {alpha}", "leave alpha out")
    if depth is not None and (kind.depth is None or depth < 1):
        raise InputError(f"{kind.name} cannot have a depth of {depth}", "leave depth out")
    if classes < 1:
        raise InputError(f"a detector tells at least one class, not {classes}", "give 1 or more")
    strides = tuple(level.stride for level in anchors.levels)
    if strides != kind.strides:
        raise InputError(
            f"{kind.name} has maps of strides {kind.strides}, the anchors are for {strides}",
            f"give anchors once for each of {', '.join(map(str, kind.strides))}",
        )
