"""The published space, and the networks in it."""

import keras
import numpy as np
import pytest

from edgegal.tuner import space

pytestmark = pytest.mark.host


def test_the_space_is_the_published_one() -> None:
    choices = {dimension.name: list(dimension.values) for dimension in space.hyperparameters().space}
    assert choices == {
        "filters_1": [32, 48, 64, 80, 96, 112, 128],
        "kernel_1": [3, 5],
        "filters_2": [32, 48, 64],
        "kernel_2": [3, 5],
        "dense": [32, 48, 64, 80, 96, 112, 128],
        "dropout": [0.3, 0.5, 0.7],
    }


def test_the_smallest_point_is_the_least_of_each_choice() -> None:
    least = {dimension.name: min(dimension.values) for dimension in space.hyperparameters().space}
    assert space.smallest() == least


def test_a_network_has_the_sizes_of_its_point() -> None:
    point = {"filters_1": 112, "kernel_1": 5, "filters_2": 48, "kernel_2": 3, "dense": 80, "dropout": 0.7}
    model = space.network(point, classes=5, size=69)
    assert model.get_layer("conv1").kernel.shape == (5, 5, 3, 112)
    assert model.get_layer("conv2").kernel.shape == (3, 3, 112, 48)
    assert model.get_layer("dense").units == 80
    assert model.get_layer("dropout").rate == 0.7
    assert model.get_layer("norm1").momentum == 0.9


def test_a_network_takes_pictures_of_0_to_255_and_gives_probabilities() -> None:
    model = space.network(space.smallest(), classes=3, size=20)
    assert [tensor.name for tensor in model.inputs] == ["image"]
    pictures = np.random.default_rng(0).uniform(0, 255, (2, 20, 20, 3)).astype(np.float32)
    probabilities = keras.ops.convert_to_numpy(model(pictures)["probabilities"])
    assert probabilities.shape == (2, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    # Scaling inside the graph: inputs of order 100 do not saturate an untrained softmax.
    assert probabilities.max() < 0.99
