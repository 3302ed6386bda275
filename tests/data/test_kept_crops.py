import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edgegal.cli.data import app
from edgegal.data import open_dataset
from edgegal.errors import DatasetError
from edgegal.labels import UNLABELLED

pytestmark = pytest.mark.host


def put(folder: Path, name: str, **facts: Any) -> Path:
    """A picture, and what a run wrote of it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = sum(name.encode()) % 256
    cv2.imwrite(str(path), np.full((40, 40, 3), grey, np.uint8))
    row = {"file": path.name, "probabilities": {"round": 0.4, "spiral": 0.6}, "ra_deg": None, "dec_deg": None} | facts
    with (folder / "crops.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "crops"
    put(folder, "a-00001.png")
    put(folder, "a-00002.png", probabilities={"round": 0.5, "spiral": 0.5})
    put(folder, "a-00002.png", probabilities={"round": 0.7, "spiral": 0.3}, ra_deg=202.47, dec_deg=47.19)
    put(folder, "spiral/a-00003.png")
    put(folder, "false/a-00004.png")
    return folder


def labels_of(folder: Path, scheme: str | None = None) -> dict[str, str | None]:
    pictures = open_dataset(f"crops:{folder}", scheme)
    names = pictures.scheme.labels
    return {i: None if k == UNLABELLED else names[k] for i, k in zip(pictures.ids, pictures.labels, strict=True)}


def test_pictures_are_unlabelled_until_somebody_moves_them(folder: Path) -> None:
    assert labels_of(folder) == {"a-00001": None, "a-00002": None, "spiral/a-00003": "spiral"}


def test_the_last_line_says_what_the_network_thought_and_where_it_was(folder: Path) -> None:
    pictures = open_dataset(f"crops:{folder}")
    assert pictures.vote_names == ("round", "spiral")
    assert pictures.votes is not None
    np.testing.assert_allclose(pictures.votes, [[0.4, 0.6], [0.7, 0.3], [0.4, 0.6]])
    assert pictures.positions is not None
    np.testing.assert_array_equal(pictures.positions[1], [202.47, 47.19])
    assert np.isnan(pictures.positions[0]).all()


def test_what_is_no_galaxy_is_left_out_and_named(folder: Path) -> None:
    (skip,) = open_dataset(f"crops:{folder}").skipped
    assert str(skip) == "1 pictures marked as no galaxies: false/a-00004.png"


def test_a_table_of_labels_counts_more_than_folders(folder: Path) -> None:
    (folder / "labels.csv").write_text(
        "file,label\na-00001.png,round\na-00003.png,round\na-00002.png,false\ngone.png,round\n"
    )
    assert labels_of(folder) == {"a-00001": "round", "spiral/a-00003": "round"}


def test_the_classes_of_the_network_make_the_scheme_a_known_one_where_there_is(folder: Path, tmp_path: Path) -> None:
    assert open_dataset(f"crops:{folder}").scheme.name == f"crops:{folder}"
    known = dict.fromkeys(("smooth", "spiral", "edge-on", "merger"), 0.25)
    put(tmp_path / "h4", "b-00001.png", probabilities=known)
    assert open_dataset(f"crops:{tmp_path / 'h4'}").scheme.name == "h4"
    assert labels_of(folder, "galaxy6")["spiral/a-00003"] == "spiral"


def test_networks_with_different_classes_need_a_scheme(folder: Path) -> None:
    put(folder, "b-00001.png", probabilities={"smooth": 1.0})
    with pytest.raises(DatasetError, match="networks with different classes") as caught:
        open_dataset(f"crops:{folder}")
    assert "--scheme" in caught.value.mend
    assert "b-00001" in labels_of(folder, "galaxy6")


def test_lines_that_are_cut_or_of_pictures_that_are_gone_are_passed_over(folder: Path) -> None:
    (folder / "a-00001.png").unlink()
    with (folder / "crops.jsonl").open("a", encoding="utf-8") as file:
        file.write('["no", "object"]\n{"file": "a-00002.png", "probab')
    assert set(labels_of(folder)) == {"a-00002", "spiral/a-00003"}


def test_pictures_without_lines_are_read(folder: Path) -> None:
    (folder / "crops.jsonl").unlink()
    pictures = open_dataset(f"crops:{folder}", "galaxy6")
    assert len(pictures) == 3
    assert pictures.votes is not None
    assert np.isnan(pictures.votes).all()


def test_a_label_that_is_none_is_refused(folder: Path) -> None:
    put(folder, "spirl/a-00009.png")
    with pytest.raises(DatasetError, match=r"spirl/a-00009\.png is labelled 'spirl'") as caught:
        open_dataset(f"crops:{folder}")
    assert caught.value.mend == "use one of: round, spiral, or false for what is no galaxy"


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_a_folder_without_pictures_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=name):
        open_dataset(f"crops:{tmp_path / name}")


def test_the_command_line_counts_and_shows_them(folder: Path, tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["info", f"crops:{folder}", "--check", "--json"])
    assert told.exit_code == 0, told.output
    summary = json.loads(told.stdout)
    assert {label: sum(row.values()) for label, row in summary["counts"].items()} == {
        **{"round": 0, "spiral": 1, "unlabelled": 2}
    }
    sheet = tmp_path / "sheet.png"
    shown = CliRunner().invoke(app, ["preview", f"crops:{folder}", "--out", str(sheet)])
    assert shown.exit_code == 0, shown.output
    # A row of the labelled one, a row of the others.
    assert cv2.imread(str(sheet)).shape[0] == 2 * (22 + 128 + 2)


def test_pictures_of_a_detector_alone_are_shown_too(tmp_path: Path) -> None:
    put(tmp_path / "crops", "a-00001.png", probabilities={})
    sheet = tmp_path / "sheet.png"
    shown = CliRunner().invoke(app, ["preview", f"crops:{tmp_path / 'crops'}", "--out", str(sheet)])
    assert shown.exit_code == 0, shown.output
    assert sheet.exists()


def test_the_folder_of_a_whole_run_is_answered_with_its_crops(folder: Path) -> None:
    with pytest.raises(DatasetError, match="folder of a whole run") as caught:
        open_dataset(f"crops:{folder.parent}")
    assert caught.value.mend == f"give crops:{folder}"
