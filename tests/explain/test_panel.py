"""The drawing of a map over its picture."""

import numpy as np
import pytest

from edgegal.explain.grid import Grid
from edgegal.explain.panel import filter_sheet, map_sheet, overlay, panel

pytestmark = pytest.mark.host

PICTURE = np.random.default_rng(0).integers(0, 200, (40, 40, 3)).astype(np.uint8)


def test_a_picture_without_heat_keeps_its_pixels() -> None:
    assert np.array_equal(overlay(PICTURE, np.zeros((4, 4), np.float32), Grid(5, 10)), PICTURE)


def test_heat_changes_its_own_quarter_only() -> None:
    heat = np.zeros((40, 40), np.float32)
    heat[:20, 20:] = 1
    changed = (overlay(PICTURE, heat, Grid(0.5, 1)) != PICTURE).any(axis=2)
    assert changed[:20, 20:].mean() > 0.99
    assert not changed[20:].any()
    assert not changed[:, :20].any()


def test_a_cell_is_brightest_at_its_centre() -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[2, 1] = 1
    grey = np.full((40, 40, 3), 20, np.uint8)
    # Cells of 8 pixels from 6.5 on: row 2 has its centre at 22.5, in pixel 22, column 1 at 14.5.
    tint = overlay(grey, heat, Grid(6.5, 8)).astype(int).sum(axis=2)
    assert np.unravel_index(tint.argmax(), tint.shape) == (22, 14)
    assert (tint[:, 24:] == 60).all()


def test_a_panel_shows_title_picture_and_map() -> None:
    sheet = panel(PICTURE, np.ones((2, 2), np.float32), Grid(10, 20), "spiral 0.93")
    assert sheet.shape == (356, 640, 3)
    assert sheet.dtype == np.uint8
    assert sheet[:36].any()
    assert np.array_equal(sheet[36:, :320], panel(PICTURE, np.zeros((2, 2), np.float32), Grid(10, 20), "")[36:, 320:])
    assert not np.array_equal(sheet[36:, :320], sheet[36:, 320:])


@pytest.mark.parametrize(("channels", "rows", "columns"), [(1, 1, 1), (7, 1, 7), (16, 2, 8), (200, 8, 8)])
def test_a_sheet_has_a_tile_a_map_and_sixty_four_at_most(channels: int, rows: int, columns: int) -> None:
    maps = np.random.default_rng(0).random((6, 6, channels)).astype(np.float32)
    sheet = map_sheet(maps, "conv (Conv2D)")
    side = (sheet.shape[1] - 4) // columns - 4
    assert sheet.shape == (36 + 4 + rows * (side + 4), 4 + columns * (side + 4), 3)


def test_a_map_runs_from_dark_to_bright_and_a_dead_one_stays_dark() -> None:
    maps = np.zeros((2, 2, 2), np.float32)
    maps[0, 1, 0] = 5
    sheet = map_sheet(maps, "").astype(int).sum(axis=2)[36:]
    side = (sheet.shape[1] - 4) // 2 - 4
    first, second = sheet[4 : 4 + side, 4 : 4 + side], sheet[4 : 4 + side, 8 + side : 8 + 2 * side]
    assert first[: side // 2, side // 2 :].min() > 500
    assert first[side // 2 :].max() < 60
    assert second.max() < 60


def test_filters_stand_in_rows_of_four_with_captions() -> None:
    pictures = np.full((5, 20, 20, 3), 99, np.uint8)
    sheet = filter_sheet(pictures, [f"{i}: 0 to 1" for i in range(5)], "a title of a long path" * 6)
    assert sheet.shape == (36 + 4 + 2 * (176 + 16 + 4), 4 + 4 * (176 + 4), 3)
    assert (sheet[100, 20] == 99).all()
    assert sheet[36 + 4 + 176 : 36 + 4 + 176 + 16].max() > 200
