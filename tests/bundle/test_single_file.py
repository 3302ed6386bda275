"""A model file alone: what it carries makes a bundle of it, and nothing it carries is believed unchecked."""

import importlib
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from typer.testing import CliRunner

from edgegal import zoo
from edgegal.bundle import open_bundle, pack
from edgegal.bundle.single_file import FORMATS, open_file
from edgegal.cli.bundle import app as bundle_app
from edgegal.errors import InputError
from edgegal.inference import open_classifier, open_detector
from edgegal.runtimes import installed

SUFFIXES = {kind: suffix for suffix, kind in FORMATS.items()}
PRESENT = sorted({entry.format for entry in installed()} & set(SUFFIXES))
NEEDS_TFLITE = pytest.mark.skipif("tflite" not in PRESENT, reason="no TFLite runtime is installed")


@pytest.fixture(scope="module")
def shipped():
    return zoo.resolve(zoo.DEFAULT)


def metadata_of(shipped, stage, precision):
    """What `edgegal export` embeds in the files of a stage."""
    content = shipped.manifest.stages[stage]
    document = content.model_dump(mode="json", exclude={"variants", "evaluation"})
    return {"stage": stage, "precision": precision, "description": document, "exported_with": {"edgegal": "0"}}


def zipped(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


@pytest.fixture
def alone(shipped, tmp_path):
    """Copies one shipped variant to a folder of its own; a TFLite file gets its metadata as the exporter adds it."""

    def copy(kind="tflite", stage="classifier", precision="int8", text=None, name=None):
        content = shipped.manifest.stages[stage]
        variant = next(v for v in content.variants if (v.format, v.precision) == (kind, precision))
        folder = tmp_path / "alone"
        folder.mkdir(exist_ok=True)
        for record in variant.files:
            data = shipped.path(record).read_bytes()
            if kind == "tflite":
                written = json.dumps(metadata_of(shipped, stage, precision)) if text is None else text
                data += zipped({"edgegal.json": written, "labels.txt": "\n".join(content.labels)})
            (folder / f"{name or stage}{Path(record.path).suffix}").write_bytes(data)
        return folder / f"{name or stage}{SUFFIXES[kind]}"

    return copy


@pytest.mark.parametrize("kind", PRESENT)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_classifier_file_answers_as_in_its_bundle(shipped, alone, kind, precision):
    path = alone(kind, "classifier", precision)
    bundle = zoo.resolve(str(path))
    stage, original = bundle.manifest.classifier, shipped.manifest.classifier
    assert list(bundle.manifest.stages) == ["classifier"]
    assert bundle.source == path
    assert [(v.name, v.format, v.precision) for v in stage.variants] == [(f"{kind}-{precision}", kind, precision)]
    assert (stage.labels, stage.preprocess, stage.abstain_below) == (
        original.labels,
        original.preprocess,
        original.abstain_below,
    )
    assert stage.variants[0].parity is None
    assert stage.variants[0].accuracy == ()
    size = stage.preprocess.width
    crops = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype(np.uint8)
    runtime = next(e.name for e in installed() if e.format == kind)
    wanted = open_classifier(shipped, runtime, precision)(crops)
    assert_array_equal(open_classifier(bundle, runtime)(crops), wanted)


@pytest.mark.parametrize("kind", PRESENT)
def test_a_detector_file_finds_what_it_finds_in_its_bundle(shipped, alone, kind):
    bundle = open_file(alone(kind, "detector"))
    tile = np.random.default_rng(1).integers(0, 60, (256, 256, 3)).astype(np.uint8)
    runtime = next(e.name for e in installed() if e.format == kind)
    wanted, found = (open_detector(b, runtime, "int8")(tile, 0.05) for b in (shipped, bundle))
    assert_array_equal(found.boxes, wanted.boxes)
    assert_array_equal(found.scores, wanted.scores)


@NEEDS_TFLITE
def test_the_file_may_go_once_it_is_open(alone):
    path = alone()
    bundle = open_file(path)
    path.unlink()
    assert open_classifier(bundle, precision="int8")(np.zeros((1, 96, 96, 3), np.uint8)).shape[0] == 1


@NEEDS_TFLITE
@pytest.mark.parametrize(
    ("name", "called"),
    [("My Net (2)", "my-net-2"), ("écliptique", "cliptique"), ("...", "classifier"), ("a" * 200, "a" * 200)],
)
def test_any_name_of_a_file_gives_one_that_a_manifest_takes(alone, name, called):
    assert open_file(alone(name=name)).manifest.name == called


@NEEDS_TFLITE
def test_a_file_can_be_packed_as_a_bundle(alone, tmp_path):
    bundle = open_file(alone())
    packed = open_bundle(pack(bundle, tmp_path / "one.edgegal"))
    assert packed.manifest == bundle.manifest
    assert "not stated in the file" in (packed.root / "CARD.md").read_text(encoding="utf-8")


@NEEDS_TFLITE
@pytest.mark.parametrize("end", [b"", zipped({"labels.txt": "round"}), b"PK\x05\x06 no archive"])
@pytest.mark.parametrize(
    "model", [b"\x1c\0\0\0TFL3" + np.random.default_rng(0).bytes(4000), b"", b"\x80\x04 a pickle" * 40]
)
def test_a_foreign_tflite_file_is_turned_away_before_a_runtime_sees_it(model, end, tmp_path, temporary_folders):
    """The first of these ends a process that hands it to tflite-runtime."""
    path = tmp_path / "foreign.tflite"
    path.write_bytes(model + end)
    with pytest.raises(InputError, match="does not say what it is") as error:
        zoo.resolve(str(path))
    assert "edgegal export" in error.value.mend
    assert list(temporary_folders.iterdir()) == []


def changed(document, **changes):
    return {**document, **changes}


@NEEDS_TFLITE
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: "{", "is not JSON"),
        (lambda d: "[" * 100_000, "is not JSON"),
        (lambda d: json.dumps(changed(d, precision=float("nan"))), "NaN is not a number of JSON"),
        (lambda d: "[]", "valid dictionary"),
        (lambda d: json.dumps(changed(d, stage="detector")), "describes a classifier and calls it a detector"),
        (lambda d: json.dumps(changed(d, precision="int4")), "precision: Input should be"),
        (lambda d: json.dumps(changed(d, run="rm")), "run: Extra inputs are not permitted"),
        (lambda d: json.dumps({k: v for k, v in d.items() if k != "description"}), "description: Field required"),
        (
            lambda d: json.dumps(changed(d, description=changed(d["description"], labels=["a", "b"]))),
            r"has probabilities \(1, 6\), its own metadata makes it \(1, 2\)",
        ),
        (
            lambda d: json.dumps(
                changed(d, description=changed(d["description"], preprocess={"height": 32, "width": 32}))
            ),
            r"has input \(1, 96, 96, 3\), its own metadata makes it \(1, 32, 32, 3\)",
        ),
        (lambda d: " " * (2**20 + 1), "more than 1 MiB of metadata"),
        (lambda d: b"\xff\xfe\xfa", "cannot be read"),
    ],
)
def test_metadata_that_are_wrong_are_refused(shipped, alone, temporary_folders, change, message):
    text = change(metadata_of(shipped, "classifier", "int8"))
    with pytest.raises(InputError, match=message) as error:
        open_file(alone(text=text))
    assert "\n" not in str(error.value)
    assert list(temporary_folders.iterdir()) == []


