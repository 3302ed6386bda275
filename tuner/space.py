"""The search space of the course project's hyper-optimised classifier, as published."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import keras
import keras_tuner

from edgegal.models.course import two_convolution_network

__all__ = ["PUBLISHED_SIZE", "Values", "hyperparameters", "network", "smallest"]

PUBLISHED_SIZE = 69
"""Input side of the project's pictures (Galaxy10 SDSS)."""

Values: TypeAlias = Mapping[str, Any]
"""One point of the space: hyperparameter name to value."""


def hyperparameters() -> keras_tuner.HyperParameters:
    """A fresh copy of the space: six dimensions, 7 x 2 x 3 x 2 x 7 x 3 = 1,764 networks."""
    hp = keras_tuner.HyperParameters()
    hp.Int("filters_1", 32, 128, step=16)
    hp.Choice("kernel_1", [3, 5])
    hp.Int("filters_2", 32, 64, step=16)
    hp.Choice("kernel_2", [3, 5])
    hp.Int("dense", 32, 128, step=16)
    hp.Choice("dropout", [0.3, 0.5, 0.7])
    return hp


def smallest() -> Values:
    """The point of the space with the fewest multiplications: every size at its least."""
    return {"filters_1": 32, "kernel_1": 3, "filters_2": 32, "kernel_2": 3, "dense": 32, "dropout": 0.3}


def network(values: Values, classes: int, size: int) -> keras.Model:
    """The untrained network at one point of the space, for `classes` classes and square inputs of `size` pixels."""
    return two_convolution_network(
        classes,
        size,
        filters=(values["filters_1"], values["filters_2"]),
        kernels=(values["kernel_1"], values["kernel_2"]),
        dense=values["dense"],
        dropout=values["dropout"],
    )
