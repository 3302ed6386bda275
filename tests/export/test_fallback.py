"""An integer file that misses its gate gets its worst layers back in float, and says so."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.bundle import open_bundle, verify
from edgegal.errors import GateFailedError, InputError
from edgegal.export import Calibration, Job, KerasNetwork, Options, VariantsFailedError, export_bundle, plan
from edgegal.export.fallback import growing

pytestmark = pytest.mark.host


@given(st.lists(st.text(min_size=1), max_size=40, unique=True))
def test_what_is_kept_grows_from_one_to_all_by_doubling(names):
    kept = list(growing(names))
    counts = [len(k) for k in kept]
    assert kept == [tuple(names[:c]) for c in counts]
    assert counts == sorted(set(counts))
    assert max(counts, default=0) == len(names)
    assert all(b <= 2 * a for a, b in itertools.pairwise(counts))


@pytest.fixture(scope="module")
def spoilt(classifier, make_sky):
    """A job whose network is equal in float, and has one channel of a thousandfold range between two convolutions."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(3)
    size = classifier.description.preprocess.height
    image = keras.Input((size, size, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(layers.Rescaling(1 / 255)(image))
    wide = layers.Conv2D(8, 1, name="wide")
    narrow = layers.Conv2D(8, 1, activation="relu", name="narrow")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(narrow(wide(x)))
    pooled = layers.GlobalAveragePooling2D()(x)
    logits = layers.Dense(5, name="logits")
    model = keras.Model(image, {"probabilities": layers.Softmax(name="probabilities")(logits(pooled))})
    gains = np.ones(8, np.float32)
    gains[3] = 3000
    for layer, scale in ((wide, gains), (narrow, 1 / gains[:, None])):
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel * scale, bias])
    features = keras.Model(image, pooled).predict_on_batch(make_sky(32, 1).astype(np.float32))
    weights = rng.normal(size=(8, 5)) / features.std()
    logits.set_weights([weights, -(features.mean(axis=0) @ weights)])
    network = KerasNetwork(model, classifier.description)
    return Job(network, make_sky(24, 4), Calibration(make_sky(32, 3), "sky", "train", 3))


def test_without_fallback_it_fails(spoilt, tmp_path):
    with pytest.raises(VariantsFailedError, match="tflite-int8"):
        export_bundle([spoilt], plan(["tflite"], ["int8"]), tmp_path / "out")


@pytest.mark.parametrize("kind", ["tflite", "onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_the_worst_layers_go_back_to_float_until_it_passes(spoilt, kind, tmp_path):
    lines = []
    bundle = export_bundle(
        [spoilt], plan([kind], ["int8"]), tmp_path / "out", progress=lines.append, options=Options(fallback=True)
    )
    (variant,) = bundle.manifest.classifier.variants
    kept = variant.quantization.kept_float
    assert 1 <= len(kept) <= 4
    assert any("wide" in name or "narrow" in name for name in kept)
    assert variant.parity.sqnr_db >= variant.parity.least_sqnr_db
    assert variant.parity.agreement >= variant.parity.threshold
    assert "int8" in variant.parity.measured.executed_precision
    told = [line for line in lines if "in float: " in line]
    assert told
    assert all(name in told[-1] for name in kept)
    assert verify(bundle) == []
    assert {p.name for p in (tmp_path / "out" / "classifier").iterdir()} == {
        record.path.split("/")[1] for record in variant.files
    }


@pytest.mark.slow
def test_what_passes_as_it_is_keeps_nothing(spoilt, classifier, tmp_path):
    job = replace(spoilt, network=classifier)
    steps = plan(["tflite"], ["fp32", "int8"])
    bundle = export_bundle([job], steps, tmp_path / "out", options=Options(fallback=True))
    assert [v.quantization and v.quantization.kept_float for v in bundle.manifest.classifier.variants] == [None, ()]


@pytest.mark.slow
def test_a_calibration_that_shows_nothing_is_not_mended(spoilt, classifier, make_sky, tmp_path):
    """Layers are ranked on what the calibration shows; the gate sees other pictures."""
    dark = Calibration((make_sky(32, 3) // 64).astype(np.uint8), "cellar", "train", 0)
    job = replace(spoilt, network=classifier, calibration=dark)
    with pytest.raises(GateFailedError, match=r"tflite-int8 .*, even with \d+ layers? in float"):
        export_bundle([job], plan(["tflite"], ["int8"]), tmp_path / "out", options=Options(fallback=True))
    assert list(tmp_path.iterdir()) == []


def test_layers_can_be_named_by_hand(spoilt, tmp_path):
    import onnx

    steps = plan(["onnx"], ["fp32", "int8"])
    with pytest.raises(VariantsFailedError):
        export_bundle([spoilt], steps, tmp_path / "out")
    graph = onnx.load(tmp_path / "out/classifier/classifier-fp32.onnx").graph
    kept = tuple(n.name for n in graph.node if "/wide" in n.name or "/narrow" in n.name)
    options = Options(keep_float={"onnx": kept})
    bundle = export_bundle([spoilt], steps, tmp_path / "out", options=options)
    integers = next(v for v in bundle.manifest.classifier.variants if v.precision == "int8")
    assert integers.quantization.kept_float == kept
    assert open_bundle(tmp_path / "out").manifest == bundle.manifest


def test_a_layer_that_is_not_there_is_refused(spoilt, tmp_path):
    options = Options(keep_float={"onnx": ("conv_of_dreams",)})
    with pytest.raises(InputError, match="conv_of_dreams"):
        export_bundle([spoilt], plan(["onnx"], ["int8"]), tmp_path / "out", options=options)
    assert list(tmp_path.iterdir()) == []
