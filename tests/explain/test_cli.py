"""`edgegal explain` on a network as training leaves it."""

import json
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edgegal.bundle.manifest import ClassifierDescription, Provenance
from edgegal.cli.explain import app
from edgegal.errors import EdgegalError
from edgegal.models.artefact import save_trained
from edgegal.models.course import two_convolution_network
from edgegal.preprocess import Preprocess

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = two_convolution_network(2, 24)
    description = ClassifierDescription(
        labels=("disc", "streak"),
        scheme="drawn",
        preprocess=Preprocess(24, 24),
        provenance=Provenance(
            architecture="two-convolution",
            parameters=network.count_params(),
            datasets=(),
            dataset_sha256="0" * 64,
            seed=0,
            versions={},
            trained=datetime.now(timezone.utc),
        ),
    )
    return save_trained(network, description, tmp_path_factory.mktemp("model"))


def test_one_panel_a_picture_of_any_shape(model: Path, tmp_path: Path) -> None:
    for i, shape in enumerate([(50, 50, 3), (31, 64, 3), (20, 20)]):
        pixels = np.random.default_rng(i).integers(0, 255, shape).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"{i}.png"), pixels)
    words = [str(model), *(str(tmp_path / f"{i}.png") for i in range(3)), "--out", str(tmp_path / "maps"), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["layer"] == "conv2"
    assert {row["class"] for row in document["pictures"]} <= {"disc", "streak"}
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == ["0000_0.png", "0001_1.png", "0002_2.png"]
    assert cv2.imread(document["pictures"][1]["map"]).shape == (356, 640, 3)


def test_a_damaged_picture_leaves_nothing_behind(model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("not a picture")
    result = CliRunner().invoke(app, [str(model), str(tmp_path / "bad.png"), "--out", str(tmp_path / "maps")])
    assert isinstance(result.exception, EdgegalError)
    assert "bad.png" in str(result.exception)
    assert not (tmp_path / "maps").exists()
