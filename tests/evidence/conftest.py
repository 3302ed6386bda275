"""One small network that tells three colours apart, and pictures of them."""

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest

SIZE = 32
LABELS = ("red", "green", "blue")


def paint(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Bright noise with more of one colour: pictures ``(n, h, w, 3)`` uint8, labels ``(n,)``."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int32) % len(LABELS)
    pictures = rng.normal(140, 12, (count, 1, 1, 3)) + rng.normal(0, 40, (count, SIZE, SIZE, 3))
    pictures[np.arange(count), :, :, labels] += rng.uniform(50, 80, (count, 1, 1))
    return np.clip(pictures, 0, 255).astype(np.uint8), labels


def _model() -> Any:
    """Two convolutions and a dense layer, which is fitted; the second adds up neighbours of one sign, and large."""
    import keras
    from keras import layers
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Conv2D(16, 3, strides=2, activation="relu", name="first")(layers.Rescaling(1 / 255)(image))
    x = layers.Conv2D(16, 3, strides=2, activation="relu", name="second")(x)
    pooled = layers.GlobalAveragePooling2D()(x)
    probabilities = layers.Softmax(name="probabilities")(layers.Dense(len(LABELS), name="logits")(pooled))
    model = keras.Model(image, {"probabilities": probabilities})
    kernel = np.zeros((3, 3, 3, 16))
    for channel in range(16):
        kernel[:, :, channel % 3, channel] = rng.uniform(0.5, 1, (3, 3)) / 9
    model.get_layer("first").set_weights([kernel, np.zeros(16)])
    signs = np.repeat(rng.choice([-1.0, 1.0], (3, 3, 8, 16), p=[0.4, 0.6]), 2, axis=2)
    model.get_layer("second").set_weights([signs * rng.uniform(0.8, 1, signs.shape) / 30, np.zeros(16)])
    pictures, labels = paint(300, 9)
    features = keras.Model(image, pooled).predict_on_batch(pictures.astype(np.float32))
    fitted = LogisticRegression(C=10, max_iter=5000).fit(features, labels)
    model.get_layer("logits").set_weights([fitted.coef_.T, fitted.intercept_])
    return model


@pytest.fixture(scope="session")
def make_pictures() -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    """`paint`."""
    return paint


@pytest.fixture(scope="session")
def colours() -> Any:
    """A `KerasNetwork` that tells the pictures of `paint` apart without a mistake."""
    from edgegal.bundle.manifest import ClassifierDescription, Provenance
    from edgegal.export import KerasNetwork
    from edgegal.preprocess import Preprocess

    description = ClassifierDescription(
        labels=LABELS,
        scheme="colours",
        preprocess=Preprocess(SIZE, SIZE),
        provenance=Provenance(
            architecture="two convolutions",
            parameters=1,
            datasets=("painted",),
            dataset_sha256="0" * 64,
            seed=0,
            versions={"keras": "3"},
            trained=datetime(2026, 1, 1, tzinfo=timezone.utc),
        ),
    )
    return KerasNetwork(_model(), description)
