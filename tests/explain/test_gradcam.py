"""Class-activation maps of networks whose maps are known."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

from edgegal.errors import InputError
from edgegal.explain.gradcam import feature_layers, grad_cam
from edgegal.frames import View
from edgegal.models.classifier import separable_network
from edgegal.models.course import two_convolution_network

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


def test_a_layer_can_be_chosen_and_an_unknown_one_is_named(averaging: keras.Model, noise: View) -> None:
    assert feature_layers(averaging) == ("rescale", "conv")
    assert grad_cam(averaging, noise, "rescale").heat.shape == (3, 12, 12)
    with pytest.raises(InputError, match="pool") as caught:
        grad_cam(averaging, noise, "pool")
    assert "rescale, conv" in caught.value.mend


def test_a_layer_beside_a_shortcut_is_refused(noise: View) -> None:
    model = separable_network(3, 32)
    pictures = np.zeros((1, 32, 32, 3), np.uint8)
    with pytest.raises(InputError, match="goes around"):
        grad_cam(model, pictures, "level1_block1_pointwise")
