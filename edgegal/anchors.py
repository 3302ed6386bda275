"""Anchor boxes and the box coder of the single-shot detector (Liu et al. 2016; TF Object Detection API)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["AnchorLevel", "AnchorSpec", "anchor_count", "decode", "encode", "generate"]


@dataclass(frozen=True)
class AnchorLevel:
    """Anchors of one feature map.

    Attributes
    ----------
    stride
        Input pixels per cell of the feature map.
    sizes
        Sides of the square anchors, in input pixels.
    """

    stride: int
    sizes: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.stride < 1 or not self.sizes or min(self.sizes) <= 0:
            raise ValueError(f"stride {self.stride} must be at least 1 and anchor sizes {self.sizes} positive")


@dataclass(frozen=True)
class AnchorSpec:
    """All anchors of a detector.

    Attributes
    ----------
    levels
        One entry a feature map, finest first.
    ratios
        Width over height of the anchors; an anchor of size s and ratio r is ``s sqrt(r)`` by ``s / sqrt(r)``.
    coder_scales
        Factors on the centre offsets (y, x) and log sizes (h, w): 10 10 5 5 in the reference recipe.
    """

    levels: tuple[AnchorLevel, ...]
    ratios: tuple[float, ...] = (1.0, 2.0, 0.5)
    coder_scales: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)

    def __post_init__(self) -> None:
        if not self.levels or not self.ratios or min(self.ratios) <= 0 or min(self.coder_scales) <= 0:
            raise ValueError(
                f"anchors need levels, positive ratios {self.ratios} and positive coder scales {self.coder_scales}"
            )


def _grid(extent: int, stride: int) -> int:
    return -(-extent // stride)


def anchor_count(spec: AnchorSpec, height: int, width: int) -> int:
    """Number of anchors for an input of ``height x width``."""
    return sum(
        _grid(height, lv.stride) * _grid(width, lv.stride) * len(lv.sizes) * len(spec.ratios) for lv in spec.levels
    )


def generate(spec: AnchorSpec, height: int, width: int) -> NDArray[np.float32]:
    """Anchors as ``(n, 4)`` cx, cy, w, h in input pixels.

    Order: level by level, row by row, cell by cell, size by size, ratio by ratio.
    """
    parts = []
    for level in spec.levels:
        cy = (np.arange(_grid(height, level.stride)) + 0.5) * level.stride
        cx = (np.arange(_grid(width, level.stride)) + 0.5) * level.stride
        roots = np.sqrt(np.array(spec.ratios))
        sizes = np.array(level.sizes)
        shapes = np.stack([np.outer(sizes, roots).ravel(), np.outer(sizes, 1 / roots).ravel()], axis=1)
        centres = np.stack(np.meshgrid(cx, cy), axis=-1).reshape(-1, 1, 2)
        cells = np.concatenate(
            [
                np.broadcast_to(centres, (len(centres), len(shapes), 2)),
                np.broadcast_to(shapes, (len(centres), len(shapes), 2)),
            ],
            axis=2,
        )
        parts.append(cells.reshape(-1, 4))
    return np.concatenate(parts).astype(np.float32)


def encode(
    boxes: NDArray[np.floating], anchors: NDArray[np.float32], scales: tuple[float, float, float, float]
) -> NDArray[np.float32]:
    """Codes ty, tx, th, tw ``(n, 4)`` of boxes ``(n, 4)`` x0, y0, x1, y1 against anchors ``(n, 4)`` cx, cy, w, h."""
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    offset = (centre - anchors[:, :2]) / anchors[:, 2:]
    growth = np.log(size / anchors[:, 2:])
    codes = np.stack([offset[:, 1], offset[:, 0], growth[:, 1], growth[:, 0]], axis=1)
    return (codes * np.array(scales)).astype(np.float32)


def decode(
    codes: NDArray[np.floating], anchors: NDArray[np.float32], scales: tuple[float, float, float, float]
) -> NDArray[np.float32]:
    """Boxes ``(n, 4)`` x0, y0, x1, y1 of codes ``(n, 4)`` ty, tx, th, tw: the inverse of `encode`."""
    plain = codes / np.array(scales, np.float32)
    centre = plain[:, 1::-1] * anchors[:, 2:] + anchors[:, :2]
    # A wild code may not overflow: e^8 times the anchor is far beyond any picture.
    size = np.exp(np.clip(plain[:, :1:-1], -8, 8)) * anchors[:, 2:]
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1).astype(np.float32)
