"""Small networks built of the layers the real ones have, exported once for the whole session."""

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgegal.anchors import AnchorLevel, AnchorSpec
from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription, Provenance
from edgegal.preprocess import Preprocess, Stretch, stretch_linear
from edgegal.sky import draw_scene

SIZE = 64
LABELS = ("round", "in-between", "cigar", "edge-on", "spiral")
ANCHORS = AnchorSpec(levels=(AnchorLevel(8, (14.0, 22.0)), AnchorLevel(16, (34.0,))), ratios=(1.0, 2.0, 0.5))


def _provenance(architecture: str) -> Provenance:
    return Provenance(
        architecture=architecture,
        parameters=1,
        datasets=("composed",),
        dataset_sha256="0" * 64,
        seed=0,
        versions={"keras": "3"},
        trained=datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
    )


def sky(count: int, seed: int) -> np.ndarray:
    """Stretched simulated skies ``(n, SIZE, SIZE, 3)`` uint8, of the core's sky: what training shows may change."""
    pictures = []
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        light = draw_scene(SIZE, SIZE, rng, galaxies=5, stars=15, sizes=(8, 60)).light
        pictures.append(stretch_linear(light + rng.standard_normal(light.shape, np.float32), Stretch()))
    return np.stack(pictures)


def _settle(model: Any, pictures: np.ndarray) -> None:
    """Bring the batch norms to the pictures' statistics, as training does, so that outputs tell pictures apart."""
    for layer in model.layers:
        if hasattr(layer, "momentum"):
            layer.momentum = 0.3
    for _ in range(4):
        model(pictures.astype(np.float32), training=True)


def _classifier() -> Any:
    import keras

    from edgegal.models.classifier import separable_network

    keras.utils.set_random_seed(1)
    model = separable_network(len(LABELS), SIZE, widths=(8, 16, 24), repeats=1)
    dense = model.get_layer("logits")
    _settle(model, sky(32, 1))
    # Untrained logits are all alike: spread and centre them, so that every class wins somewhere.
    pooled = keras.Model(model.input, dense.input).predict_on_batch(sky(32, 1).astype(np.float32))
    weights = np.random.default_rng(8).normal(size=dense.kernel.shape) / pooled.std()
    dense.set_weights([weights, -(pooled.mean(axis=0) @ weights)])
    return model


def _detector() -> Any:
    import keras
    from keras import layers

    keras.utils.set_random_seed(2)

    def separable(x: Any, filters: int, stride: int) -> Any:
        x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.Conv2D(filters, 1, use_bias=False)(x)
        return layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(x))

    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same")(layers.Rescaling(1 / 255)(image))
    fine = separable(separable(x, 16, 2), 24, 2)
    maps = (fine, separable(fine, 32, 2))
    spread = keras.initializers.RandomNormal(stddev=0.7, seed=4)
    boxes, scores, convolutions = [], [], []
    for tensor, level in zip(maps, ANCHORS.levels, strict=True):
        cell = len(level.sizes) * len(ANCHORS.ratios)
        boxes.append(layers.Reshape((-1, 4))(layers.Conv2D(cell * 4, 1)(tensor)))
        convolutions.append(layers.Conv2D(cell, 1, kernel_initializer=spread))
        scores.append(layers.Reshape((-1, 1))(convolutions[-1](tensor)))
    outputs = {
        "boxes": layers.Concatenate(axis=1, name="boxes")(boxes),
        "scores": layers.Activation("sigmoid", name="scores")(layers.Concatenate(axis=1)(scores)),
    }
    model = keras.Model(image, outputs)
    pictures = sky(32, 2)
    _settle(model, pictures)
    for convolution in convolutions:
        logits = keras.Model(image, convolution.output).predict_on_batch(pictures.astype(np.float32))
        # A few anchors in a hundred lie above the score threshold.
        kernel, bias = convolution.get_weights()
        convolution.set_weights([kernel, bias - np.quantile(logits, 0.97)])
    return model


@pytest.fixture(scope="session")
def make_sky() -> Callable[[int, int], np.ndarray]:
    """`sky`."""
    return sky


@pytest.fixture(scope="session")
def write_pictures() -> Callable[[Path], Path]:
    """Writes simulated galaxies as ``DIR/<train|val>/<label>/<n>.png`` and gives back DIR."""
    import cv2

    def write(folder: Path) -> Path:
        for split, seed, count in (("train", 30, 40), ("val", 31, 20)):
            for number, picture in enumerate(sky(count, seed)):
                path = folder / split / LABELS[number % len(LABELS)] / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
        return folder

    return write


@pytest.fixture(scope="session")
def classifier() -> Any:
    """A `KerasNetwork` that tells five classes apart, arbitrarily."""
    from edgegal.export import KerasNetwork

    description = ClassifierDescription(
        labels=LABELS,
        scheme="gz2-5class",
        preprocess=Preprocess(SIZE, SIZE),
        provenance=_provenance("tiny separable"),
        abstain_below=0.35,
        min_side_px=6.0,
    )
    return KerasNetwork(_classifier(), description)


@pytest.fixture(scope="session")
def detector() -> Any:
    """A `KerasNetwork` that finds boxes, arbitrarily."""
    from edgegal.export import KerasNetwork

    description = DetectorDescription(
        labels=("galaxy",),
        scheme="galaxy",
        preprocess=Preprocess(SIZE, SIZE),
        provenance=_provenance("tiny SSD"),
        anchors=ANCHORS,
        tile_overlap=16,
    )
    return KerasNetwork(_detector(), description)


@pytest.fixture(scope="session")
def exported(classifier: Any, detector: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Both networks in every format and precision: ``bundle``, and the ``lines`` of progress."""
    from edgegal.export import Calibration, Identity, Job, export_bundle, plan

    out: Path = tmp_path_factory.mktemp("export") / "deep" / "tiny"
    calibration = Calibration(sky(32, 3), "simulated sky", "train", 3)
    jobs = [Job(network, sky(24, 4), calibration, "simulated sky val") for network in (detector, classifier)]
    lines: list[str] = []
    bundle = export_bundle(
        jobs,
        plan(["tflite", "onnx", "openvino"], ["fp32", "fp16", "int8"]),
        out,
        Identity("tiny", "0.1"),
        progress=lines.append,
    )
    return SimpleNamespace(bundle=bundle, lines=lines, calibration=calibration)