@NEEDS_TFLITE
def test_a_zip_bomb_is_not_unpacked(alone):
    path = alone(text=b" " * 2**25)
    assert path.stat().st_size < 2**18
    with pytest.raises(InputError, match="more than 1 MiB of metadata"):
        open_file(path)


@NEEDS_TFLITE
def test_a_zip_that_lies_about_a_size_is_not_unpacked(alone):
    text = b" " * (2**24 + 0x35791)
    path = alone(text=text)
    data = path.read_bytes()
    assert data.count(struct.pack("<I", len(text))) == 2, "in the local header and in the directory"
    path.write_bytes(data.replace(struct.pack("<I", len(text)), struct.pack("<I", 1000)))
    with pytest.raises(InputError, match="cannot be read"):
        open_file(path)


@NEEDS_TFLITE
@pytest.mark.parametrize(("name", "value"), [("flag_bits", 1), ("compress_type", 99), ("CRC", 1)])
def test_a_damaged_zip_is_an_input_error(alone, name, value):
    path = alone(text="{}")
    content = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(content) as archive:
        directory, info = archive.start_dir, archive.getinfo("edgegal.json")
    offset, form = {"flag_bits": (8, "<H"), "compress_type": (10, "<H"), "CRC": (16, "<I")}[name]
    data = bytearray(path.read_bytes())
    assert struct.unpack_from(form, data, directory + offset)[0] == getattr(info, name)
    struct.pack_into(form, data, directory + offset, value)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"the metadata in .* cannot be read"):
        open_file(path)


