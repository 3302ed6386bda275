"""`edgegal explain` on a network as training leaves it."""

import json
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edgegal.bundle.manifest import ClassifierDescription, Provenance
from edgegal.cli.explain import _cutouts, app
from edgegal.errors import EdgegalError
from edgegal.models.artefact import save_trained
from edgegal.models.course import two_convolution_network
from edgegal.preprocess import Preprocess

pytestmark = pytest.mark.host


@pytest.fixture(autouse=True)
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verb's choice of kernels is for its process: the programs that other tests start must not inherit it."""
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")


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
    words = [
        "cam",
        str(model),
        *(str(tmp_path / f"{i}.png") for i in range(3)),
        "--out",
        str(tmp_path / "maps"),
        "--json",
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["layer"] == "conv2"
    assert {row["class"] for row in document["pictures"]} <= {"disc", "streak"}
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == [
        *("0000_0.png", "0001_1.png", "0002_2.png", "explain.json")
    ]
    assert json.loads((tmp_path / "maps" / "explain.json").read_text()) == document
    assert cv2.imread(document["pictures"][1]["map"]).shape == (356, 640, 3)


def test_a_network_sees_the_galaxy_in_the_middle_as_the_device_crops_it(tmp_path: Path) -> None:
    pixels = np.zeros((120, 120, 3), np.uint8)
    cv2.circle(pixels, (60, 60), 8, (200, 200, 200), -1)
    cv2.imwrite(str(tmp_path / "small.png"), pixels)
    seen = {whole: dict(_cutouts([str(tmp_path)], Preprocess(24, 24), whole)) for whole in (False, True)}
    (cropped,), (entire,) = (views.values() for views in seen.values())
    assert cropped.shape == entire.shape == (24, 24, 3)
    assert (cropped > 100).mean() > 5 * (entire > 100).mean() > 0


def test_a_damaged_picture_leaves_nothing_behind(model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("not a picture")
    result = CliRunner().invoke(app, ["cam", str(model), str(tmp_path / "bad.png"), "--out", str(tmp_path / "maps")])
    assert isinstance(result.exception, EdgegalError)
    assert "bad.png" in str(result.exception)
    assert not (tmp_path / "maps").exists()


def test_a_sheet_of_activations_a_picture_and_layer(model: Path, tmp_path: Path) -> None:
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 255, (24, 24, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"{i}.png"), pixels)
    words = ["activations", str(model), str(tmp_path / "0.png"), str(tmp_path / "1.png"), "--json"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "maps")])
    assert result.exit_code == 0, result.output
    sheets = json.loads(result.stdout)["sheets"]
    assert [sheet["layer"] for sheet in sheets] == ["conv1", "pool1", "conv2", "pool2"] * 2
    assert [(sheet["maps"], sheet["rows"]) for sheet in sheets[:4]] == [(32, 22), (32, 11), (32, 9), (32, 4)]
    assert all(cv2.imread(sheet["sheet"]) is not None for sheet in sheets)
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "one"), "--layer", "norm1"])
    assert [sheet["layer"] for sheet in json.loads(result.stdout)["sheets"]] == ["norm1"] * 2


def test_filters_are_drawn_and_counted(model: Path, tmp_path: Path) -> None:
    words = ["filters", str(model), "--out", str(tmp_path), "--layer", "conv1", "--count", "3", "--steps", "4"]
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["ascent"] == {"steps": 4, "rate": 6.0, "jitter": 2, "blur": 0.4, "seed": 0}
    assert [row["filter"] for row in document["filters"]] == [0, 1, 2]
    assert cv2.imread(document["sheet"]) is not None
    assert "filters_conv1.png" in CliRunner().invoke(app, words).stdout


@pytest.mark.parametrize("kind", ["cam", "activations", "filters"])
def test_an_unknown_layer_is_answered_with_those_there_are(model: Path, tmp_path: Path, kind: str) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((24, 24, 3), np.uint8))
    pictures = [] if kind == "filters" else [str(tmp_path / "0.png")]
    words = [kind, str(model), *pictures, "--out", str(tmp_path / "maps"), "--layer", "conv9"]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, EdgegalError)
    assert "use one of: conv1, pool1, norm1, conv2, pool2, norm2" in str(result.exception)
    assert not (tmp_path / "maps").exists()
