"""Both stages through every exporter: files that run, agree with Keras, say who they are, and verify."""

import json
import shutil

import numpy as np
import pytest

from edgegal import runtimes
from edgegal.bundle import open_bundle, verify
from edgegal.errors import GateFailedError, InputError
from edgegal.export import Calibration, Identity, Job, export_bundle, plan
from edgegal.inference import open_classifier, open_detector, open_variant
from edgegal.preprocess import network_input

pytestmark = pytest.mark.host

VARIANTS = {
    "tflite-fp32",
    "tflite-fp16",
    "tflite-int8",
    "onnx-fp32",
    "onnx-int8",
    "openvino-fp32",
    "openvino-fp16",
    "openvino-int8",
}


def _each_variant(bundle):
    for name, stage in bundle.manifest.stages.items():
        for variant in stage.variants:
            yield name, stage, variant


def _tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_format_and_precision_is_there_and_verifies(exported):
    stages = exported.bundle.manifest.stages
    assert list(stages) == ["detector", "classifier"]
    assert all({v.name for v in stage.variants} == VARIANTS for stage in stages.values())
    assert verify(exported.bundle) == []
    assert not [p.name for p in exported.bundle.root.parent.iterdir() if p != exported.bundle.root]


def test_outputs_by_role_are_those_of_keras(exported, detector, classifier, make_sky):
    """Each role is mapped to the right tensor of each file: on pictures that no fixture has used."""
    pictures = make_sky(6, 99)
    expected = {"detector": detector(pictures), "classifier": classifier(pictures)}
    for name, _, variant in _each_variant(exported.bundle):
        adapter = open_variant(exported.bundle, variant, runtimes.choose({variant.format}), 1)
        rows = [adapter.infer(network_input(p)) for p in pictures]
        assert {t.role for t in variant.outputs} == set(expected[name])
        for tensor in variant.outputs:
            found = np.concatenate([row[tensor.name] for row in rows])
            reference = expected[name][tensor.role]
            assert found.shape == reference.shape
            assert tensor.shape == (1, *reference.shape[1:])
            assert np.corrcoef(found.ravel(), reference.ravel())[0, 1] > 0.98, (name, variant.name, tensor.role)


def test_parity_is_recorded_with_where_it_was_measured(exported):
    for _, _, variant in _each_variant(exported.bundle):
        parity = variant.parity
        assert parity.agreement >= parity.threshold
        assert parity.samples == 24
        assert parity.measured.executed_precision != "unknown"
        assert parity.measured.machine
        if parity.measured.executed_precision == "fp32" and variant.precision == "fp32":
            assert parity.max_abs < 1e-3
    assert sum("agrees" in line for line in exported.lines) == 16


def test_integer_files_run_in_integers_and_record_their_calibration(exported):
    for _, _, variant in _each_variant(exported.bundle):
        if variant.precision != "int8":
            assert variant.quantization is None
            continue
        assert "int8" in variant.parity.measured.executed_precision
        assert variant.quantization.calibration == "simulated sky train"
        assert variant.quantization.calibration_sha256 == exported.calibration.sha256
        assert (variant.quantization.samples, variant.quantization.seed) == (32, 3)


def test_tflite_integers_stay_inside(exported):
    """Float in, float out, and each output leaves the integers with a scale of its own."""
    from ai_edge_litert.interpreter import Interpreter

    stage = exported.bundle.manifest.detector
    variant = next(v for v in stage.variants if v.name == "tflite-int8")
    assert {t.dtype for t in (*variant.inputs, *variant.outputs)} == {"float32"}
    path = exported.bundle.model_path(variant)
    details = Interpreter(model_content=path.read_bytes()).get_tensor_details()
    shapes = {tuple(t.shape) for t in variant.outputs}
    scales = {
        tuple(d["shape"]): d["quantization"][0]
        for d in details
        if tuple(d["shape"]) in shapes and d["dtype"] == np.int8
    }
    assert len(scales) == 2
    assert len(set(scales.values())) == 2


def test_tflite_files_hold_no_operator_newer_than_the_last_tflite_runtime(exported):
    from tensorflow.lite.tools import flatbuffer_utils

    # Versions that tflite-runtime 2.14 was seen to run, with outputs as litert's; it refuses FULLY_CONNECTED 12.
    known = {"ADD": 2, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "DEQUANTIZE": 3, "FULLY_CONNECTED": 4}
    known |= {"LOGISTIC": 2, "MEAN": 2, "QUANTIZE": 1, "RESHAPE": 1, "SOFTMAX": 2}
    for _, _, variant in _each_variant(exported.bundle):
        if variant.format == "tflite":
            model = flatbuffer_utils.read_model(str(exported.bundle.model_path(variant)))
            for code in model.operatorCodes:
                operator = flatbuffer_utils.opcode_to_name(model, model.operatorCodes.index(code))
                assert code.version <= known[operator], (variant.name, operator)


def test_each_file_says_what_it_is(exported):
    import onnx
    import openvino
    from tensorflow.lite.tools import flatbuffer_utils

    def embedded(path):
        if path.suffix == ".onnx":
            return {p.key: p.value for p in onnx.load(path).metadata_props}["edgegal"]
        if path.suffix == ".xml":
            return openvino.Core().read_model(path).get_rt_info(["model_info", "edgegal"]).astype(str)
        model = flatbuffer_utils.read_model(str(path))
        index = next(m.buffer for m in model.metadata if m.name == b"edgegal")
        return bytes(model.buffers[index].data).decode()

    for name, stage, variant in _each_variant(exported.bundle):
        found = json.loads(embedded(exported.bundle.model_path(variant)))
        assert (found["stage"], found["precision"]) == (name, variant.precision)
        assert found["description"]["labels"] == list(stage.labels)
        assert found["description"]["preprocess"]["height"] == stage.preprocess.height
        assert found["exported_with"]["edgegal"]
        if name == "classifier":
            described = (found["description"]["abstain_below"], found["description"]["min_side_px"])
            assert described == (stage.abstain_below, stage.min_side_px) == (0.35, 6.0)


