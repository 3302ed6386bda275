from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal.device.sources import open_source
from edgegal.device.sources.files import read_still
from edgegal.errors import FrameError, InputError


def write(path: Path, value: int = 0) -> None:
    cv2.imwrite(str(path), np.full((20, 30, 3), value, np.uint8))


def test_one_file_is_a_stream_of_one_frame(tmp_path: Path) -> None:
    write(tmp_path / "sky.PNG")
    with open_source(str(tmp_path / "sky.PNG")) as source:
        frames = list(source)
    assert not source.stream
    assert [f.size for f in frames] == [(30, 20)]


def test_a_folder_goes_in_the_order_people_count(tmp_path: Path) -> None:
    for number in (10, 2, 1, 33):
        write(tmp_path / f"Light_{number}.png", number)
    with open_source(str(tmp_path)) as source:
        frames = list(source)
    assert [int(f.pixels[0, 0, 0]) for f in frames] == [1, 2, 10, 33]
    assert [f.index for f in frames] == [0, 1, 2, 3]


def test_a_folder_passes_over_other_and_unfinished_files(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    write(tmp_path / ".hidden.png")
    write(tmp_path / "tmp123.png")
    (tmp_path / "notes.txt").write_text("cold")
    (tmp_path / "folder.png").mkdir()
    with open_source(str(tmp_path)) as source:
        assert [Path(f.source).name for f in source] == ["a.png"]


def test_a_folder_goes_on_after_a_bad_frame(tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "3.png"):
        write(tmp_path / name)
    (tmp_path / "2.png").write_bytes(b"")
    with open_source(str(tmp_path)) as source:
        assert source.stream
        assert next(source).index == 0
        with pytest.raises(FrameError, match=r"2\.png is empty"):
            next(source)
        assert next(source).index == 2
        with pytest.raises(StopIteration):
            next(source)


def test_a_file_that_vanished_is_one_bad_frame(tmp_path: Path) -> None:
    write(tmp_path / "1.png")
    write(tmp_path / "2.png")
    with open_source(str(tmp_path)) as source:
        (tmp_path / "1.png").unlink()
        with pytest.raises(FrameError, match=r"1\.png cannot be read"):
            next(source)
        assert next(source).index == 1


def test_a_still_is_read_by_its_kind(tmp_path: Path) -> None:
    write(tmp_path / "1.png", 7)
    frame = read_still(tmp_path / "1.png", 3)
    assert (frame.index, frame.pixels.max()) == (3, 7)
    for name in ("night.ser", "notes.txt"):
        with pytest.raises(FrameError, match="neither a picture nor a FITS file"):
            read_still(tmp_path / name)


@pytest.mark.parametrize(
    "uri", ["", "empty", "missing.fits", "notes.txt", "sim:moon=1", "sim:frames=0", "sim:seed=x", "sim:width=9"]
)
def test_what_cannot_be_opened_is_refused_with_a_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("cold")
    with pytest.raises(InputError):
        open_source(uri)


def test_a_simulated_night_is_the_one_asked_for() -> None:
    with open_source("sim:seed=7,frames=3,width=300,height=260") as source:
        frames = list(source)
    with open_source("sim:seed=7,frames=3,width=300,height=260") as source:
        again = list(source)
    assert [f.size for f in frames] == [(300, 260)] * 3
    for a, b in zip(frames, again, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)
