"""The comparison on what training and exporting really write."""

import html
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegal.benchmarks.comparison import LabelledPictures, compare_bundle
from edgegal.benchmarks.comparison.page import html_page
from edgegal.benchmarks.comparison.verdict import Gate
from edgegal.preprocess import Preprocess

pytestmark = pytest.mark.host

SIZE = 32


def test_a_quantised_network_is_compared_with_its_keras_model(tmp_path: Path, provenance: Any) -> None:
    import keras

    from edgegal.bundle.manifest import ClassifierDescription
    from edgegal.export import Calibration, Job, export_bundle, plan, read_network
    from edgegal.models.artefact import save_trained
    from edgegal.models.classifier import separable_network

    keras.utils.set_random_seed(0)
    kinds = np.arange(120) % 3
    pictures = np.random.default_rng(0).integers(0, 120, (120, SIZE, SIZE, 3), np.uint8)
    pictures[np.arange(120), :, :, kinds] += 120
    model = separable_network(3, SIZE, widths=(8, 16), repeats=1)
    logits = model.get_layer("logits")
    pooled = keras.Model(model.input, logits.input).predict_on_batch(pictures.astype(np.float32))
    # The nearest mean, written as a dense layer: trained without training.
    means = np.stack([pooled[kinds == k].mean(axis=0) for k in range(3)])
    gain = 1 / pooled.var()
    logits.set_weights([gain * means.T, -gain * (means**2).sum(axis=1) / 2])
    description = ClassifierDescription(
        labels=("a", "b", "c"), scheme="abc", preprocess=Preprocess(SIZE, SIZE), provenance=provenance
    )
    trained = save_trained(model, description, tmp_path / "trained")
    network = read_network(trained)
    job = Job(network, pictures[:40], Calibration(pictures[40:80], "noise", "train", 0))
    bundle = export_bundle([job], plan(["tflite"], ["fp32", "dynamic", "int8"]), tmp_path / "bundle")

    truth = kinds.astype(np.int32)
    truth[:10] = (truth[:10] + 1) % 3
    labelled = LabelledPictures("noise", "test", pictures, truth)
    comparison = compare_bundle(bundle, Gate(), labelled=[labelled], references={"classifier": trained}, per_layer=True)
    (stage,) = comparison.stages
    rows = {row.variant: row for row in stage.rows}
    assert stage.reference == "keras"
    assert rows["keras"].accuracy.value == pytest.approx(110 / 120)
    assert rows["tflite-fp32"].agreement.value == 1.0
    assert rows["tflite-int8"].executed == "int8"
    assert rows["tflite-int8"].agreement.value >= 0.95
    assert rows["tflite-int8"].drop.value == pytest.approx(
        rows["keras"].accuracy.value - rows["tflite-int8"].accuracy.value
    )
    dynamic, layers = comparison.layers
    # The converter would refuse to keep any in float.
    assert (dynamic.variant, dynamic.keep) == ("tflite-dynamic", ())
    assert comparison.commands == (layers.command,)
    assert (layers.variant, layers.format) == ("tflite-int8", "tflite")
    assert len(layers.keep) == 3
    assert {layer.name for layer in layers.worst[:10]} >= set(layers.keep)
    page = html_page(comparison)
    assert layers.command in html.unescape(page)
