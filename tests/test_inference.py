"""Networks of a few ONNX nodes that can be worked out by hand, run through a real bundle."""

import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from edgegal.anchors import AnchorLevel, AnchorSpec, encode, generate
from edgegal.bundle import Bundle, ClassifierStage, DetectorStage, Manifest, Variant, file_record, save
from edgegal.bundle.manifest import FileRecord, Provenance, Tensor
from edgegal.detections import Detections, iou_matrix
from edgegal.errors import BundleError, InputError
from edgegal.inference import (
    ALWAYS_ANSWER,
    Abstention,
    Detector,
    decode_outputs,
    galaxy_crops,
    open_classifier,
    open_detector,
    pick_variant,
    tempered,
)
from edgegal.preprocess import Preprocess
from edgegal.runtimes import RUNTIMES, installed

TILE, CELL, CROP = 64, 16, 8
CELLS = (TILE // CELL) ** 2
ANCHORS = AnchorSpec((AnchorLevel(CELL, (float(CELL),)),), ratios=(1.0,))
PROVENANCE = Provenance(
    architecture="by hand",
    parameters=0,
    datasets=("none",),
    dataset_sha256="0" * 64,
    seed=0,
    versions={},
    trained=datetime(2026, 1, 1, tzinfo=timezone.utc),
)


def variant(file_format="tflite", precision="fp32", outputs=None, files=None, size=TILE):
    outputs = outputs or {"boxes": (1, CELLS, 4), "scores": (1, CELLS, 1)}
    return Variant(
        name=f"{file_format}-{precision}",
        format=file_format,
        precision=precision,
        files=files or (FileRecord(path="x", sha256="0" * 64, bytes=0),),
        inputs=(Tensor(role="input", name="image", shape=(1, size, size, 3), dtype="float32"),),
        outputs=tuple(Tensor(role=r, name=f"{r}:0", shape=s, dtype="float32") for r, s in outputs.items()),
    )


def detector_stage(*variants, **changes):
    return DetectorStage(
        labels=("galaxy",),
        scheme="galaxy",
        preprocess=Preprocess(TILE, TILE),
        provenance=PROVENANCE,
        anchors=ANCHORS,
        tile_overlap=CELL,
        variants=variants or (variant(),),
        **changes,
    )


def classifier_stage(*variants, labels=("red", "green", "blue"), **changes):
    return ClassifierStage(
        labels=labels,
        scheme="colour",
        preprocess=Preprocess(CROP, CROP, crop_scale=1.0),
        provenance=PROVENANCE,
        variants=variants or (variant(outputs={"probabilities": (1, 3)}),),
        **changes,
    )


# --- choosing


PREFERENCE = [e for e in RUNTIMES.values() if e in installed() and e.format != "keras"]


@pytest.mark.skipif(not PREFERENCE, reason="no runtime is installed")
@pytest.mark.parametrize(
    ("offered", "picked"),
    [
        (["fp32", "int8", "fp16"], "int8"),
        (["fp32", "fp16"], "fp16"),
        (["dynamic", "fp32"], "fp32"),
        (["int16x8", "dynamic"], "dynamic"),
        (["int16x8"], "int16x8"),
    ],
)
def test_nobody_asking_gets_the_smallest_that_runs_well(offered, picked):
    best = PREFERENCE[0]
    chosen, entry = pick_variant(detector_stage(*(variant(best.format, p) for p in offered)))
    assert entry is best
    assert chosen.precision == picked


@pytest.mark.parametrize("entry", PREFERENCE, ids=lambda e: e.name)
def test_what_was_asked_for_is_taken(entry):
    formats = ("tflite", "onnx", "openvino")
    stage = detector_stage(*(variant(f, p) for f in formats for p in ("int8", "fp32")))
    chosen, taken = pick_variant(stage, entry.name, "fp32")
    assert taken is entry
    assert (chosen.format, chosen.precision) == (entry.format, "fp32")


@pytest.mark.skipif(len({e.format for e in PREFERENCE}) < 2, reason="runtimes of one format only are installed")
def test_a_precision_that_only_a_lesser_runtime_has_is_found():
    best, other = PREFERENCE[0], next(e for e in PREFERENCE if e.format != PREFERENCE[0].format)
    stage = detector_stage(variant(best.format, "int8"), variant(other.format, "fp32"))
    chosen, entry = pick_variant(stage, precision="fp32")
    assert (chosen.format, entry) == (other.format, other)


def test_what_is_not_in_the_bundle_is_refused_with_what_is():
    stage = detector_stage(variant("tflite", "int8"), variant("tflite", "fp32"))
    with pytest.raises(InputError, match="no fp16 variant in the bundle") as error:
        pick_variant(stage, precision="fp16")
    assert error.value.mend == "use one of: fp32, int8"
    with pytest.raises(InputError, match="runtime onnxruntime runs onnx files, and there are only tflite"):
        pick_variant(stage, "onnxruntime")
    with pytest.raises(InputError, match="unknown runtime 'best'"):
        pick_variant(stage, "best")


# --- calibration and decoding


probabilities = hnp.arrays(np.float64, (4, 5), elements=st.floats(1e-6, 1)).map(
    lambda p: (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
)


@given(probabilities, st.floats(1e-4, 1e4))
def test_temperature_moves_confidence_and_never_the_answer(values, temperature):
    result = tempered(values, temperature)
    assert result.dtype == np.float32
    assert_allclose(result.sum(axis=1), 1, atol=1e-5)
    assert_array_equal(result.max(axis=1), result[np.arange(4), values.argmax(axis=1)])


@given(hnp.arrays(np.float64, (3, 4), elements=st.floats(-5, 5)), st.floats(0.3, 5))
def test_temperature_divides_the_logits(logits, temperature):
    def softmax(x):
        powers = np.exp(x)
        return powers / powers.sum(axis=1, keepdims=True)

    assert_allclose(tempered(softmax(logits).astype(np.float32), temperature), softmax(logits / temperature), atol=1e-5)


def test_certainty_survives_temperature():
    assert_allclose(tempered(np.array([[1, 0, 0]], np.float32), 1.0), [[1, 0, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("top", "side", "answer"),
    [(0.7, 20, None), (0.69, 20, "uncertain"), (1.0, 19.9, "too small"), (0.1, 1, "too small")],
)
def test_a_refusal_says_why(top, side, answer):
    assert Abstention.of(classifier_stage(abstain_below=0.7, min_side_px=20)).refusal(top, side) == answer
    assert ALWAYS_ANSWER.refusal(top, side) is None
    assert Abstention.of(classifier_stage()) == ALWAYS_ANSWER


def raw_outputs(boxes, scores):
    """What a perfect network gives for `boxes`: each at the anchor nearest to its centre."""
    grid = generate(ANCHORS, TILE, TILE)
    codes, all_scores = np.zeros((CELLS, 4), np.float32), np.zeros((CELLS, 1), np.float32)
    for box, score in zip(np.array(boxes, np.float32), scores, strict=True):
        nearest = np.argmin(np.abs(grid[:, :2] - (box[:2] + box[2:]) / 2).sum(axis=1))
        codes[nearest] = encode(box[None], grid[nearest : nearest + 1], ANCHORS.coder_scales)
        all_scores[nearest] = score
    return codes, all_scores, grid


def test_outputs_decode_to_the_boxes_best_first():
    boxes = [[4, 6, 20, 30], [40, 40, 60, 58]]
    found = decode_outputs(*raw_outputs(boxes, [0.7, 0.9]), detector_stage())
    assert_allclose(found.boxes, boxes[::-1], atol=1e-3)
    assert_allclose(found.scores, [0.9, 0.7])


def test_a_box_over_the_edge_is_cut_there():
    found = decode_outputs(*raw_outputs([[-8, 50, 12, 80]], [0.9]), detector_stage())
    assert_allclose(found.boxes, [[0, 50, 12, 64]], atol=1e-3)


@pytest.mark.parametrize(
    ("threshold", "count"), [(None, 1), (0.5, 1), (0.6, 0), (0.3, 2), (0.29, 2), (0.0, 2 + CELLS - 2)]
)
def test_the_threshold_is_the_stages_unless_given(threshold, count):
    raw = raw_outputs([[4, 6, 20, 30], [40, 40, 60, 58]], [0.5, 0.3])
    found = decode_outputs(*raw, detector_stage(score_threshold=0.5, iou_threshold=1.0), threshold)
    assert len(found) == count


def test_more_than_the_limit_is_not_kept():
    boxes = [[x, y, x + 10, y + 10] for x in (3, 19, 35) for y in (3, 19, 35)]
    found = decode_outputs(*raw_outputs(boxes, np.linspace(0.6, 0.9, 9)), detector_stage(max_detections=4))
    assert_allclose(found.scores, np.linspace(0.6, 0.9, 9)[:4:-1], atol=1e-6)


def test_scores_that_are_not_numbers_find_nothing():
    codes, scores, grid = raw_outputs([[4, 6, 20, 30]], [0.9])
    assert len(decode_outputs(codes, np.full_like(scores, np.nan), grid, detector_stage())) == 0


def test_crops_are_centred_on_their_detections():
    view = np.zeros((100, 100, 3), np.uint8)
    view[20:30, 40:60] = [200, 100, 50]
    found = Detections(np.array([[40, 20, 60, 30]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32))
    (crop,) = galaxy_crops(view, found, classifier_stage())
    assert crop.shape == (CROP, CROP, 3)
    assert_array_equal(crop[2:6].reshape(-1, 3), np.tile([200, 100, 50], (4 * CROP, 1)))
    assert (crop[:2] == 0).all()
    assert (crop[6:] == 0).all()
    assert galaxy_crops(view, Detections.empty(), classifier_stage()).shape == (0, CROP, CROP, 3)


# --- whole bundles


def _write_onnx(path, nodes, constants, size, outputs):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, (1, size, size, 3))
    infos = [helper.make_tensor_value_info(f"{n}:0", onnx.TensorProto.FLOAT, s) for n, s in outputs.items()]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs.split(), [output], **attributes) for kind, inputs, output, attributes in nodes],
        "by-hand",
        [image],
        infos,
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A detector that fires on cells brighter than half, at the cell; a classifier by mean colour."""
    pytest.importorskip("onnxruntime")
    root = tmp_path_factory.mktemp("bundle")
    _write_onnx(
        root / "detector.onnx",
        [
            ("Transpose", "image", "x", {"perm": [0, 3, 1, 2]}),
            ("ReduceMean", "x", "grey", {"axes": [1], "keepdims": 1}),
            ("AveragePool", "grey", "cells", {"kernel_shape": [CELL, CELL], "strides": [CELL, CELL]}),
            ("Sub", "cells half", "over", {}),
            ("Div", "over step", "logit", {}),
            ("Sigmoid", "logit", "score", {}),
            ("Reshape", "score flat", "scores:0", {}),
            ("Mul", "scores:0 nothing", "boxes:0", {}),
        ],
        {
            "half": np.float32(127.5),
            "step": np.float32(20),
            "flat": np.array([1, CELLS, 1]),
            "nothing": np.zeros((1, 1, 4), np.float32),
        },
        TILE,
        {"boxes": (1, CELLS, 4), "scores": (1, CELLS, 1)},
    )
    _write_onnx(
        root / "classifier.onnx",
        [
            ("ReduceMean", "image", "colour", {"axes": [1, 2], "keepdims": 0}),
            ("Div", "colour step", "logits", {}),
            ("Softmax", "logits", "probabilities:0", {"axis": 1}),
        ],
        {"step": np.float32(30)},
        CROP,
        {"probabilities": (1, 3)},
    )
    detector = variant("onnx", files=(file_record(root, root / "detector.onnx"),))
    classifier = variant(
        "onnx",
        outputs={"probabilities": (1, 3)},
        files=(file_record(root, root / "classifier.onnx"),),
        size=CROP,
    )
    manifest = Manifest(
        name="by-hand",
        version="1",
        created=datetime(2026, 1, 1, tzinfo=timezone.utc),
        description="for tests",
        licence="MIT",
        detector=detector_stage(detector),
        classifier=classifier_stage(classifier, temperature=2.0),
    )
    return save(manifest, root)


def test_a_bundle_finds_and_names_galaxies_on_a_frame_of_any_size(bundle):
    view = np.zeros((150, 230, 3), np.uint8)
    view[32:48, 16:32] = [255, 180, 180]
    view[134:150, 214:230] = [180, 180, 255]
    found = open_detector(bundle).detect(view)
    truth = np.array([[16, 32, 32, 48], [214, 134, 230, 150]], np.float32)
    assert (iou_matrix(truth, found.boxes).max(axis=1) > 0.9).all()
    assert (found.scores > 0.9).any()

    classifier = open_classifier(bundle)
    probabilities = classifier(galaxy_crops(view, Detections(truth, *_of_one_class(2)), classifier.stage))
    assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert probabilities.argmax(axis=1).tolist() == [0, 2]
    # Logits 255 / 30 and 180 / 30, at temperature 2.
    assert probabilities[0, 0] == pytest.approx(1 / (1 + 2 * np.exp(-75 / 60)), abs=1e-3)


def _of_one_class(n):
    return np.ones(n, np.float32), np.zeros(n, np.int32)


def test_what_is_no_galaxy_is_not_among_the_galaxies(bundle, monkeypatch):
    """A detector of two classes: bright cells are galaxies, or nebulae."""
    view = np.zeros((TILE, TILE, 3), np.uint8)
    view[:16, :16] = view[32:48, 32:48] = 255
    two = replace(open_detector(bundle), stage=detector_stage().model_copy(update={"labels": ("nebula", "galaxy")}))

    def raw(self, tile):
        scores = np.zeros((1, CELLS, 2), np.float32)
        scores[0, 0, 0], scores[0, 10, 1] = 0.9, 0.8
        return {"boxes": np.zeros((1, CELLS, 4), np.float32), "scores": scores}

    monkeypatch.setattr(Detector, "raw", raw)
    assert two.detect(view).classes.tolist() == [0, 1]
    assert_allclose(two.galaxies(view).boxes, [[32, 32, 48, 48]], atol=1e-3)


def test_nothing_to_classify_is_no_probabilities(bundle):
    classifier = open_classifier(bundle)
    assert classifier(np.zeros((0, CROP, CROP, 3), np.uint8)).shape == (0, 3)


def test_an_empty_sky_has_no_galaxies(bundle):
    assert len(open_detector(bundle).detect(np.zeros((90, 70, 3), np.uint8))) == 0


def test_a_tile_of_another_size_is_refused(bundle):
    with pytest.raises(InputError, match="takes float32 1 x 64 x 64 x 3, not float32 1 x 32 x 32 x 3"):
        open_detector(bundle)(np.zeros((32, 32, 3), np.uint8))


def test_a_stage_the_bundle_lacks_is_named(bundle):
    alone = Bundle(bundle.root, bundle.manifest.model_copy(update={"classifier": None}))
    with pytest.raises(InputError, match="bundle by-hand has no classifier"):
        open_classifier(alone)


def changed(bundle, stage, **update):
    before = getattr(bundle.manifest, stage)
    return Bundle(bundle.root, bundle.manifest.model_copy(update={stage: before.model_copy(update=update)}))


@pytest.mark.parametrize(
    ("stage", "update", "named"),
    [
        ("detector", {"preprocess": Preprocess(32, 32)}, r"has input \(1, 64, 64, 3\), its manifest makes it"),
        ("detector", {"anchors": AnchorSpec((AnchorLevel(8, (8.0,)),))}, r"has boxes \(1, 16, 4\), .* \(1, 192, 4\)"),
        ("detector", {"labels": ("galaxy", "star")}, r"has scores \(1, 16, 1\), .* \(1, 16, 2\)"),
        ("classifier", {"labels": ("red", "green")}, r"has probabilities \(1, 3\), .* \(1, 2\)"),
        ("classifier", {"preprocess": Preprocess(16, 16)}, r"has input \(1, 8, 8, 3\), its manifest makes it"),
    ],
)
def test_a_file_that_does_not_fit_its_manifest_is_refused_before_it_runs(bundle, stage, update, named):
    opener = {"detector": open_detector, "classifier": open_classifier}[stage]
    with pytest.raises(BundleError, match=named):
        opener(changed(bundle, stage, **update))


def test_an_output_the_file_does_not_have_is_named(bundle):
    (one,) = bundle.manifest.classifier.variants
    renamed = one.outputs[0].model_copy(update={"name": "logits"})
    with pytest.raises(BundleError, match=r"classifier\.onnx has no output logits"):
        open_classifier(changed(bundle, "classifier", variants=(one.model_copy(update={"outputs": (renamed,)}),)))


def test_a_changed_file_is_never_loaded(bundle, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(bundle.root, root)
    data = bytearray((root / "detector.onnx").read_bytes())
    data[-1] ^= 1
    (root / "detector.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"detector\.onnx was changed"):
        open_detector(Bundle(root, bundle.manifest))


TFLITE = [e.name for e in PREFERENCE if e.format == "tflite"]


@pytest.mark.skipif(not TFLITE, reason="no runtime for tflite files is installed")
def test_a_runtime_that_refuses_a_sound_file_is_passed_over_unless_asked_for(bundle, tmp_path, caplog):
    """A file that is as its hash says, and that its runtime cannot do anything with."""
    shutil.copytree(bundle.root, tmp_path, dirs_exist_ok=True)
    (tmp_path / "detector.tflite").write_bytes(b"for another processor")
    refused = variant("tflite", "int8", files=(file_record(tmp_path, tmp_path / "detector.tflite"),))
    stages = {"detector": detector_stage(refused, *bundle.manifest.detector.variants)}
    both = Bundle(tmp_path, bundle.manifest.model_copy(update=stages))
    assert open_detector(both).variant.format == "onnx"
    assert "; trying fp32 of onnxruntime" in caplog.text
    for runtime, precision in ((TFLITE[0], None), (None, "int8")):
        with pytest.raises(InputError, match=r"detector\.tflite is not a") as caught:
            open_detector(both, runtime, precision)
        assert not isinstance(caught.value, BundleError)


@pytest.mark.skipif(not TFLITE, reason="no runtime for tflite files is installed")
def test_a_changed_file_is_fatal_even_where_another_runtime_would_do(bundle, tmp_path):
    shutil.copytree(bundle.root, tmp_path, dirs_exist_ok=True)
    (tmp_path / "detector.tflite").write_bytes(b"whole")
    changed_file = variant("tflite", "int8", files=(file_record(tmp_path, tmp_path / "detector.tflite"),))
    (tmp_path / "detector.tflite").write_bytes(b"swole")
    stages = {"detector": detector_stage(changed_file, *bundle.manifest.detector.variants)}
    with pytest.raises(BundleError, match=r"detector\.tflite was changed"):
        open_detector(Bundle(tmp_path, bundle.manifest.model_copy(update=stages)))


@pytest.mark.host
@pytest.mark.parametrize(("asked", "code"), [(None, 0), ("litert", 3)])
def test_a_broken_runtime_is_passed_over_unless_asked_for(tmp_path, asked, code):
    """An installed package that does not import stands in front of the real one."""
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "interpreter.py").write_text("raise ImportError('built for another numpy')\n")
    script = f"""
import logging, sys
sys.path.insert(0, {str(tmp_path)!r})
logging.basicConfig()
from edgegal import zoo
from edgegal.errors import MissingPartError
from edgegal.inference import open_detector
try:
    print(open_detector(zoo.resolve("galaxies"), {asked!r}).runtime.name)
except MissingPartError as error:
    print(error, file=sys.stderr)
    sys.exit(3)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "built for another numpy" in done.stderr
    assert done.stdout.strip() == ("" if asked else "openvino")
