import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgegal.data.simulation import TRUTH, write_night
from edgegal.device.sources.fits import read_fits
from edgegal.errors import InputError
from edgegal.frames import Frame
from edgegal.sky import KINDS, Night

pytestmark = pytest.mark.host

NIGHT = Night(seed=4, width=240, height=160, frames=2, galaxies=6, stars=10)


def test_the_device_reads_back_the_night(tmp_path: Path) -> None:
    truth = json.loads(write_night(NIGHT, tmp_path / "night").read_text())
    assert [f["file"] for f in truth["frames"]] == ["frame_0000.fits", "frame_0001.fits"]
    for index, entry in enumerate(truth["frames"]):
        read, made = read_fits(tmp_path / "night" / entry["file"], index), NIGHT.frame(index)
        np.testing.assert_array_equal(read.pixels, made.pixels)
        assert (read.time, read.exposure_s, read.target) == (made.time, made.exposure_s, made.target)
        assert read.linear


def test_true_boxes_are_brighter_than_the_sky(tmp_path: Path) -> None:
    truth = json.loads(write_night(NIGHT, tmp_path / "night").read_text())
    for index, entry in enumerate(truth["frames"]):
        grey = NIGHT.frame(index).pixels.mean(axis=2)
        assert entry["galaxies"]
        for galaxy in entry["galaxies"]:
            x0, y0, x1, y1 = galaxy["box"]
            assert 0 <= x0 < x1 <= 240
            assert 0 <= y0 < y1 <= 160
            assert galaxy["kind"] in KINDS
            assert grey[round(y0) : round(y1), round(x0) : round(x1)].mean() > np.median(grey)


def test_an_empty_folder_is_used_and_a_full_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    write_night(NIGHT, tmp_path / "night")
    with pytest.raises(InputError, match="not an empty folder"):
        write_night(NIGHT, tmp_path / "night")


def test_a_folder_that_cannot_be_made_is_named_as_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/night cannot be made: .*where you may write"):
        write_night(NIGHT, tmp_path / "file" / "night")


class BrokenNight(Night):
    def __iter__(self) -> Iterator[Frame]:
        yield self.frame(0)
        raise OSError("no space left on device")


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no space"):
        write_night(BrokenNight(width=64, height=64, galaxies=1, stars=0), tmp_path / "night")
    assert list(tmp_path.iterdir()) == []
    assert TRUTH not in {p.name for p in tmp_path.rglob("*")}
