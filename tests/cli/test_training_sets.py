"""Which pictures of the named sets a training gets."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal.cli.training import opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures; in ``all.csv`` all are for training, in ``other.csv`` the first two are for tests."""
    for i in range(4):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((32, 32, 3), 40 * i, np.uint8))
    for name, splits in (("all", ["train"] * 4), ("other", ["test", "test", "train", "val"])):
        rows = [f"{i}.png,round,{split}" for i, split in enumerate(splits)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["file,label,split", *rows]))
    return tmp_path


def test_galaxies_that_another_set_tests_on_are_left_out(folder: Path) -> None:
    for apart, files in (((), ["0.png", "1.png", "2.png", "3.png"]), (("other",), ["2.png", "3.png"])):
        sets, _ = opened([f"csv:{folder / 'all.csv'}"], "gz2-5class", [f"csv:{folder / f'{n}.csv'}" for n in apart])
        assert [list(s.files) for s in sets] == [files]


def test_sets_that_nothing_compares_are_told_of(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    cv2.imwrite(str(elsewhere / "a.png"), np.zeros((32, 32, 3), np.uint8))
    (elsewhere / "labels.csv").write_text("file,label,split\na.png,round,test\n")
    with caplog.at_level(logging.WARNING):
        sets, _ = opened([f"csv:{folder / 'all.csv'}"], "gz2-5class", [f"csv:{elsewhere / 'labels.csv'}"])
    assert len(sets[0]) == 4
    assert "nothing tells which galaxies" in caplog.text
