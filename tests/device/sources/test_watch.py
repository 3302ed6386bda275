import logging
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal.detections import Detections
from edgegal.device.pipeline import FrameResult, Pipeline
from edgegal.device.session import observe
from edgegal.device.sinks import Sink
from edgegal.device.sources import Source, open_source
from edgegal.errors import FrameError, InputError
from edgegal.frames import Frame, View


def picture(value: int) -> bytes:
    return cv2.imencode(".png", np.full((20, 30, 3), value, np.uint8))[1].tobytes()


class Reader:
    """Takes frames on a thread of its own, as a run does, and hands them over one at a time."""

    def __init__(self, address: str) -> None:
        self.source: Source = open_source(address)
        self.came = threading.Semaphore(0)
        self.taken: list[Frame | FrameError] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self.taken.append(next(self.source))
            except FrameError as error:
                self.taken.append(error)
            except StopIteration:
                return
            self.came.release()

    def next(self) -> Frame | FrameError:
        assert self.came.acquire(timeout=30)
        return self.taken[-1]

    def is_quiet(self) -> bool:
        """Whether nothing comes for a time of many looks."""
        return not self.came.acquire(timeout=0.5)

    def stop(self) -> bool:
        self.source.close()
        self._thread.join(10)
        return not self._thread.is_alive()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "captures"
    folder.mkdir()
    return folder


@pytest.fixture
def reader(folder: Path) -> Iterator[Reader]:
    (folder / "old.png").write_bytes(picture(1))
    reading = Reader(f"watch:{folder}?every=0.05")
    yield reading
    assert reading.stop()


def name(frame: Frame | FrameError) -> str:
    assert isinstance(frame, Frame)
    return Path(frame.source).name


def test_new_files_come_once_and_in_order(folder: Path, reader: Reader) -> None:
    assert reader.source.live
    (folder / "Light_9.png").write_bytes(picture(9))
    first = reader.next()
    (folder / "Light_10.png").write_bytes(picture(10))
    second = reader.next()
    assert [name(first), name(second)] == ["Light_9.png", "Light_10.png"]
    assert [f.index for f in reader.taken if isinstance(f, Frame)] == [0, 1]
    # A finished file that is written again is the same frame.
    (folder / "Light_9.png").write_bytes(picture(90))
    assert reader.is_quiet()


