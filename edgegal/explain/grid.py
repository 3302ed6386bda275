"""Where the cells of a feature map lie in the picture.

Not in even parts: padding of "same" convolutions with stride 2 goes to the right and below only, so each of them moves
the cells half a pixel of its input towards the bottom right, and unpadded ones lose the margin. Four strides of 2 at
64 pixels make 7.5 pixels: drawn evenly, heat would lie beside the galaxy that caused it.
"""

from dataclasses import dataclass
from typing import Any

from keras import layers

__all__ = ["PIXELS", "Grid", "after", "covering"]

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


PIXELS = Grid(0.5, 1.0)
"""The grid of the picture itself."""


def covering(size: int, extent: int) -> Grid:
    """Grid of `extent` cells over all of a picture of `size` pixels."""
    return Grid(size / extent / 2, size / extent)


def after(layer: Any, grid: Grid, extent: int) -> Grid:
    """Grid of what a layer gives: centres of the receptive fields (Araujo et al. 2019).

    Convolutions, poolings, zero padding and cropping, square and alike in both axes; other layers are taken to keep
    the grid.

    Parameters
    ----------
    layer
        A Keras layer.
    grid
        Of its input.
    extent
        Cells of its input along an axis.
    """
    if isinstance(layer, layers.ZeroPadding2D):
        return Grid(grid.start - grid.step * int(layer.padding[0][0]), grid.step)
    if isinstance(layer, layers.Cropping2D):
        return Grid(grid.start + grid.step * int(layer.cropping[0][0]), grid.step)
    if not isinstance(layer, _WINDOWED):
        return grid
    size = layer.kernel_size if hasattr(layer, "kernel_size") else layer.pool_size
    window, stride = int(size[0]), int(layer.strides[0])
    if hasattr(layer, "dilation_rate"):
        window = (window - 1) * int(layer.dilation_rate[0]) + 1
    before = 0
    if layer.padding == "same":
        before = max((-(-extent // stride) - 1) * stride + window - extent, 0) // 2
    return Grid(grid.start + grid.step * ((window - 1) / 2 - before), grid.step * stride)
