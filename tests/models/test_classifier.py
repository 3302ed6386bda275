"""The compact classifiers."""

from collections.abc import Callable

import numpy as np
import pytest

pytestmark = pytest.mark.host

keras = pytest.importorskip("keras")

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
