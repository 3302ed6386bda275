"""The drawing of a map over its picture."""

import numpy as np
import pytest

from edgegal.explain.grid import Grid
from edgegal.explain.panel import overlay, panel

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