def test_the_bundle_runs_as_the_device_runs_it(exported, make_sky):
    view = make_sky(1, 5)[0]
    found = [open_detector(exported.bundle, runtime).detect(view) for runtime in ("litert", "onnxruntime", "openvino")]
    assert all(len(f) for f in found)
    probabilities = open_classifier(exported.bundle, "litert", "int8")(make_sky(3, 6))
    assert probabilities.shape == (3, 5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=0.02)


def test_the_card_names_every_variant_and_the_calibration(exported):
    card = (exported.bundle.root / "CARD.md").read_text()
    assert all(name in card for name in VARIANTS)
    assert "simulated sky train" in card
    assert exported.calibration.sha256[:16] in card


@pytest.fixture
def broken(classifier, make_sky):
    """A job whose calibration pictures are nearly black: every range is far too small."""
    dark = Calibration((make_sky(32, 3) // 64).astype(np.uint8), "a dark cellar", "train", 0)
    return Job(classifier, make_sky(24, 4), dark)


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_a_broken_quantisation_fails_the_gate_and_leaves_nothing(broken, kind, tmp_path):
    lines = []
    with pytest.raises(GateFailedError, match=f"classifier {kind}-int8 agrees with float on 0") as caught:
        export_bundle([broken], plan([kind], ["int8", "fp32"]), tmp_path / "a" / "b", progress=lines.append)
    assert "fp32" not in caught.value.message
    assert len([line for line in lines if "agrees" in line]) == 2, "the rest is tried too"
    assert list(tmp_path.iterdir()) == []


def test_a_failed_gate_leaves_an_existing_bundle_as_it_was(broken, exported, tmp_path):
    out = tmp_path / "tiny"
    shutil.copytree(exported.bundle.root, out)
    before = _tree(out)
    with pytest.raises(GateFailedError):
        export_bundle([broken], plan(["tflite"], ["int8"]), out)
    assert _tree(out) == before
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


def test_exporting_again_adds_to_the_bundle(classifier, exported, make_sky, tmp_path):
    out = tmp_path / "grown"
    job = Job(classifier, make_sky(24, 4))
    export_bundle([job], plan(["tflite"], ["fp16"]), out, Identity("grown", "2.0"))
    grown = export_bundle([job], plan(["tflite"], ["fp32"]), out)
    assert [v.name for v in grown.manifest.classifier.variants] == ["tflite-fp16", "tflite-fp32"]
    assert (grown.manifest.name, grown.manifest.version) == ("grown", "2.0")
    assert verify(grown) == []


def test_another_network_replaces_the_stage_and_leaves_the_other(classifier, exported, make_sky, tmp_path):
    from dataclasses import replace

    out = tmp_path / "tiny"
    shutil.copytree(exported.bundle.root, out)
    provenance = classifier.description.provenance.model_copy(update={"seed": 1})
    other = replace(classifier, description=classifier.description.model_copy(update={"provenance": provenance}))
    bundle = export_bundle([Job(other, make_sky(24, 4))], plan(["tflite"], ["fp32"]), out)
    assert [v.name for v in bundle.manifest.classifier.variants] == ["tflite-fp32"]
    assert {v.name for v in bundle.manifest.detector.variants} == VARIANTS
    assert verify(bundle) == []


def test_a_folder_that_is_no_bundle_is_left_alone(classifier, make_sky, tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(InputError, match="no bundle folder"):
        export_bundle([Job(classifier, make_sky(4, 1))], plan(["tflite"], ["fp32"]), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letters.txt"]


def test_integers_without_calibration_are_refused(classifier, make_sky, tmp_path):
    with pytest.raises(InputError, match="calibration"):
        export_bundle([Job(classifier, make_sky(4, 1))], plan(["tflite"], ["int8"]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_networks_for_one_stage_are_refused(classifier, make_sky, tmp_path):
    job = Job(classifier, make_sky(4, 1))
    with pytest.raises(InputError, match="one per stage"):
        export_bundle([job, job], plan(["tflite"], ["fp32"]), tmp_path / "out")


def test_pictures_of_another_size_are_refused(classifier):
    with pytest.raises(InputError, match="takes pictures"):
        Job(classifier, np.zeros((2, 32, 32, 3), np.uint8))


@pytest.mark.parametrize(
    ("formats", "precisions", "match"),
    [
        (["tensorrt"], ["fp32"], "unknown format 'tensorrt'"),
        (["onnx"], ["fp16"], "no fp16 in onnx"),
        (["tflite"], ["int4"], "no int4"),
        (["tflite"], [], "no format or no precision"),
        ([], ["fp32"], "no fp32"),
    ],
)
def test_a_plan_of_nothing_is_refused(formats, precisions, match):
    with pytest.raises(InputError, match=match):
        plan(formats, precisions)


def test_a_plan_skips_what_a_format_lacks():
    steps = plan(["tflite", "onnx", "tflite"], ["fp16", "fp32"])
    assert [(e.format, p) for e, p in steps] == [("tflite", "fp32"), ("tflite", "fp16"), ("onnx", "fp32")]


def test_open_bundle_reads_what_was_written(exported):
    assert open_bundle(exported.bundle.root).manifest == exported.bundle.manifest
