"""What a network costs a small computer, and what the search is told about one that cannot be used."""

import math
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

__all__ = ["Cost", "chance_loss", "network_cost", "penalty"]


@dataclass(frozen=True)
class Cost:
    """Size and work of one network, whatever machine runs it.

    Attributes
    ----------
    parameters
        Weights of all layers, those that training leaves alone included.
    macs
        Multiply-accumulate operations of one picture in the convolution and dense layers; the rest is small beside
        them and folds into them on export.
    """

    parameters: int
    macs: int


def network_cost(model: keras.Model) -> Cost:
    """Cost of a built model."""
    return Cost(int(model.count_params()), sum(_layer_macs(layer) for layer in model.layers))


def _layer_macs(layer: Any) -> int:
    if not isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.Dense):
        return 0
    # Each position of the output (all axes but batch and channels) takes every weight of the kernel once.
    positions = math.prod(layer.output.shape[1:-1])
    return positions * math.prod(layer.kernel.shape)


def chance_loss(classes: int) -> float:
    """Cross-entropy of a network that learned nothing about `classes` balanced classes."""
    return math.log(classes)


def penalty(classes: int, parameters: int, limit: int | None) -> float:
    """The loss reported for a network that was too large, or whose training diverged.

    A trial marked as failed would be invisible to the oracle's Gaussian process, and three in a row end a Keras Tuner
    search; a poor score that worsens with the excess tells it where not to look. It is finite, and twice chance at
    least, so that no network that learned anything scores as badly.

    Parameters
    ----------
    classes
        Number of classes.
    parameters
        Of the network.
    limit
        Most parameters allowed; None when there is no limit.
    """
    excess = math.log2(max(1.0, parameters / limit)) if limit else 0.0
    return chance_loss(classes) * (2 + excess)
