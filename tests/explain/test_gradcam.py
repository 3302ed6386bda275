"""Class-activation maps of networks whose maps are known."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

from edgegal.errors import InputError
from edgegal.explain.activations import layer_maps
from edgegal.explain.gradcam import grad_cam
from edgegal.frames import View
from edgegal.models.classifier import compact_network, separable_network
from edgegal.models.course import two_convolution_network
from edgegal.models.vgg16 import vgg16_network

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def averaging() -> keras.Model:
    """One rectified convolution, its average, a linear layer: the gradient can be written down."""
    keras.utils.set_random_seed(2)
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Rescaling(1 / 255, name="rescale")(image)
    x = layers.Conv2D(5, 3, activation="relu", name="conv")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(4, activation="softmax", name="probabilities")(x)
    return keras.Model(image, {"probabilities": x})


@pytest.fixture(scope="module")
def noise() -> View:
    return np.random.default_rng(4).integers(0, 256, (3, 12, 12, 3)).astype(np.uint8)


def test_map_of_an_averaging_network_is_the_closed_form(averaging: keras.Model, noise: View) -> None:
    maps = grad_cam(averaging, noise)
    until = keras.Model(averaging.inputs, averaging.get_layer("conv").output)
    features = keras.ops.convert_to_numpy(until(noise.astype(np.float32)))
    kernel = keras.ops.convert_to_numpy(averaging.get_layer("probabilities").kernel)
    for i in range(3):
        probabilities = maps.probabilities[i]
        # d log p_c / d A_k is the same in every cell: the weight of class c less the mean weight of all.
        weights = kernel[:, maps.classes[i]] - kernel @ probabilities
        expected = np.maximum(features[i] @ weights, 0)
        np.testing.assert_allclose(maps.heat[i], expected / expected.max(), atol=1e-5)
    assert maps.layer == "conv"
    assert maps.classes.tolist() == maps.probabilities.argmax(axis=1).tolist()


def test_maps_do_not_depend_on_the_rest_of_the_batch(averaging: keras.Model, noise: View) -> None:
    together = grad_cam(averaging, noise).heat
    apart = np.concatenate([grad_cam(averaging, noise[i : i + 1]).heat for i in range(3)])
    np.testing.assert_allclose(together, apart, atol=1e-5)


def test_heat_lies_on_what_the_network_answers_to() -> None:
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(2, 1, activation="relu", name="conv")(image)
    x = layers.GlobalMaxPooling2D()(x)
    model = keras.Model(image, {"probabilities": layers.Dense(2, activation="softmax", name="dense")(x)})
    # Channel 0 sees red, channel 1 blue; class 0 is red, class 1 blue. So sure that the probability rounds to 1.
    model.get_layer("conv").set_weights([np.array([[[[1, 0], [0, 0], [0, 1]]]], np.float32), np.zeros(2)])
    model.get_layer("dense").set_weights([np.array([[0.1, -0.1], [-0.1, 0.1]], np.float32), np.zeros(2)])
    picture = np.zeros((1, 16, 16, 3), np.uint8)
    picture[0, 3:5, 10:12, 0] = 255
    picture[0, 12:14, 2:4, 2] = 80
    maps = grad_cam(model, picture)
    assert maps.probabilities[0, 0] > 1 - 1e-6
    expected = np.zeros((16, 16), bool)
    expected[3:5, 10:12] = True
    assert (maps.heat[0] > 0.5).tolist() == expected.tolist()


def test_no_evidence_is_an_empty_map(averaging: keras.Model) -> None:
    black = np.zeros((1, 12, 12, 3), np.uint8)
    heat = grad_cam(averaging, black).heat
    assert not heat.any()


@pytest.mark.parametrize(
    ("network", "layer"), [(separable_network, "level2_block1_relu"), (two_convolution_network, "conv2")]
)
def test_our_networks_are_looked_into_at_their_last_rectified_maps(
    network: Callable[[int, int], keras.Model], layer: str
) -> None:
    model = network(5, 32)
    pictures = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    maps = grad_cam(model, pictures)
    assert maps.layer == layer
    assert maps.heat.shape == (2, *model.get_layer(layer).output.shape[1:3])
    assert maps.heat.min() >= 0
    assert maps.heat.max() <= 1
    np.testing.assert_allclose(maps.probabilities.sum(axis=1), 1, rtol=1e-5)


def test_a_network_that_looks_several_times_is_mapped_where_it_sees_all() -> None:
    """Its first look shows the whole picture in a grid of its own, whatever the others see."""
    several = compact_network(4, 48, zooms=(1.5,))
    pictures = np.random.default_rng(1).integers(0, 256, (2, 48, 48, 3)).astype(np.uint8)
    maps = grad_cam(several, pictures)
    assert maps.heat.shape == (2, 4, 4)
    assert maps.grid.step == 48 / 4
    assert {m.maps.shape[0] for m in layer_maps(several, pictures)} == {2}


def test_a_layer_can_be_chosen_and_an_unknown_one_is_answered_with_all(averaging: keras.Model, noise: View) -> None:
    assert grad_cam(averaging, noise, "conv").heat.shape == (3, 10, 10)
    # Neither the picture before the first convolution nor what has no cells is a map.
    for name in ("rescale", "pool", "no_such_layer"):
        with pytest.raises(InputError, match=name) as caught:
            grad_cam(averaging, noise, name)
        assert caught.value.mend == "use one of: conv"


def test_networks_without_maps_are_refused() -> None:
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Flatten()(layers.Rescaling(1 / 255)(image))
    dense = keras.Model(image, {"probabilities": layers.Dense(2, activation="softmax")(x)}, name="dense_only")
    with pytest.raises(InputError, match="dense_only has no convolution"):
        grad_cam(dense, np.zeros((1, 8, 8, 3), np.uint8))
    x = layers.Flatten()(layers.Conv2D(4, 8)(image))
    single = keras.Model(image, {"probabilities": layers.Dense(2, activation="softmax")(x)})
    with pytest.raises(InputError, match="have one cell"):
        grad_cam(single, np.zeros((1, 8, 8, 3), np.uint8))


def test_beside_a_shortcut_a_map_shows_what_goes_through_the_layer() -> None:
    """The closed form of a network that adds a convolution's maps to its input's: the shortcut has no part in it."""
    keras.utils.set_random_seed(1)
    image = keras.Input((10, 10, 3), name="image")
    stem = layers.Conv2D(4, 3, activation="relu", padding="same", name="stem")(image)
    inner = layers.Conv2D(4, 3, activation="relu", padding="same", name="inner")(stem)
    x = layers.GlobalAveragePooling2D()(layers.Add(name="add")([stem, inner]))
    model = keras.Model(image, {"probabilities": layers.Dense(3, activation="softmax", name="dense")(x)})
    # Faint: a sure network's probabilities are rounded, and the closed form with them.
    picture = np.random.default_rng(0).integers(0, 3, (1, 10, 10, 3)).astype(np.uint8)
    maps = grad_cam(model, picture, "inner")
    features = keras.ops.convert_to_numpy(keras.Model(image, inner)(picture.astype(np.float32)))[0]
    kernel = keras.ops.convert_to_numpy(model.get_layer("dense").kernel)
    expected = np.maximum(features @ (kernel[:, maps.classes[0]] - kernel @ maps.probabilities[0]), 0)
    assert expected.max() > 0
    np.testing.assert_allclose(maps.heat[0], expected / expected.max(), atol=1e-4)


def test_layers_of_a_model_inside_the_model_are_reached(averaging: keras.Model, noise: View) -> None:
    base = keras.Model(averaging.inputs, averaging.get_layer("conv").output, name="base")
    image = keras.Input((12, 12, 3), name="image")
    x = averaging.get_layer("probabilities")(averaging.get_layer("pool")(base(image)))
    outer = keras.Input((12, 12, 3), name="image")
    nested = keras.Model(outer, keras.Model(image, {"probabilities": x}, name="net")(outer))
    inside, flat = grad_cam(nested, noise), grad_cam(averaging, noise)
    assert inside.layer == "net/base/conv"
    np.testing.assert_allclose(inside.heat, flat.heat, atol=1e-5)
    assert inside.grid == flat.grid
    assert grad_cam(nested, noise, "conv").layer == "net/base/conv"


def test_vgg_is_looked_into_at_its_last_convolution() -> None:
    model = vgg16_network(3, 48, weights="none")
    maps = grad_cam(model, np.random.default_rng(0).integers(0, 256, (1, 48, 48, 3)).astype(np.uint8))
    assert maps.layer == "block5_conv3"
    assert maps.heat.shape == (1, 3, 3)
