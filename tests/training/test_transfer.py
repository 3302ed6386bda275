"""Starting from another network's weights, and moving some layers only."""

import numpy as np
import pytest

pytestmark = pytest.mark.host

keras = pytest.importorskip("keras", reason="training needs the host environment")

from edgegal.errors import InputError  # noqa: E402
from edgegal.models.four_convolution import four_convolution_network  # noqa: E402
from edgegal.models.scratch import scratch_network  # noqa: E402
from edgegal.training.transfer import Tune, start_from, train_only  # noqa: E402


def network(classes: int = 3) -> "keras.Model":
    return four_convolution_network(classes, 24, dense=8)


def test_all_weights_come_over_when_classes_are_the_same() -> None:
    model, source = network(), network()
    assert start_from(model, source, same_classes=True)
    for ours, theirs in zip(model.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("classes", [3, 10])
def test_other_classes_get_a_fresh_last_layer(classes: int) -> None:
    model, source = network(), network(classes)
    before = model.get_layer("logits").get_weights()[0]
    assert not start_from(model, source, same_classes=False)
    np.testing.assert_array_equal(model.get_layer("logits").get_weights()[0], before)
    np.testing.assert_array_equal(*(m.get_layer("dense").get_weights()[0] for m in (model, source)))


@pytest.mark.parametrize("source", [scratch_network(3, 24), four_convolution_network(3, 28, dense=8)])
def test_another_architecture_or_size_is_refused(source: "keras.Model") -> None:
    with pytest.raises(InputError, match="no counterpart"):
        start_from(network(), source, same_classes=True)


@pytest.mark.parametrize(
    ("tune", "head", "moved"),
    [
        ("none", False, set()),
        ("none", True, {"logits"}),
        ("dense", False, {"dense", "logits"}),
        ("last two convolutions", False, {"conv3", "conv4", "dense", "logits"}),
        ("as built", False, {"conv1", "conv2", "conv3", "conv4", "dense", "logits"}),
    ],
)
def test_a_step_moves_the_chosen_layers_alone(tune: Tune, head: bool, moved: set[str]) -> None:
    model = network()
    train_only(model, tune, head)
    before = {layer.name: layer.get_weights() for layer in model.layers if layer.weights}
    if model.trainable_weights:
        pictures = np.random.default_rng(0).uniform(0, 255, (6, 24, 24, 3)).astype(np.float32)
        loss = {"probabilities": "sparse_categorical_crossentropy"}
        model.compile(keras.optimizers.Adam(0.1), loss, run_eagerly=True)
        model.train_on_batch(pictures, {"probabilities": np.array([0, 1, 2, 0, 1, 2])})
    changed = {
        name
        for name, weights in before.items()
        if any((a != b).any() for a, b in zip(weights, model.get_layer(name).get_weights(), strict=True))
    }
    assert changed == moved
