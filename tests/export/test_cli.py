"""The verb, started as a user starts it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from edgegal.bundle import open_bundle, verify
from edgegal.models.artefact import save_trained

pytestmark = pytest.mark.host


def _edgegal(*words):
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "edgegal", "export", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.slow
def test_from_trained_folders_to_a_bundle(classifier, detector, write_pictures, tmp_path):
    models = [save_trained(n.model, n.description, tmp_path / n.stage) for n in (classifier, detector)]
    pictures = write_pictures(tmp_path / "set")
    out = tmp_path / "bundles" / "tiny"
    options = ["--format", "tflite", "--precision", "fp32,int8", "--samples", "40"]
    run = _edgegal(*models, "--out", out, "--calibration", f"folder:{pictures}", *options, "--json")
    assert run.returncode == 0, run.stderr
    manifest = json.loads(run.stdout)
    assert manifest["name"] == "tiny"
    assert "detector tflite-fp32 (1 of 2)" in run.stderr
    noise = [line for line in run.stderr.splitlines() if "tensorflow" in line.lower() and "XNNPACK" not in line]
    assert noise == []
    bundle = open_bundle(out)
    assert list(bundle.manifest.stages) == ["detector", "classifier"]
    assert verify(bundle) == []
    variants = {v.name: v for v in bundle.manifest.classifier.variants}
    assert variants["tflite-int8"].quantization.calibration == f"folder:{pictures} train"
    assert variants["tflite-fp32"].parity.pictures == f"folder:{pictures} val"


@pytest.mark.slow
def test_what_fails_is_named_and_the_rest_is_in_the_table(classifier, write_pictures, tmp_path):
    """It is calibrated on pictures as dark as a cellar, and compared on others."""
    import cv2

    model = save_trained(classifier.model, classifier.description, tmp_path / "model")
    bright, dark = (write_pictures(tmp_path / name) for name in ("bright", "dark"))
    for path in dark.rglob("*.png"):
        path.write_bytes(cv2.imencode(".png", (cv2.imread(str(path)) // 64).astype(np.uint8))[1].tobytes())
    out = tmp_path / "tiny"
    options = ["--format", "tflite", "--no-fallback", "--samples", "20", "--parity", f"folder:{bright}"]
    run = _edgegal(model, "--out", out, "--calibration", f"folder:{dark}", *options)
    assert run.returncode == 1, run.stderr
    last = run.stderr.strip().splitlines()[-2:]
    assert "error: classifier tflite-int8 " in last[0]
    assert "the others were written" in last[0]
    assert "Traceback" not in run.stderr
    rows = [line.split() for line in run.stdout.splitlines() if "tflite" in line]
    assert [row[:2] for row in rows] == [["classifier", "tflite-fp32"]]
    assert [v.name for v in open_bundle(out).manifest.classifier.variants] == ["tflite-fp32"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--precision", "fp32"], "is not a trained model"),
        ([], "int8 need pictures to read the ranges of activations from, and none are named"),
        (["--calibration", "gz1_6class@test"], "test pictures are for the final figures"),
        (["--calibration", "folder:a", "--parity", "folder:a@train"], "calibration and parity are both on folder:a"),
        (["--format", "tflite,onnx", "--precision", "fp32,int16x8"], "onnx-int16x8: there is no such file, left out"),
        (["--format", "coreml"], "unknown format 'coreml'"),
        (["--calibration", "simulated", "--keep-float", "conv"], "'conv' is no operation to keep in float"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(tmp_path, words, says):
    run = _edgegal(tmp_path, "--out", tmp_path / "out", *words)
    assert run.returncode == 2
    assert says in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_goal_that_cannot_be_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "notes.txt").write_text("no bundle")
    words = [tmp_path / "absent", "--precision", "fp32"]
    for rest, problem in (
        (["--out", tmp_path], "no bundle folder"),
        (["--out", tmp_path / "out", "--name", "Two Words"], "cannot be the name"),
    ):
        run = _edgegal(*words, *rest)
        assert (run.returncode, problem in run.stderr) == (2, True), run.stderr
