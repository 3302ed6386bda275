import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edgegal.cli.data import app
from edgegal.errors import DatasetError

pytestmark = pytest.mark.host


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
    names = [s["name"] for s in listed]
    assert names[:3] == ["gz1_6class", "gz2_kaggle_5class", "gz1_disks_120"]
    assert {"galaxy10_sdss", "galaxy10_decals", "gz_challenge", "gz2_hart16", "efigi", "nair_abraham"} < set(names)
    table = run("list")
    assert all(name in table for name in names)


def test_info(folder: str) -> None:
    summary = json.loads(run("info", folder, "--scheme", "gz2-5class", "--json"))
    assert sum(summary["counts"]["round"].values()) == 3
    assert summary["scheme"] == "gz2-5class"
    assert summary["digest"] in run("info", folder, "--scheme", "gz2-5class")


def test_info_says_what_was_left_out_and_what_is_empty(folder: str) -> None:
    (Path(folder.removeprefix("folder:")) / "spiral" / "2.png").write_bytes(b"no picture")
    said = run("info", folder, "--scheme", "gz2-5class", "--check")
    assert "left out, 1 unreadable pictures: spiral/2.png" in said
    assert "no pictures of: in-between, cigar, edge-on" in said
    summary = json.loads(run("info", folder, "--check", "--json"))
    assert summary["skipped"] == [{"reason": "unreadable pictures", "names": ["spiral/2.png"]}]
    assert summary["n"] == 5


def test_a_split_is_written_and_read_back(folder: str, tmp_path: Path) -> None:
    out = tmp_path / "split.json"
    written = json.loads(run("split", folder, "--shares", "1/1/1", "--out", str(out), "--json"))
    assert (written["train"], written["val"], written["test"]) == (2, 2, 2)
    summary = json.loads(run("info", folder, "--split-file", str(out), "--json"))
    assert summary["split_digest"] == written["sha256"] == json.loads(out.read_text())["sha256"]
    assert summary["counts"]["round"] == {"train": 1, "val": 1, "test": 1}


def test_info_against_another_set(folder: str, tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    cv2.imwrite(str(tmp_path / "table" / "0.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "table" / "labels.csv").write_text("file,label,split,dup_x\n0.png,round,test,round/0.png\n")
    other = f"csv:{tmp_path / 'table' / 'labels.csv'}"
    summary = json.loads(run("info", folder, "--against", other, "--json"))
    assert summary["shared"] == [
        {"name": other, "matches": [{"first_id": "round/0.png", "second_id": "0", "how": "named"}], "compared": True}
    ]
    assert f"galaxies also in {other}: 1" in run("info", folder, "--against", other)
    (tmp_path / "table" / "labels.csv").write_text("file,label,split\n0.png,round,test\n")
    assert f"galaxies also in {other}: not to be told" in run("info", folder, "--against", other)


def test_fetch_by_hand_and_from_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pooch", reason="downloads need pooch: the training environment")
    monkeypatch.setenv("EDGEGAL_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match="cannot be fetched by a program"):
        run("fetch", "gz_challenge")
    with pytest.raises(DatasetError, match="Connection refused"):
        run("fetch", "galaxy10_sdss", "--url", "http://127.0.0.1:9")
    (tmp_path / "gz_challenge").mkdir()
    for file in ("training_solutions_rev1.csv", "images_training_rev1.zip"):
        (tmp_path / "gz_challenge" / file).write_bytes(b"")
    assert "already here" in run("fetch", "gz_challenge")
    assert json.loads(run("fetch", "gz_challenge", "--json"))["files"] == []


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
