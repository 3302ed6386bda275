import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edgegal.cli.data import app
from edgegal.errors import DatasetError


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for label in ("round", "spiral"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for i in range(3):
            cv2.imwrite(str(tmp_path / "set" / label / f"{i}.png"), np.full((8, 8, 3), i, np.uint8))
    return f"folder:{tmp_path / 'set'}"


def run(*arguments: str) -> str:
    return CliRunner().invoke(app, arguments, catch_exceptions=False).stdout


def test_list_names_the_shared_sets() -> None:
    listed = json.loads(run("list", "--json"))
    assert [s["name"] for s in listed] == ["gz1_6class", "gz2_kaggle_5class"]
    assert all(s["name"] in run("list") for s in listed)


def test_info(folder: str) -> None:
    summary = json.loads(run("info", folder, "--scheme", "gz2-5class", "--json"))
    assert sum(summary["counts"]["round"].values()) == 3
    assert summary["scheme"] == "gz2-5class"
    assert summary["digest"] in run("info", folder, "--scheme", "gz2-5class")


def test_preview(folder: str, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert run("preview", folder, "--out", str(out)).strip() == str(out)
    assert cv2.imread(str(out)) is not None


def test_simulate(tmp_path: Path) -> None:
    truth = Path(run("simulate", "--frames", "1", "--seed", "3", "--out", str(tmp_path / "night")).strip())
    assert json.loads(truth.read_text())["seed"] == 3
    assert (tmp_path / "night" / "frame_0000.fits").exists()


def test_errors_reach_the_root(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no dataset called"):
        run("preview", "nothing", "--out", str(tmp_path / "sheet.png"))
    assert list(tmp_path.iterdir()) == []
