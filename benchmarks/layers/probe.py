"""The two files of one network, opened so that each layer can be looked at: in place, and alone."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import InputError

__all__ = ["MOVING", "Layer", "LayerProbe", "Values", "check_same_network"]

MOVING = frozenset(
    {
        *("CONCATENATION", "EXPAND_DIMS", "PACK", "PAD", "RESHAPE", "SLICE", "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE"),
        *("Concat", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice", "Squeeze", "StridedSlice"),
        *("Transpose", "Unsqueeze"),
    }
)
"""Kinds of operations that only move values: no layers of their own, unless they give an output of the network."""

Values = Mapping[str, NDArray[Any]]
"""Activations by the name of their tensor, dequantised."""


@dataclass(frozen=True)
class Layer:
    """An operation of the float file whose output is found again in the quantised file.

    Attributes
    ----------
    name, kind
        The operation's name and type in the terms of the file's format.
    tensor
        Name of its output.
    """

    name: str
    kind: str
    tensor: str


class LayerProbe(ABC):
    """A float file and a quantised file of one network, loaded with an output at each layer.

    A layer reaches from the outputs of the layers before it to its own. What a converter fused or put between (bias,
    activation function, quantisers) and what moves values (`MOVING`) belongs to the layer it leads to.
    """

    layers: tuple[Layer, ...]
    """In execution order."""

    @abstractmethod
    def run_float(self, batch: NDArray[np.float32]) -> Values:
        """Output of each layer in the float file."""

    @abstractmethod
    def run_quantised(self, batch: NDArray[np.float32]) -> Values:
        """Output of each layer in the quantised file."""

    @abstractmethod
    def run_alone(self, batch: NDArray[np.float32], activations: Values) -> Values:
        """Output of each layer of the quantised file, fed with the float file's `activations` instead of its own."""


def check_same_network(float_file: Path, quantised_file: Path, same_outputs: bool, found: int, of: int) -> None:
    """`InputError` unless the outputs are named alike and enough of the float file's operations were found."""
    # Converters fuse activation functions away; less than a third is left only where nothing but chance is alike.
    if not same_outputs or 3 * found < of:
        raise InputError(
            f"{quantised_file} is not a quantised form of {float_file}: {found} of {of} operations are alike",
            "give two files of one export",
        )
