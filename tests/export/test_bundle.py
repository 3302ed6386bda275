"""Both stages through every exporter: files that run, agree with Keras, say who they are, and verify."""

import contextlib
import json
import os
import re
import resource
import shutil
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgegal import runtimes, zoo
from edgegal.bundle import open_bundle, verify
from edgegal.errors import BundleError, InputError
from edgegal.export import (
    Calibration,
    Identity,
    Job,
    Options,
    VariantsFailedError,
    add_classifier_evaluation,
    export_bundle,
    plan,
)
from edgegal.inference import open_classifier, open_detector, open_variant
from edgegal.preprocess import network_input

pytestmark = pytest.mark.host

VARIANTS = {
    "tflite-fp32",
    "tflite-fp16",
    "tflite-int8",
    "onnx-fp32",
    "onnx-fp16",
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


@pytest.mark.slow
def test_every_format_and_precision_is_there_and_verifies(exported):
    stages = exported.bundle.manifest.stages
    assert list(stages) == ["detector", "classifier"]
    assert all({v.name for v in stage.variants} == VARIANTS for stage in stages.values())
    assert verify(exported.bundle) == []
    assert not [p.name for p in exported.bundle.root.parent.iterdir() if p != exported.bundle.root]


@pytest.mark.slow
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


@pytest.mark.slow
def test_parity_is_recorded_with_where_it_was_measured(exported):
    for _, _, variant in _each_variant(exported.bundle):
        parity = variant.parity
        assert parity.agreement >= parity.threshold
        assert parity.sqnr_db is None or parity.sqnr_db >= parity.least_sqnr_db > 0
        assert (parity.samples, parity.pictures) == (24, "simulated sky val")
        assert parity.measured.executed_precision != "unknown"
        assert parity.measured.machine
        if parity.measured.executed_precision == "fp32" and variant.precision == "fp32":
            assert parity.max_abs < 1e-3
    assert sum("agrees" in line for line in exported.lines) == 2 * len(VARIANTS)


@pytest.mark.slow
def test_integer_files_run_in_integers_and_record_their_calibration(exported):
    for _, _, variant in _each_variant(exported.bundle):
        if variant.precision != "int8":
            assert variant.quantization is None
            continue
        assert "int8" in variant.parity.measured.executed_precision
        assert variant.quantization.calibration == "simulated sky train"
        assert variant.quantization.calibration_sha256 == exported.calibration.sha256
        assert (variant.quantization.samples, variant.quantization.seed) == (32, 3)


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_each_file_says_what_it_is(exported):
    import onnx
    import openvino

    def embedded(path):
        if path.suffix == ".onnx":
            return {p.key: p.value for p in onnx.load(path).metadata_props}["edgegal"]
        if path.suffix == ".xml":
            return openvino.Core().read_model(path).get_rt_info(["model_info", "edgegal"]).astype(str)
        with zipfile.ZipFile(path) as members:
            return members.read("edgegal.json").decode()

    for name, stage, variant in _each_variant(exported.bundle):
        found = json.loads(embedded(exported.bundle.model_path(variant)))
        assert (found["stage"], found["precision"]) == (name, variant.precision)
        assert found["description"]["labels"] == list(stage.labels)
        assert found["description"]["preprocess"]["height"] == stage.preprocess.height
        assert found["exported_with"]["edgegal"]
        if variant.quantization is None:
            assert found["quantization"] is None
        else:
            same = variant.quantization.model_dump(mode="json", exclude={"recipe"})
            assert {k: v for k, v in found["quantization"].items() if k in same} == same
        if name == "classifier":
            described = (found["description"]["abstain_below"], found["description"]["min_side_px"])
            assert described == (stage.abstain_below, stage.min_side_px) == (0.35, 6.0)


@pytest.mark.slow
def test_the_bundle_runs_as_the_device_runs_it(exported, make_sky):
    view = make_sky(1, 5)[0]
    found = [open_detector(exported.bundle, runtime).detect(view) for runtime in ("litert", "onnxruntime", "openvino")]
    assert all(len(f) for f in found)
    probabilities = open_classifier(exported.bundle, "litert", "int8")(make_sky(3, 6))
    assert probabilities.shape == (3, 5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=0.02)


@pytest.mark.slow
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
def test_a_broken_quantisation_fails_and_leaves_nothing(broken, kind, tmp_path):
    with pytest.raises(VariantsFailedError, match=f"classifier {kind}-int8 agrees with float on 0") as caught:
        export_bundle([broken], plan([kind], ["int8"]), tmp_path / "a" / "b")
    assert "nothing was written" in caught.value.message
    assert caught.value.exit_code == 1
    assert caught.value.bundle is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_passes_is_written_and_what_fails_is_named(broken, tmp_path):
    lines = []
    steps = plan(["tflite", "onnx"], ["fp32", "int8"])
    with pytest.raises(VariantsFailedError) as caught:
        export_bundle([broken], steps, tmp_path / "half", progress=lines.append)
    assert "tflite-int8 agrees" in caught.value.message
    assert "onnx-int8 agrees" in caught.value.message
    assert "fp32" not in caught.value.message
    assert sum("agrees" in line for line in lines) == 4, "the rest is tried too"
    bundle = open_bundle(tmp_path / "half")
    assert caught.value.bundle.manifest == bundle.manifest
    assert [v.name for v in bundle.manifest.classifier.variants] == ["tflite-fp32", "onnx-fp32"]
    assert verify(bundle) == []
    assert [p.name for p in tmp_path.iterdir()] == ["half"]


@pytest.mark.slow
def test_an_earlier_variant_of_the_same_network_outlives_a_failed_one(broken, exported, tmp_path):
    """It passed, on the same weights."""
    out = shutil.copytree(exported.bundle.root, tmp_path / "tiny")
    before = _tree(out)
    with pytest.raises(VariantsFailedError, match="nothing was written"):
        export_bundle([broken], plan(["tflite"], ["int8"]), out)
    assert _tree(out) == before
    with pytest.raises(VariantsFailedError, match="the others were written"):
        export_bundle([broken], plan(["tflite"], ["fp32", "int8"]), out)
    kept = open_bundle(out)
    assert {v.name for v in kept.manifest.classifier.variants} == VARIANTS
    assert (out / "classifier/classifier-int8.tflite").read_bytes() == before["classifier/classifier-int8.tflite"]
    assert verify(kept) == []
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.slow
def test_variants_of_another_network_do_not_outlive_it(broken, exported, tmp_path):
    out = shutil.copytree(exported.bundle.root, tmp_path / "tiny")
    other = replace(broken, network=_taught_again(broken.network))
    with pytest.raises(VariantsFailedError):
        export_bundle([other], plan(["tflite"], ["fp32", "int8"]), out)
    bundle = open_bundle(out)
    assert [v.name for v in bundle.manifest.classifier.variants] == ["tflite-fp32"]
    assert {v.name for v in bundle.manifest.detector.variants} == VARIANTS
    assert verify(bundle) == []


def _taught_again(network):
    provenance = network.description.provenance.model_copy(update={"seed": 1})
    return replace(network, description=network.description.model_copy(update={"provenance": provenance}))


@pytest.mark.slow
def test_exporting_again_adds_to_the_bundle(classifier, exported, make_sky, tmp_path):
    out = tmp_path / "grown"
    job = Job(classifier, make_sky(24, 4))
    export_bundle([job], plan(["tflite"], ["fp16"]), out, Identity("grown", "2.0"))
    grown = export_bundle([job], plan(["tflite"], ["fp32"]), out)
    assert [v.name for v in grown.manifest.classifier.variants] == ["tflite-fp16", "tflite-fp32"]
    assert (grown.manifest.name, grown.manifest.version) == ("grown", "2.0")
    assert verify(grown) == []


@pytest.mark.slow
def test_another_network_replaces_the_stage_and_leaves_the_other(classifier, exported, make_sky, tmp_path):
    out = shutil.copytree(exported.bundle.root, tmp_path / "tiny")
    bundle = export_bundle([Job(_taught_again(classifier), make_sky(24, 4))], plan(["tflite"], ["fp32"]), out)
    assert [v.name for v in bundle.manifest.classifier.variants] == ["tflite-fp32"]
    assert {v.name for v in bundle.manifest.detector.variants} == VARIANTS
    assert verify(bundle) == []


def test_a_folder_that_is_no_bundle_is_left_alone(classifier, make_sky, tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(InputError, match="no bundle folder"):
        export_bundle([Job(classifier, make_sky(4, 1))], plan(["tflite"], ["fp32"]), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letters.txt"]


@pytest.mark.parametrize("name", ["letter.txt", "packed.edgegal"])
def test_a_file_is_no_place_for_a_bundle(classifier, make_sky, tmp_path, name):
    (tmp_path / name).write_text("dear")
    with pytest.raises(InputError, match="no bundle folder") as caught:
        export_bundle([Job(classifier, make_sky(4, 1))], plan(["tflite"], ["fp32"]), tmp_path / name)
    assert "edgegal bundle pack" in caught.value.mend


def test_a_bundle_of_another_schema_is_left_alone(classifier, make_sky, tmp_path):
    out = shutil.copytree(zoo.resolve("four-classes").root, tmp_path / "newer")
    document = (out / "bundle.json").read_text()
    (out / "bundle.json").write_text(re.sub('"schema_version": *"[^"]*"', '"schema_version": "2.0"', document))
    before = _tree(out)
    with pytest.raises(BundleError, match=r"schema version 2\.0, this edgegal reads 1\.x"):
        export_bundle([Job(classifier, make_sky(4, 1))], plan(["tflite"], ["fp32"]), out)
    assert _tree(out) == before


def test_a_folder_whose_name_no_bundle_can_have_is_told_before_any_work(classifier, make_sky, tmp_path):
    lines = []
    job = Job(classifier, make_sky(4, 1))
    with pytest.raises(InputError, match="'My Bundle' cannot be the name") as caught:
        export_bundle([job], plan(["tflite"], ["fp32"]), tmp_path / "My Bundle", progress=lines.append)
    assert "--name" in caught.value.mend
    assert lines == []


@pytest.mark.slow
def test_a_new_name_leaves_the_rest_as_it_was(classifier, make_sky, tmp_path):
    job = Job(classifier, make_sky(24, 4))
    steps = plan(["tflite"], ["fp32"])
    export_bundle([job], steps, tmp_path / "b", Identity("old", "2.0", "Mine.", "CC0-1.0"))
    manifest = export_bundle([job], steps, tmp_path / "b", Identity("new")).manifest
    assert (manifest.name, manifest.version, manifest.licence) == ("new", "2.0", "CC0-1.0")


@pytest.mark.slow
def test_calibration_on_the_pictures_a_bundle_is_judged_by_is_refused(classifier, exported, make_sky, tmp_path):
    out = shutil.copytree(exported.bundle.root, tmp_path / "tiny")
    pictures = make_sky(20, 60)
    add_classifier_evaluation(out, pictures[:3], np.arange(3), "skies")
    job = Job(classifier, make_sky(4, 1), Calibration(pictures, "skies", "train", 60))
    with pytest.raises(InputError, match="3 pictures of calibration are also among the evaluation set of"):
        export_bundle([job], plan(["tflite"], ["int8"]), out)


def test_one_variant_asked_for_twice_is_refused(classifier, make_sky, tmp_path):
    steps = plan(["tflite"], ["fp32"])
    with pytest.raises(InputError, match="two variants are called tflite-fp32"):
        export_bundle([Job(classifier, make_sky(4, 1))], [*steps, *steps], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (Options(integer_io=True), "only tflite int8"),
        (Options(keep_float={"onnx": ("conv",)}), "nothing is quantised in onnx"),
        (Options(keep_float={"tflite": ("conv",)}), "nothing is quantised in tflite"),
    ],
)
def test_options_that_are_for_nothing_asked_are_refused(classifier, make_sky, tmp_path, options, match):
    job = Job(classifier, make_sky(4, 1))
    with pytest.raises(InputError, match=match):
        export_bundle([job], plan(["tflite"], ["fp32"]), tmp_path / "out", options=options)


@pytest.mark.slow
def test_integers_in_and_out_are_a_variant_of_their_own(exported, classifier, make_sky, tmp_path):
    out = shutil.copytree(exported.bundle.root, tmp_path / "tiny")
    job = Job(classifier, make_sky(24, 4), exported.calibration)
    bundle = export_bundle([job], plan(["tflite"], ["int8"]), out, options=Options(integer_io=True))
    variants = {v.name: v for v in bundle.manifest.classifier.variants}
    assert variants.keys() == VARIANTS | {"tflite-int8-io"}
    integers = variants["tflite-int8-io"]
    assert integers.files[0].path == "classifier/classifier-int8-io.tflite"
    assert {t.dtype for t in (*integers.inputs, *integers.outputs)} == {"int8"}
    assert all(t.scale for t in (*integers.inputs, *integers.outputs))


@pytest.mark.slow
def test_a_format_for_the_device_alone_is_checked_by_the_runtime_that_its_exporter_names(
    exported, classifier, make_sky, tmp_path
):
    job = Job(classifier, make_sky(24, 4), exported.calibration)
    bundle = export_bundle([job], plan(["tensorrt"], ["int8"]), tmp_path / "jetson")
    (variant,) = bundle.manifest.classifier.variants
    assert variant.name == "tensorrt-int8"
    assert variant.parity.measured.runtime == "onnxruntime"
    assert verify(bundle) == []


@contextlib.contextmanager
def _files_of_at_most(size):
    """No file may grow beyond so many bytes, which is how a full disk feels."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
def test_a_full_disk_is_told_and_loses_nothing(exported, make_sky, tmp_path):
    out = shutil.copytree(exported.bundle.root, tmp_path / "tiny")
    before = _tree(out)
    pictures = make_sky(2, 1)
    with _files_of_at_most(8000), pytest.raises(InputError, match="no space left to write") as caught:
        add_classifier_evaluation(out, pictures, np.arange(2), "skies")
    assert "free some space" in caught.value.mend
    assert _tree(out) == before
    assert [p.name for p in tmp_path.iterdir()] == ["tiny"]


def test_a_disk_that_fills_while_files_are_written_is_told(classifier, make_sky, tmp_path):
    job = Job(classifier, make_sky(24, 4))
    for kind in ("tflite", "onnx", "openvino"):
        with _files_of_at_most(8000), pytest.raises(InputError, match="no space left to write"):
            export_bundle([job], plan([kind], ["fp32"]), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user for a moment")
@pytest.mark.parametrize("part", [".", "classifier"])
def test_a_folder_that_may_not_be_written_is_told(exported, make_sky, part):
    above = Path(tempfile.mkdtemp())
    out = shutil.copytree(exported.bundle.root, above / "tiny")
    for path in (above, *above.rglob("*")):
        os.chown(path, _NOBODY, _NOBODY)
    (out / part).chmod(0o555)
    before = _tree(out)
    try:
        os.seteuid(_NOBODY)
        with pytest.raises(InputError, match=r"tiny.* cannot be written: Permission denied") as caught:
            add_classifier_evaluation(out, make_sky(1, 1), np.zeros(1, int), "skies")
        assert "make it writable" in caught.value.mend
    finally:
        os.seteuid(0)
        found, left = _tree(out), [p.name for p in above.iterdir()]
        shutil.rmtree(above)
    assert found == before
    assert left == ["tiny"]


_NOBODY = 65534


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
        (["coreml"], ["fp32"], "unknown format 'coreml'"),
        (["onnx"], ["int16x8"], "no int16x8 in onnx"),
        (["tflite"], ["int4"], "no int4"),
        (["tflite"], [], "no format or no precision"),
        ([], ["fp32"], "no fp32"),
    ],
)
def test_a_plan_of_nothing_is_refused(formats, precisions, match):
    with pytest.raises(InputError, match=match):
        plan(formats, precisions)


def test_a_plan_skips_what_a_format_lacks():
    steps = plan(["tflite", "onnx", "tflite"], ["int16x8", "fp32"])
    assert [(e.format, p) for e, p in steps] == [("tflite", "fp32"), ("tflite", "int16x8"), ("onnx", "fp32")]


@pytest.mark.slow
def test_open_bundle_reads_what_was_written(exported):
    assert open_bundle(exported.bundle.root).manifest == exported.bundle.manifest
