"""Where feature maps lie, against the gradient that flows back to the picture."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from edgegal.explain.grid import Grid
from edgegal.explain.probe import survey

pytestmark = pytest.mark.host


def _centroid(model: keras.Model, layer: str, cell: int) -> float:
    """Centre, along the rows, of the pixels that one cell of a map depends on; kernels must be constant."""
    until = keras.Model(model.inputs[0], model.get_layer(layer).output)
    picture = tf.ones((1, *model.inputs[0].shape[1:]))
    with tf.GradientTape(watch_accessed_variables=False) as tape:
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
    for site in survey(model):
        assert site.grid.start + site.shape[0] // 2 * site.grid.step == pytest.approx(
            _centroid(model, site.path, site.shape[0] // 2), abs=1e-3
        )


def test_cut_off_margins_move_the_cells() -> None:
    image = keras.Input((48, 48, 1), name="image")
    x = layers.Conv2D(1, 3, kernel_initializer="ones", name="conv")(layers.Cropping2D(8, name="middle")(image))
    model = keras.Model(image, x)
    grids = {site.path: site.grid for site in survey(model)}
    assert grids == {"middle": Grid(8.5, 1), "conv": Grid(9.5, 1)}
    assert _centroid(model, "conv", 0) == pytest.approx(9.5)


def test_a_picture_resized_by_no_layer_is_seen_whole() -> None:
    image = keras.Input((48, 48, 1), name="image")
    smaller = keras.ops.image.resize(image, (16, 16))
    x = layers.Conv2D(1, 3, kernel_initializer="ones", name="conv")(smaller)
    assert [site.grid for site in survey(keras.Model(image, x))] == [Grid(4.5, 3)]


def test_a_shortcut_with_a_stride_of_its_own_is_counted_once() -> None:
    image = keras.Input((32, 32, 1), name="image")
    padded = layers.ZeroPadding2D(1)(image)
    main = layers.Conv2D(1, 3, strides=2, kernel_initializer="ones", name="main")(padded)
    # A convolution of one pixel would do, but TensorFlow's fast kernels crash on its gradient.
    short = layers.AveragePooling2D(1, strides=2, name="short")(image)
    x = layers.Add(name="add")([main, short])
    model = keras.Model(image, layers.AveragePooling2D(2, name="pool")(x))
    grids = {site.path: site.grid for site in survey(model)}
    assert grids["main"] == grids["short"] == grids["add"] == Grid(0.5, 2)
    assert grids["pool"] == Grid(1.5, 4)
    assert _centroid(model, "pool", 3) == pytest.approx(1.5 + 3 * 4)
