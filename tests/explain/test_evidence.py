"""Maps of a trained network whose evidence is known to lie in one quarter of each picture, on both backends."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from edgegal.explain.filters import Ascent, climb
from edgegal.explain.gradcam import ClassMaps, grad_cam
from edgegal.frames import View

pytestmark = pytest.mark.host


def drawn(n: int, seed: int) -> tuple[View, NDArray[np.int32], NDArray[np.int64]]:
    """Noise with a patch in one quarter, striped upright (class 0) or across (class 1); and which quarter."""
    rng = np.random.default_rng(seed)
    pictures = rng.normal(60, 12, (n, 32, 32, 3))
    kinds, quarters = rng.integers(0, 2, n).astype(np.int32), rng.integers(0, 4, n)
    stripes = 60.0 * (np.arange(10) // 2 % 2)
    for picture, kind, quarter in zip(pictures, kinds, quarters, strict=True):
        y, x = 16 * (quarter // 2) + 3, 16 * (quarter % 2) + 3
        picture[y : y + 10, x : x + 10] += (stripes[None, :] if kind == 0 else stripes[:, None])[..., None]
    return np.clip(pictures, 0, 255).astype(np.uint8), kinds, quarters


def network() -> keras.Model:
    image = keras.Input((32, 32, 3), name="image")
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="first")(x)
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="second")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="last")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, {"probabilities": layers.Dense(2, activation="softmax")(x)})


class Seen(NamedTuple):
    """A trained network and what it was shown."""

    model: keras.Model
    pictures: View
    kinds: NDArray[np.int32]
    quarters: NDArray[np.int64]
    maps: ClassMaps


@pytest.fixture(scope="module")
def seen() -> Seen:
    keras.utils.set_random_seed(3)
    model = network()
    pictures, kinds, _ = drawn(512, 0)
    model.compile(keras.optimizers.Adam(5e-3), {"probabilities": "sparse_categorical_crossentropy"})
    model.fit(pictures.astype(np.float32), {"probabilities": kinds}, epochs=12, batch_size=32, verbose=0)
    held, kinds, quarters = drawn(60, 1)
    return Seen(model, held, kinds, quarters, grad_cam(model, held))


def shares(heat: NDArray[np.float32], quarters: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each map's heat that lies in its quarter."""
    n, rows, columns = heat.shape
    parts = heat.reshape(n, 2, rows // 2, 2, columns // 2).sum(axis=(2, 4)).reshape(n, 4)
    return parts[np.arange(n), quarters] / np.maximum(parts.sum(axis=1), 1e-9)


def peaks(heat: NDArray[np.float32]) -> NDArray[np.int64]:
    """The quarter of each map's highest cell."""
    n, rows, columns = heat.shape
    y, x = np.divmod(heat.reshape(n, -1).argmax(axis=1), columns)
    return 2 * (y >= rows // 2) + (x >= columns // 2)


def test_heat_peaks_where_the_evidence_is(seen: Seen) -> None:
    right = seen.maps.classes == seen.kinds
    assert right.mean() > 0.95
    assert np.mean(peaks(seen.maps.heat)[right] == seen.quarters[right]) > 0.95
    # By chance a quarter holds a quarter.
    assert np.median(shares(seen.maps.heat, seen.quarters)[right]) > 0.7


def test_a_map_depends_on_what_the_network_learned(seen: Seen) -> None:
    """The sanity check of Adebayo et al. 2018 (arXiv:1810.03292): random weights must give other maps."""
    keras.utils.set_random_seed(8)
    untrained = grad_cam(network(), seen.pictures)
    trained, random = (m.heat.reshape(len(m.heat), -1) for m in (seen.maps, untrained))
    alike = [np.corrcoef(a, b)[0, 1] for a, b in zip(trained, random, strict=True) if a.std() and b.std()]
    assert np.median(alike) < 0.5
    assert np.median(shares(untrained.heat, seen.quarters)) < np.median(shares(seen.maps.heat, seen.quarters)) - 0.2


_ON_JAX = """
import sys
import numpy as np, keras
from edgegal.explain.filters import Ascent, climb
from edgegal.explain.gradcam import grad_cam
assert keras.backend.backend() == "jax"
model = keras.saving.load_model(sys.argv[1])
maps = grad_cam(model, np.load(sys.argv[2]))
found = climb(model, "last", 2, Ascent(steps=1))
np.savez(sys.argv[3], heat=maps.heat, classes=maps.classes, before=found.before, after=found.after)
"""


def test_both_backends_draw_the_same(seen: Seen, tmp_path: Path) -> None:
    seen.model.save(tmp_path / "model.keras")
    np.save(tmp_path / "pictures.npy", seen.pictures[:2])
    done = subprocess.run(
        [sys.executable, "-c", _ON_JAX, *(str(tmp_path / n) for n in ("model.keras", "pictures.npy", "out.npz"))],
        # Most of the time would go into making code fast that runs once.
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as other:
        np.testing.assert_array_equal(other["classes"], seen.maps.classes[:2])
        np.testing.assert_allclose(other["heat"], seen.maps.heat[:2], atol=2e-3)
        ours = climb(seen.model, "last", 2, Ascent(steps=1))
        np.testing.assert_allclose(other["before"], ours.before, rtol=1e-3, atol=1e-5)
        # Steps follow the sign of rounding where a slope is all but flat.
        np.testing.assert_allclose(other["after"], ours.after, rtol=0.02)
