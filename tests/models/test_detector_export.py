"""Every detector becomes a file of every format that says what Keras says."""

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.host, pytest.mark.slow]

keras = pytest.importorskip("keras", reason="building networks needs the host environment")

from edgegal import runtimes  # noqa: E402
from edgegal.bundle.manifest import DetectorDescription, Provenance  # noqa: E402
from edgegal.export import EXPORTERS, KerasNetwork  # noqa: E402
from edgegal.export.quiet import tools_quiet  # noqa: E402
from edgegal.export.registry import Order  # noqa: E402
from edgegal.models.detector import DETECTORS, build_detector  # noqa: E402
from edgegal.preprocess import Preprocess  # noqa: E402


def _network(name: str, size: int, mono: bool) -> KerasNetwork:
    """Untrained, but with batch norms that have seen pictures, so that outputs tell pictures apart."""
    keras.utils.set_random_seed(4)
    kind = DETECTORS[name]
    model = build_detector(name, size, mono=mono, depth=None if kind.depth is None else 16)
    inner = [layer for nested in model.layers if isinstance(nested, keras.Model) for layer in nested.layers]
    for layer in (*model.layers, *inner):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.3
        if isinstance(layer, keras.layers.Conv2D) and not np.asarray(layer.kernel).any():
            # What begins at zero would not show in any output.
            layer.kernel.assign(np.random.default_rng(5).normal(0, 0.1, layer.kernel.shape))
    for _ in range(3):
        model(_pictures(8, size).astype(np.float32), training=True)
    description = DetectorDescription(
        labels=("galaxy",),
        scheme="galaxy",
        preprocess=Preprocess(size, size),
        provenance=Provenance(
            architecture=name,
            parameters=model.count_params(),
            datasets=("noise",),
            dataset_sha256="0" * 64,
            seed=4,
            versions={},
            trained=datetime(2026, 1, 1, tzinfo=timezone.utc),
        ),
        anchors=kind.anchors(size),
        tile_overlap=16,
    )
    return KerasNetwork(model, description)


def _pictures(count: int, size: int) -> np.ndarray:
    """Noise with a bright square each, somewhere else in every picture."""
    rng = np.random.default_rng(6)
    pictures = rng.integers(20, 80, (count, size, size, 3), dtype=np.uint8)
    for picture in pictures:
        y, x = rng.integers(0, size - 16, 2)
        picture[y : y + 16, x : x + 16] = 230
    return pictures


# 96 pixels give the pyramids maps of odd sides.
@pytest.mark.parametrize(
    ("name", "size", "mono"),
    [
        ("ssdlite-mobilenet-v2", 64, False),
        ("ssdlite-mobilenet-v2-topdown", 64, False),
        ("ssd-mobilenet-v2", 90, True),
        ("ssd-mobilenet-v2-fpnlite", 96, False),
        ("efficientdet-lite0", 96, False),
    ],
)
def test_a_converted_detector_answers_as_keras_does(name: str, size: int, mono: bool, tmp_path: Path) -> None:
    network = _network(name, size, mono)
    pictures = _pictures(2, size)
    expected: dict[str, Any] = network(pictures)
    apart = {role: np.abs(values[0] - values[1]).max() for role, values in expected.items()}
    for file_format in ("tflite", "onnx", "openvino"):
        with tools_quiet():
            order = Order(network, "fp32", None, tmp_path / f"{name}-{file_format}", "{}")
            converted = EXPORTERS[file_format].load().convert(order)
            adapter = runtimes.load(runtimes.choose({file_format}), converted.files[0])
        for number, picture in enumerate(pictures):
            found = adapter.infer(picture[None].astype(np.float32))
            for role in ("boxes", "scores"):
                # Far less wrong than one picture taken for the other.
                assert np.abs(found[role][0] - expected[role][number]).max() < 0.01 * apart[role]
