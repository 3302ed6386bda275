"""The verb, started as a user starts it."""

import json
import os
import subprocess
import sys

import pytest

from edgegal.bundle import open_bundle, verify
from edgegal.models.artefact import save_trained

pytestmark = pytest.mark.host


def _edgegal(*words):
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "edgegal", "export", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_from_trained_folders_to_a_bundle(classifier, detector, write_pictures, tmp_path):
    models = [save_trained(n.model, n.description, tmp_path / n.stage) for n in (classifier, detector)]
    pictures = write_pictures(tmp_path / "set")
    out = tmp_path / "bundles" / "tiny"
    options = ["--format", "tflite", "--precision", "fp32", "--samples", "16"]
    run = _edgegal(*models, "--out", out, "--calibration", f"folder:{pictures}", *options, "--json")
    assert run.returncode == 0, run.stderr
    manifest = json.loads(run.stdout)
    assert manifest["name"] == "tiny"
    assert "detector tflite-fp32 (1 of 1)" in run.stderr
    noise = [line for line in run.stderr.splitlines() if "tensorflow" in line.lower() and "XNNPACK" not in line]
    assert noise == []
    bundle = open_bundle(out)
    assert list(bundle.manifest.stages) == ["detector", "classifier"]
    assert verify(bundle) == []


def test_a_folder_that_is_no_model(tmp_path):
    run = _edgegal(tmp_path, "--out", tmp_path / "out")
    assert run.returncode == 2
    assert "is not a trained model" in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""
    assert list(tmp_path.iterdir()) == []
