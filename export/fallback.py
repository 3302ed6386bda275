"""Accuracy-aware fallback: an integer file that misses its gate keeps its worst layers in float, as few as it takes.

Layers are ranked on calibration pictures, so that the gate, which is measured on others, stays a judge of its own.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgegal.benchmarks.layers import layer_errors, layers_to_keep
from edgegal.export.registry import Exporter, Order
from edgegal.frames import View

__all__ = ["growing", "worst_layers"]

_PICTURES = 16
"""Enough to rank layers."""


def worst_layers(exporter: Exporter, float_order: Order, quantised: Path, pictures: View) -> tuple[str, ...]:
    """Operations of an integer file that lose most, worst first; half of those that lose anything, at least one.

    Parameters
    ----------
    exporter
        Of the file's format.
    float_order
        The same network in fp32, to be written to a temporary place: what the file is compared with.
    quantised
        The file.
    pictures
        ``(n, h, w, 3)`` uint8 RGB.

    Raises
    ------
    GateFailedError
        A layer gives values that are not finite.
    """
    float_file = exporter.load().convert(float_order).files[0]
    layers = layer_errors(exporter.format, float_file, quantised, pictures[:_PICTURES])
    losing = layers_to_keep(layers, len(layers))
    return losing[: max(1, len(losing) // 2)]


def growing(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The first name, the first two, four, eight and so on, and at last all of them."""
    count = 1
    while count < len(names):
        yield tuple(names[:count])
        count *= 2
    if names:
        yield tuple(names)
