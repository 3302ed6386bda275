"""The compact classifiers."""

from collections.abc import Callable

import numpy as np
import pytest

pytestmark = pytest.mark.host

keras = pytest.importorskip("keras")

from edgegal.errors import InputError  # noqa: E402
from edgegal.models.classifier import compact_network, inverted_residual_network, separable_network  # noqa: E402

BUILDERS = [compact_network, inverted_residual_network, separable_network]


@pytest.mark.parametrize("excite", [False, True])
@pytest.mark.parametrize("build", BUILDERS)
def test_probabilities_of_any_picture(build: Callable[..., keras.Model], excite: bool) -> None:
    model = build(3, 32, widths=(8, 8, 16, 16)[: 4 if build is compact_network else 3], repeats=2, excite=excite)
    assert [tensor.name for tensor in model.inputs] == ["image"]
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    found = keras.ops.convert_to_numpy(model(pictures)["probabilities"])
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_the_shipped_architecture_is_small() -> None:
    assert compact_network(6).count_params() <= 60_000


def test_looks_at_the_middle_are_averaged() -> None:
    """As the network without looks answers to each by itself: the mean of what precedes the softmax."""
    several, once = compact_network(4, 96, zooms=(1.25, 1.5)), compact_network(4, 64)
    assert several.count_params() == once.count_params()
    for layer in once.layers:
        if layer.weights:
            several.get_layer(layer.name).set_weights(layer.get_weights())
    pictures = np.random.default_rng(0).uniform(0, 255, (5, 96, 96, 3)).astype(np.float32)
    shrink = keras.layers.Resizing(64, 64)
    looks = [shrink(pictures), shrink(pictures[:, 10:86, 10:86]), pictures[:, 16:80, 16:80]]
    logs = [np.log(keras.ops.convert_to_numpy(once(look)["probabilities"])) for look in looks]
    mean = np.exp(np.mean(logs, axis=0))
    found = keras.ops.convert_to_numpy(several(pictures)["probabilities"])
    np.testing.assert_allclose(found, mean / mean.sum(axis=1, keepdims=True), atol=1e-5)


def test_a_mirrored_picture_is_the_same_to_a_network_that_looks_at_mirror_images() -> None:
    rng = np.random.default_rng(0)
    pictures = np.kron(rng.uniform(0, 255, (3, 6, 6, 3)), np.ones((1, 8, 8, 1))).astype(np.float32)
    differences = []
    for mirrored in (False, True):
        keras.utils.set_random_seed(1)
        model = compact_network(4, 48, zooms=(1.5,), mirrored=mirrored)
        kernel, bias = model.get_layer("logits").get_weights()
        model.get_layer("logits").set_weights([100 * kernel, bias])
        found, turned = (
            keras.ops.convert_to_numpy(model(views)["probabilities"]) for views in (pictures, pictures.swapaxes(1, 2))
        )
        differences.append(np.abs(found - turned).max())
    assert differences[0] > 1e-3
    assert differences[1] < 1e-5


@pytest.mark.parametrize("zooms", [(1.0,), (0.5, 2.0), (8.0,)])
def test_looks_that_see_nothing_new_or_too_little_are_refused(zooms: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="no looks at 96 px"):
        compact_network(4, 96, zooms=zooms)


@pytest.mark.parametrize("build", BUILDERS)
def test_excitation_weighs_channels_by_the_whole_picture(build: Callable[..., keras.Model]) -> None:
    """Light in one corner changes what the block says of the opposite one, out of reach of its 3x3 kernel."""
    model = build(3, 32, widths=(8, 8, 16, 16)[: 4 if build is compact_network else 3], repeats=1, excite=True)
    # The input of the excitation and its result.
    weigh = next(layer for layer in model.layers if layer.name.endswith("_weigh"))
    # Untrained, it hardly answers to anything.
    for part in ("reduce", "excite"):
        layer = model.get_layer(weigh.name.replace("weigh", part))
        layer.set_weights([np.random.default_rng(1).normal(0, 2, w.shape) for w in layer.get_weights()])
    depthwise, weights = weigh.input
    both = keras.Model(model.input, {"before": depthwise, "weights": weights, "after": weigh.output})
    dark = np.zeros((1, 32, 32, 3), np.float32)
    lit = dark.copy()
    lit[:, :4, :4] = 255
    seen = {name: keras.ops.convert_to_numpy(v) for name, v in both(np.concatenate([dark, lit])).items()}
    assert seen["weights"].shape[1:3] == (1, 1)
    assert (seen["weights"] >= 0).all()
    assert (seen["weights"] <= 1).all()
    assert not np.array_equal(seen["weights"][0], seen["weights"][1])
    np.testing.assert_allclose(seen["after"], seen["before"] * seen["weights"], atol=1e-5)
