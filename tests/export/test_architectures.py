"""Every exporter takes every architecture that can be trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.host

keras = pytest.importorskip("keras")

from edgegal.export import Calibration, Identity, Job, KerasNetwork, export_bundle, plan  # noqa: E402
from edgegal.models.classifier import compact_network, inverted_residual_network  # noqa: E402


@pytest.mark.slow
@pytest.mark.parametrize("build", [compact_network, inverted_residual_network])
def test_squeeze_and_excitation_survives(
    build: Callable[..., Any], classifier: Any, make_sky: Callable[[int, int], np.ndarray], tmp_path: Path
) -> None:
    """Parity with Keras is the exporter's own gate: a layer lost or laid out wrongly does not pass it."""
    keras.utils.set_random_seed(5)
    size = classifier.description.preprocess.width
    model = build(5, size, widths=(8, 8, 16, 16)[: 4 if build is compact_network else 3], repeats=1, excite=True)
    job = Job(
        KerasNetwork(model, classifier.description), make_sky(16, 4), Calibration(make_sky(16, 3), "sky", "train", 3)
    )
    bundle = export_bundle([job], plan(["tflite", "onnx", "openvino"], ["fp32"]), tmp_path / "b", Identity("b", "0.1"))
    assert bundle.manifest.classifier is not None
    assert {v.format for v in bundle.manifest.classifier.variants} == {"tflite", "onnx", "openvino"}