@pytest.mark.skipif("onnx" not in PRESENT, reason="onnxruntime is not installed")
@pytest.mark.parametrize(
    ("text", "message"), [(None, "does not say what it is"), (" " * (2**20 + 1), "more than 1 MiB of metadata")]
)
def test_an_onnx_file_without_metadata_or_with_too_much(alone, text, message):
    onnx = pytest.importorskip("onnx")
    path = alone("onnx")
    model = onnx.load(path)
    del model.metadata_props[:]
    if text is not None:
        onnx.helper.set_model_props(model, {"edgegal": text})
    onnx.save(model, path)
    with pytest.raises(InputError, match=message):
        open_file(path)


@pytest.mark.skipif("openvino" not in PRESENT, reason="openvino is not installed")
def test_an_ir_file_needs_its_weights_beside_it(alone):
    path = alone("openvino")
    path.with_suffix(".bin").unlink()
    with pytest.raises(InputError, match=r"no file .*classifier\.bin") as error:
        open_file(path)
    assert f"put it beside {path}" in error.value.mend


def test_files_that_are_no_models(tmp_path):
    with pytest.raises(InputError, match="no bundle at"):
        zoo.resolve(str(tmp_path / "none.tflite"))
    with pytest.raises(InputError, match="no file"):
        open_file(tmp_path / "none.tflite")
    (tmp_path / "net.txt").write_text("a model")
    with pytest.raises(InputError, match="is no model file"):
        open_file(tmp_path / "net.txt")
    huge = tmp_path / "huge.tflite"
    huge.touch()
    os.truncate(huge, 2**29 + 1)
    with pytest.raises(InputError, match="larger than any compact network"):
        open_file(huge)


def edgegal(*words):
    return subprocess.run(
        [sys.executable, "-m", "edgegal", *map(str, words)], capture_output=True, text=True, check=False
    )


@NEEDS_TFLITE
def test_verbs_take_a_file_for_a_bundle(alone, tmp_path):
    classifier, detector = alone(), alone(stage="detector")
    done = CliRunner().invoke(bundle_app, ["info", str(classifier)])
    assert done.exit_code == 0, done.output
    assert "tflite-int8" in done.stdout
    done = edgegal("bench", classifier, "--samples", 2, "--seconds", 0, "--frames", 1, "--out", tmp_path / "bench")
    assert done.returncode == 0, done.stderr
    assert "tflite-int8" in done.stdout
    done = edgegal("run", "sim:", "--bundle", detector, "--classifier", classifier, "--limit", 1, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 1


@NEEDS_TFLITE
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "sim:", "--limit", "1", "--bundle"], "has no detector"),
        (["bundle", "verify"], "is one file: it has no hashes to compare with"),
        (["compare"], "has no evaluation set"),
    ],
)
def test_a_verb_that_needs_more_than_a_file_says_so(alone, words, message):
    app = importlib.import_module(f"edgegal.cli.{words[0]}").app
    with pytest.raises(InputError, match=message):
        CliRunner().invoke(app, [*words[1:], str(alone())], catch_exceptions=False)


@NEEDS_TFLITE
def test_opening_a_file_loads_no_tensorflow(alone):
    code = (
        "import sys; from edgegal import zoo; zoo.resolve(sys.argv[1]); "
        "print(sorted({'tensorflow', 'keras', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(alone())], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