def test_a_file_is_left_alone_while_it_grows(folder: Path, reader: Reader) -> None:
    raw = picture(5)
    path = folder / "slow.png"
    path.write_bytes(b"")
    with path.open("ab", buffering=0) as file:
        for start in range(0, len(raw), max(1, len(raw) // 12)):
            file.write(raw[start : start + max(1, len(raw) // 12)])
            assert not reader.came.acquire(timeout=0.02)
    assert name(reader.next()) == "slow.png"


def test_unfinished_names_and_other_files_are_passed_over(folder: Path, reader: Reader) -> None:
    for other in (".a.png", "~b.png", "tmp_c.png", "d.txt", "e.png.part"):
        (folder / other).write_bytes(picture(1))
    assert reader.is_quiet()
    (folder / "tmp_c.png").rename(folder / "c.png")
    assert name(reader.next()) == "c.png"


def test_a_damaged_file_is_said_and_the_next_one_read(folder: Path, reader: Reader) -> None:
    (folder / "a.png").write_bytes(picture(1)[:-20])
    error = reader.next()
    assert isinstance(error, FrameError)
    assert "cut short" in str(error)
    (folder / "b.png").write_bytes(picture(2))
    assert name(reader.next()) == "b.png"


def test_a_folder_that_vanishes_is_waited_for(folder: Path, reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "a.png").write_bytes(picture(1))
    reader.next()
    with caplog.at_level(logging.WARNING):
        away = folder.rename(folder.with_name("unmounted"))
        assert reader.is_quiet()
        away.rename(folder)
        assert reader.is_quiet()
    assert [("is away" in r.message, "is back" in r.message) for r in caplog.records] == [(True, False), (False, True)]
    (folder / "b.png").write_bytes(picture(2))
    assert name(reader.next()) == "b.png"


def test_folders_of_dates_are_looked_into_when_asked(folder: Path) -> None:
    reader = Reader(f"watch:{folder}?every=0.05&nested")
    for date in ("2024-03-09", "2024-03-10"):
        (folder / date / "M51").mkdir(parents=True)
        (folder / date / "M51" / "1.png").write_bytes(picture(1))
        assert f"{date}/M51/1.png" in getattr(reader.next(), "source", "")
    shutil.rmtree(folder)
    assert reader.is_quiet()
    assert reader.stop()


def test_files_that_are_there_already_come_when_asked(folder: Path) -> None:
    for number in (10, 9):
        (folder / f"{number}.png").write_bytes(picture(number))
    with open_source(f"watch:{folder}?every=0.05&old") as source:
        assert [name(next(source)), name(next(source))] == ["9.png", "10.png"]


def test_of_files_that_come_together_none_is_dropped(folder: Path) -> None:
    for number in range(6):
        (folder / f"{number}.png").write_bytes(picture(number))
    places: list[str] = []

    def detect(view: View) -> Detections:
        # Slower than files are read.
        time.sleep(0.02)
        return Detections.empty()

    class Told(Sink):
        def write(self, result: FrameResult, seen: object, ended: object) -> None:
            places.append(name(result.frame))

        def close(self, alive: object) -> None:
            pass

    summary = observe(open_source(f"watch:{folder}?every=0.05&old"), Pipeline(detect), [Told()], limit=6)
    assert places == [f"{number}.png" for number in range(6)]
    assert (summary.frames, summary.dropped) == (6, 0)


def test_no_folder_and_no_such_option_are_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InputError, match="no folder"):
        open_source(f"watch:{tmp_path}/absent")
    # Refused, it is not waited for.
    assert not caplog.records
    with pytest.raises(InputError, match="no option 'often'"):
        open_source(f"watch:{tmp_path}?often=1")
    with pytest.raises(InputError, match="every='0'"):
        open_source(f"watch:{tmp_path}?every=0")
    with open_source(f"watch:{tmp_path}/absent", patient=True) as source:
        assert source.live


@pytest.fixture
def mounts(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """File systems by the name of the folder that a link leads to: the tests mount by turning the link."""
    numbers: dict[str, int] = {}

    def filesystem(folder: Path) -> int:
        return numbers.get(folder.resolve().name, 1)

    monkeypatch.setattr("edgegal.device.sources.watch._filesystem", filesystem)
    return numbers


def mount(there: Path, folder: Path) -> None:
    fresh = there.with_name("fresh")
    fresh.symlink_to(folder, target_is_directory=True)
    fresh.replace(there)


@pytest.fixture
def share(tmp_path: Path, mounts: dict[str, int]) -> Path:
    """A share with the files of other nights, not mounted yet."""
    share = tmp_path / "share"
    share.mkdir()
    mounts["share"] = 2
    for number in range(3):
        (share / f"old{number}.png").write_bytes(picture(number))
    return share


def test_of_a_share_that_is_mounted_later_only_new_files_come(
    tmp_path: Path, share: Path, mounts: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    point, there = tmp_path / "point", tmp_path / "there"
    point.mkdir()
    mount(there, point)
    reader = Reader(f"watch:{there}?every=0.05")
    assert not reader.came.acquire(timeout=0.2)
    mount(there, share)
    assert reader.is_quiet()
    assert "3 files in it are left out" in caplog.text
    (share / "new.png").write_bytes(picture(7))
    assert name(reader.next()) == "new.png"
    # It goes, and comes back under another number with what was taken meanwhile.
    mount(there, point)
    assert not reader.came.acquire(timeout=0.2)
    (share / "meanwhile.png").write_bytes(picture(8))
    mounts["share"] = 3
    mount(there, share)
    assert name(reader.next()) == "meanwhile.png"
    assert reader.is_quiet()
    assert reader.stop()


@pytest.mark.parametrize("at_the_start", [True, False])
def test_of_an_empty_share_that_returns_under_another_number_what_came_meanwhile_is_read(
    tmp_path: Path, mounts: dict[str, int], at_the_start: bool
) -> None:
    point, there, share = tmp_path / "point", tmp_path / "there", tmp_path / "share"
    point.mkdir()
    share.mkdir()
    mounts["share"] = 2
    mount(there, share if at_the_start else point)
    reader = Reader(f"watch:{there}?every=0.05")
    mount(there, share)
    assert reader.is_quiet()
    mount(there, point)
    assert reader.is_quiet()
    (share / "meanwhile.png").write_bytes(picture(8))
    mounts["share"] = 3
    mount(there, share)
    assert name(reader.next()) == "meanwhile.png"
    # Now there is a file to know it by: another card has its old files left out.
    card = tmp_path / "card"
    card.mkdir()
    mounts["card"] = 4
    (card / "old.png").write_bytes(picture(9))
    mount(there, point)
    assert reader.is_quiet()
    mount(there, card)
    assert reader.is_quiet()
    assert reader.stop()


def test_all_files_of_a_share_that_is_mounted_later_come_when_asked(tmp_path: Path, share: Path) -> None:
    point, there = tmp_path / "point", tmp_path / "there"
    point.mkdir()
    mount(there, point)
    reader = Reader(f"watch:{there}?every=0.05&old")
    mount(there, share)
    for _ in range(3):
        reader.next()
    assert [name(frame) for frame in reader.taken] == ["old0.png", "old1.png", "old2.png"]
    assert reader.stop()


def test_the_first_file_of_a_folder_that_is_made_later_is_new(tmp_path: Path) -> None:
    source = open_source(f"watch:{tmp_path}/night?every=0.05", patient=True)
    taken: list[Frame] = []
    reading = threading.Thread(target=lambda: taken.append(next(source)), daemon=True)
    reading.start()
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "1.png").write_bytes(picture(1))
    reading.join(30)
    assert [name(frame) for frame in taken] == ["1.png"]
    source.close()


def test_the_wait_for_a_file_ends_when_it_is_there(folder: Path) -> None:
    source = open_source(f"watch:{folder}?every=0.05")
    threading.Timer(0.3, lambda: (folder / "a.png").write_bytes(picture(1))).start()
    before = time.perf_counter()
    next(source)
    assert before + 0.3 <= source.arrived <= time.perf_counter()
