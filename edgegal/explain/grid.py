"""Where the cells of a feature map lie in the picture.

Not in even parts: padding of "same" convolutions with stride 2 goes to the right and below only, so each of them moves
the cells half a pixel of its input towards the bottom right, and unpadded ones lose the margin. Four strides of 2 at
64 pixels make 7.5 pixels: drawn evenly, heat would lie beside the galaxy that caused it.
"""

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

__all__ = ["Grid", "grid_of"]

_WINDOWED = (
    layers.Conv2D,
    layers.DepthwiseConv2D,
    layers.SeparableConv2D,
    layers.MaxPooling2D,
    layers.AveragePooling2D,
)


@dataclass(frozen=True)
class Grid:
    """Regular cells, alike in both axes.

    Attributes
    ----------
    start
        Centre of the first cell in pixels of the network's input; 0 is the outer corner of the first pixel.
    step
        Pixels from cell to cell.
    """

    start: float
    step: float


def grid_of(model: keras.Model, layer: str) -> Grid:
    """Grid of the maps that a layer gives: centres of the receptive fields (Araujo et al. 2019).

    Convolutions and poolings of a network without branches of different stride, square and alike in both axes; other
    layers are taken to keep the grid.
    """
    start, step = 0.5, 1.0
    for each in model.layers:
        if isinstance(each, _WINDOWED):
            window, stride, before = _window(each)
            start += step * ((window - 1) / 2 - before)
            step *= stride
        if each.name == layer:
            break
    return Grid(start, step)


def _window(layer: Any) -> tuple[int, int, int]:
    """Cells covered, stride, and padding before the first, along one axis."""
    size = layer.kernel_size if hasattr(layer, "kernel_size") else layer.pool_size
    window, stride, extent = int(size[0]), int(layer.strides[0]), int(layer.input.shape[1])
    if hasattr(layer, "dilation_rate"):
        window = (window - 1) * int(layer.dilation_rate[0]) + 1
    if layer.padding == "valid":
        return window, stride, 0
    cells = -(-extent // stride)
    return window, stride, max((cells - 1) * stride + window - extent, 0) // 2
