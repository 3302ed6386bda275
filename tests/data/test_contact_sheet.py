from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal.data import PictureSet, open_dataset
from edgegal.data.contact_sheet import contact_sheet, write_png
from edgegal.errors import DatasetError, InputError

pytestmark = pytest.mark.host

COLOURS = {"edge-on": (200, 30, 30), "spiral": (30, 30, 200)}


@pytest.fixture
def pictures(tmp_path: Path) -> PictureSet:
    for label, colour in COLOURS.items():
        (tmp_path / label).mkdir()
        for i in range(9):
            cv2.imwrite(str(tmp_path / label / f"{i}.png"), np.full((16, 16, 3), colour[::-1], np.uint8))
    return open_dataset(f"folder:{tmp_path}", "gz2-5class")


def test_each_class_present_has_a_row_of_its_own(pictures: PictureSet) -> None:
    sheet = contact_sheet(pictures, columns=5, side=32)
    assert sheet.dtype == np.uint8
    top, bottom = np.split(sheet, 2)
    for half, name in ((top, "edge-on"), (bottom, "spiral")):
        assert (half == COLOURS[name]).all(axis=2).sum() == 5 * 32 * 32
    assert not (top == COLOURS["spiral"]).all(axis=2).any()


def test_fewer_pictures_than_columns(pictures: PictureSet) -> None:
    sheet = contact_sheet(pictures.select(np.array([0, 1])), columns=5, side=32)
    assert (sheet == COLOURS["edge-on"]).all(axis=2).sum() == 2 * 32 * 32


def test_nothing_to_show(pictures: PictureSet) -> None:
    with pytest.raises(DatasetError, match="no such pictures"):
        contact_sheet(pictures.select(np.zeros(0, np.int64)))


def test_png_keeps_rgb_and_leaves_nothing_else(tmp_path: Path) -> None:
    sheet = np.zeros((4, 4, 3), np.uint8)
    sheet[..., 0] = 250
    path = write_png(sheet, tmp_path / "new" / "sheet.png")
    assert (cv2.imread(str(path))[..., 2] == 250).all()
    assert [p.name for p in path.parent.iterdir()] == ["sheet.png"]
    with pytest.raises(InputError, match=r"sheet\.jpg"):
        write_png(sheet, tmp_path / "sheet.jpg")
