"""The networks of the published works: their sizes as stated, and that they survive a save."""

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.host

keras = pytest.importorskip("keras", reason="training needs the host environment")

from edgegal.bundle.manifest import ClassifierDescription, Provenance  # noqa: E402
from edgegal.errors import InputError, MissingPartError  # noqa: E402
from edgegal.models.artefact import load_trained, save_trained  # noqa: E402
from edgegal.models.challenge import challenge_binary_network, challenge_fraction_network  # noqa: E402
from edgegal.models.four_convolution import four_convolution_network  # noqa: E402
from edgegal.models.scratch import scratch_network  # noqa: E402
from edgegal.models.vgg16 import vgg16_network  # noqa: E402
from edgegal.preprocess import Preprocess  # noqa: E402


def trainable(model: Any) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_vgg16_has_the_published_parameters() -> None:
    """The project writes 7,221,145 for the last figure, which no choice of layers gives."""
    frozen = vgg16_network(9, weights="none", trained="top")
    assert (frozen.count_params(), trainable(frozen)) == (14_846_409, 131_721)
    tuned = vgg16_network(9, weights="none", trained="block5")
    assert (tuned.count_params(), trainable(tuned)) == (14_846_409, 7_211_145)
    assert trainable(vgg16_network(9, weights="none", trained="all")) == 14_846_409


def test_vgg16_weights_that_cannot_be_fetched_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def unplugged(*_: Any, **__: Any) -> None:
        raise Exception("URL fetch failure on https://example.org/weights.h5: None -- unreachable\nsecond line")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", unplugged)
    with pytest.raises(MissingPartError, match="cannot be fetched: URL fetch failure") as found:
        vgg16_network(3, 32, weights="imagenet")
    assert 'weights = "none"' in str(found.value.mend)
    assert "second line" not in str(found.value)


def test_vgg16_reads_weights_from_a_file(tmp_path: Path) -> None:
    first = vgg16_network(3, 32, weights="none")
    base = keras.Model(first.inputs[0], first.get_layer("block5_pool").output)
    path = tmp_path / "base.weights.h5"
    base.save_weights(path)
    second = vgg16_network(3, 32, weights=str(path))
    for name in ("block1_conv1", "block5_conv3"):
        np.testing.assert_array_equal(first.get_layer(name).get_weights()[0], second.get_layer(name).get_weights()[0])


@pytest.mark.parametrize(("content", "message"), [(None, "no file of weights"), (b"not weights", "holds no weights")])
def test_wrong_weights_are_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "some.weights.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        vgg16_network(3, 32, weights=str(path))


def test_the_four_convolutions_are_those_of_the_thesis() -> None:
    model = four_convolution_network(3, 96)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [(layer.kernel_size, layer.filters) for layer in convolutions] == [
        ((6, 6), 32),
        ((5, 5), 64),
        ((2, 2), 128),
        ((3, 3), 128),
    ]
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Dropout") == 3
    pools = [i for i, kind in enumerate(kinds) if kind == "MaxPooling2D"]
    assert [kinds[:i].count("Conv2D") for i in pools] == [2, 3]
    assert model.get_layer("dense").units == 1000


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({}, {"Dropout": 0, "BatchNormalization": 0, "Conv2D": 2}),
        ({"filters": (8, 8, 8), "dropout": 0.3}, {"Dropout": 4, "BatchNormalization": 0, "Conv2D": 3}),
        ({"batch_norm": True, "l1": 1e-4, "l2": 1e-4}, {"Dropout": 0, "BatchNormalization": 2, "Conv2D": 2}),
    ],
)
def test_scratch_variants_have_what_they_say(options: dict[str, Any], kinds: dict[str, int]) -> None:
    model = scratch_network(5, 32, **options)
    found = [type(layer).__name__ for layer in model.layers]
    assert {kind: found.count(kind) for kind in kinds} == kinds
    # Three kernels are penalised: two convolutions and the dense layer.
    assert len(model.losses) == (3 if options.get("l1") else 0)


def test_the_sigmoid_is_the_second_class() -> None:
    keras.utils.set_random_seed(0)
    model = challenge_binary_network(32)
    pictures = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3)).astype(np.float32)
    found = model.predict(pictures, verbose=0)["probabilities"]
    sigmoid = keras.Model(model.inputs[0], model.get_layer("sigmoid").output).predict(pictures, verbose=0)
    np.testing.assert_allclose(found, np.concatenate([1 - sigmoid, sigmoid], axis=1), atol=1e-6)
    assert found.shape == (4, 2)


def test_a_grey_network_sees_brightness_alone_and_keeps_it_so() -> None:
    model = challenge_binary_network(32, grey=True)
    grey = model.get_layer("grey")
    assert not grey.trainable_weights
    eye = keras.Model(model.inputs[0], grey.output)
    reddish = np.full((1, 32, 32, 3), [100, 20, 30], np.float32)
    shade = np.full((1, 32, 32, 3), 0.299 * 100 + 0.587 * 20 + 0.114 * 30, np.float32)
    np.testing.assert_allclose(eye.predict(reddish, verbose=0), eye.predict(shade, verbose=0), rtol=1e-5)


@pytest.mark.parametrize(
    "build",
    [
        lambda size: scratch_network(3, size, filters=(8, 8, 8, 8)),
        lambda size: vgg16_network(3, size, weights="none"),
        lambda size: four_convolution_network(3, size),
        challenge_binary_network,
    ],
)
def test_too_few_pixels_are_refused_with_a_size(build: Any) -> None:
    with pytest.raises(InputError, match="16 pixels"):
        build(16)


@pytest.mark.parametrize(
    "network",
    [
        lambda: scratch_network(4, 24, filters=(4, 4), dense=8, dropout=0.2, batch_norm=True, l1=1e-5, l2=1e-5),
        lambda: four_convolution_network(4, 24, dense=8),
        lambda: challenge_fraction_network(4, 24, grey=True, dropout=0.3, dense=(8, 4)),
    ],
    ids=["scratch", "four-convolution", "challenge"],
)
def test_a_saved_network_answers_the_same(network: Any, tmp_path: Path) -> None:
    model = network()
    description = ClassifierDescription(
        labels=("a", "b", "c", "d"),
        scheme="letters",
        preprocess=Preprocess(24, 24),
        provenance=Provenance(
            architecture="test",
            parameters=model.count_params(),
            datasets=(),
            dataset_sha256="0" * 64,
            seed=0,
            versions={},
            trained=datetime.now(timezone.utc),
        ),
    )
    again, _ = load_trained(save_trained(model, description, tmp_path / "model"))
    pictures = np.random.default_rng(0).integers(0, 255, (2, 24, 24, 3)).astype(np.float32)
    before, after = (m.predict(pictures, verbose=0)["probabilities"] for m in (model, again))
    assert before.shape == (2, 4)
    np.testing.assert_allclose(before, after, atol=1e-6)
