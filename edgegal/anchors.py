"""Anchor boxes and the box coder of the single-shot detector (Liu et al. 2016; TF Object Detection API)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AnchorLevel",
    "AnchorSpec",
    "anchor_count",
    "cell_shapes",
    "decode",
    "encode",
    "fpn_anchors",
    "generate",
    "ssd_anchors",
]

Layout = Literal["stride", "even", "origin"]


@dataclass(frozen=True)
class AnchorLevel:
    """Anchors of one feature map, alike in each of its cells.

    Attributes
    ----------
    stride
        Input pixels per cell of the feature map.
    sizes
        Sides of the square anchors, in input pixels; each comes in every ratio of the `AnchorSpec`.
    shapes
        Size and ratio of single anchors, after those of `sizes`: for recipes whose maps differ in their ratios.
    """

    stride: int
    sizes: tuple[float, ...] = ()
    shapes: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        numbers = (*self.sizes, *(number for shape in self.shapes for number in shape))
        if self.stride < 1 or not numbers or not all(0 < number < math.inf for number in numbers):
            raise ValueError(
                f"stride {self.stride} must be at least 1, anchor sizes {self.sizes} and shapes {self.shapes} positive"
            )


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
    layout
        Where the centres of a map's cells lie when its stride does not divide the picture; all are the same otherwise.
        ``stride``: half a stride from the picture's edge and a stride apart, so that the last ones may lie beyond the
        other edge. ``even``: spread evenly over the picture, as in TF's SSD and in EfficientDet. ``origin``: a stride
        apart from 0 on, as in TF's FPN detectors, whose level 7 at 320 pixels is such a map.
    """

    levels: tuple[AnchorLevel, ...]
    ratios: tuple[float, ...] = (1.0, 2.0, 0.5)
    coder_scales: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    layout: Layout = "stride"

    def __post_init__(self) -> None:
        if not self.levels or not self.ratios or min(self.ratios) <= 0 or min(self.coder_scales) <= 0:
            raise ValueError(
                f"anchors need levels, positive ratios {self.ratios} and positive coder scales {self.coder_scales}"
            )


def _grid(extent: int, stride: int) -> int:
    return -(-extent // stride)


def _centres(extent: int, stride: int, layout: Layout) -> NDArray[np.floating]:
    cells = np.arange(_grid(extent, stride))
    if extent % stride and layout == "origin":
        return cells * float(stride)
    return (cells + 0.5) * (extent / len(cells) if layout == "even" else stride)


def cell_shapes(spec: AnchorSpec, level: AnchorLevel) -> NDArray[np.float64]:
    """Width and height ``(k, 2)`` in input pixels of the anchors in each cell of `level`, size by size."""
    sizes = [size for size in level.sizes for _ in spec.ratios] + [size for size, _ in level.shapes]
    ratios = [*spec.ratios * len(level.sizes), *(ratio for _, ratio in level.shapes)]
    roots = np.sqrt(np.array(ratios))
    return np.stack([np.array(sizes) * roots, np.array(sizes) / roots], axis=1)


def anchor_count(spec: AnchorSpec, height: int, width: int) -> int:
    """Number of anchors for an input of ``height x width``."""
    return sum(
        _grid(height, level.stride) * _grid(width, level.stride) * len(cell_shapes(spec, level))
        for level in spec.levels
    )


def generate(spec: AnchorSpec, height: int, width: int) -> NDArray[np.float32]:
    """Anchors as ``(n, 4)`` cx, cy, w, h in input pixels.

    Order: level by level, row by row, cell by cell, size by size, ratio by ratio, then the level's single shapes.
    """
    parts = []
    for level in spec.levels:
        cx, cy = (_centres(extent, level.stride, spec.layout) for extent in (width, height))
        shapes = cell_shapes(spec, level)
        cells = np.empty((len(cy), len(cx), len(shapes), 4), np.float32)
        cells[..., 0], cells[..., 1], cells[..., 2:] = cx[None, :, None], cy[:, None, None], shapes
        parts.append(cells.reshape(-1, 4))
    return np.concatenate(parts)


def ssd_anchors(
    size: int,
    scales: Sequence[float] = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95),
    finest: float = 0.1,
    stride: int = 16,
) -> AnchorSpec:
    """Anchors of SSD as the TF Object Detection API lays them out.

    Three in each cell of the finest map, six in each of the others: the ratios 1, 2, 1/2, 3 and 1/3, and between a map
    and the next coarser one a square of the geometric mean of both sizes.

    Parameters
    ----------
    size
        Input side in pixels.
    scales
        Anchor size of each map over `size`, finest map first.
    finest
        Size of the square anchor on the finest map, over `size`: the smallest there is.
    stride
        Stride of the finest map, in pixels; each next map has twice that of the one before.
    """
    maps: list[tuple[tuple[float, float], ...]] = [((finest, 1.0), (scales[0], 2.0), (scales[0], 0.5))]
    for scale, coarser in zip(scales[1:], (*scales[2:], 1.0), strict=True):
        maps.append((*((scale, r) for r in (1.0, 2.0, 0.5, 3.0, 1 / 3)), (math.sqrt(scale * coarser), 1.0)))
    return AnchorSpec(
        tuple(
            AnchorLevel(stride << number, shapes=tuple((scale * size, ratio) for scale, ratio in shapes))
            for number, shapes in enumerate(maps)
        ),
        layout="even",
    )


def fpn_anchors(
    smallest: float = 32.0,
    levels: Sequence[int] = (3, 4, 5, 6, 7),
    per_level: int = 2,
    ratios: tuple[float, ...] = (1.0, 2.0, 0.5),
    layout: Layout = "origin",
) -> AnchorSpec:
    """Anchors of a feature pyramid (Lin et al. 2017), each level twice the size of the one below.

    Parameters
    ----------
    smallest
        Size of the smallest anchor in pixels; RetinaNet and the TF Object Detection API have four strides of the finest
        level, which is more than most galaxies.
    levels
        Levels of the pyramid, finest first; level l has stride 2^l.
    per_level
        Sizes from a level up to the next, equally spaced in their logarithms.
    ratios, layout
        As in `AnchorSpec`.
    """
    return AnchorSpec(
        tuple(
            AnchorLevel(
                1 << level, tuple(smallest * 2 ** (level - levels[0] + step / per_level) for step in range(per_level))
            )
            for level in levels
        ),
        ratios,
        layout=layout,
    )


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
