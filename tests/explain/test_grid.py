"""Where feature maps lie, against the gradient that flows back to the picture."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from edgegal.explain.grid import grid_of

pytestmark = pytest.mark.host


def _centroid(model: keras.Model, layer: str, cell: int) -> float:
    """Centre, along the rows, of the pixels that one cell of a map depends on; kernels must be constant."""
    until = keras.Model(model.inputs[0], model.get_layer(layer).output)
    picture = tf.ones((1, *model.inputs[0].shape[1:]))
    with tf.GradientTape() as tape:
        tape.watch(picture)
        value = until(picture)[0, cell, cell, 0]
    rows = tape.gradient(value, picture).numpy()[0].sum(axis=(1, 2))
    return float((rows * (np.arange(len(rows)) + 0.5)).sum() / rows.sum())


@pytest.mark.parametrize("size", [64, 69])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_cell_lies_where_its_gradient_comes_from(size: int, padding: str) -> None:
    image = keras.Input((size, size, 1), name="image")
    x = layers.Conv2D(1, 3, strides=2, padding=padding, kernel_initializer="ones", name="a")(image)
    x = layers.AveragePooling2D(2, name="b")(x)
    x = layers.DepthwiseConv2D(3, strides=2, padding=padding, depthwise_initializer="ones", name="c")(x)
    x = layers.ReLU(name="d")(x)
    x = layers.Conv2D(1, 3, dilation_rate=2, padding="same", kernel_initializer="ones", name="e")(x)
    model = keras.Model(image, x)
    for layer in "abcde":
        grid, cell = grid_of(model, layer), model.get_layer(layer).output.shape[1] // 2
        assert grid.start + cell * grid.step == pytest.approx(_centroid(model, layer, cell), abs=1e-3)
