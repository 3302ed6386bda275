import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

from edgegal.device.retention import Limits
from edgegal.device.sinks import AnnotatedPictures, SightingLog
from edgegal.device.sinks.crops import KeptCrops
from edgegal.device.sinks.database import SightingDatabase
from edgegal.device.sinks.enduring import Enduring, RoomKeeper
from edgegal.device.sinks.facts import RunFacts

SPIRAL, DOUBTFUL = (0.1, 0.9), (0.4, 0.6)
RUN = RunFacts("sim:", id="night1")


def an_old_picture(folder: Path, size: int) -> Path:
    path = folder / "frames/000000_old.png"
    path.parent.mkdir()
    path.write_bytes(os.urandom(size))
    yesterday = time.time() - 86_400
    os.utime(path, (yesterday, yesterday))
    return path


def test_a_full_disk_is_said_once_and_so_is_that_there_is_room_again(
    tiny_disk: Path, filler: Any, night: Any, caplog: pytest.LogCaptureFixture
) -> None:
    log = Enduring(SightingLog(tiny_disk), "sightings.jsonl", lambda: None)
    night.show(log, SPIRAL)
    filler.fill()
    for _ in range(5):
        # Forty lines are more than the rest of a block holds.
        night.show(log, *[SPIRAL] * 40)
        night.show(log)
    assert log.failures == 10
    assert [r.message for r in caplog.records] == [
        "sightings.jsonl cannot be written: No space left on device; going on without"
    ]
    filler.go()
    caplog.clear()
    log.close(night.tracker.alive)
    assert [r.message for r in caplog.records] == ["sightings.jsonl can be written again, after 10 failures"]


@pytest.mark.parametrize("kept", [True, False], ids=["crops", "frames"])
def test_pictures_that_were_lost_are_not_said_to_be_written_at_the_end(
    tmp_path: Path, night: Any, caplog: pytest.LogCaptureFixture, kept: bool
) -> None:
    (tmp_path / "taken").write_text("no folder")
    folder = tmp_path / "taken/pictures"
    pictures = Enduring(KeptCrops(folder, RUN) if kept else AnnotatedPictures(folder), "pictures", lambda: None)
    night.show(pictures, DOUBTFUL)
    pictures.close(night.tracker.alive)
    assert pictures.failures == 1
    assert [r.message for r in caplog.records] == ["pictures cannot be written: Not a directory; going on without"]


def test_old_pictures_make_room_for_sightings_and_no_sighting_is_lost(
    tiny_disk: Path, filler: Any, night: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    old = an_old_picture(tiny_disk, 500_000)
    room = RoomKeeper(tiny_disk, Limits())
    sinks = [
        Enduring(AnnotatedPictures(tiny_disk / "frames", every_s=3600), "pictures", room.make_room),
        Enduring(SightingLog(tiny_disk), "sightings.jsonl", room.make_room),
        Enduring(SightingDatabase(tiny_disk / "sightings.db", RUN), "sightings.db", room.make_room),
        Enduring(KeptCrops(tiny_disk / "crops", RUN), "crops", room.make_room),
    ]
    filler.fill()
    for _ in range(4):
        night.show(sinks, SPIRAL, DOUBTFUL)
    for sink in sinks:
        sink.close(night.tracker.alive)
    assert not old.exists()
    assert "removed 1 old pictures, 0 MB" in caplog.text
    assert (tiny_disk / "sightings.jsonl").read_text().count('"event": "end"') == 2
    assert (tiny_disk / "sightings.db").exists()
    assert [p.name for p in (tiny_disk / "crops").glob("*.png")] == ["night1-00002.png"]
    assert [p.name for p in (tiny_disk / "frames").iterdir()] != []
    assert not [p for p in tiny_disk.rglob(".*") if p.is_file()]


def test_room_made_at_the_very_end_saves_the_last_lines(tiny_disk: Path, filler: Any, night: Any) -> None:
    an_old_picture(tiny_disk, 500_000)
    room = RoomKeeper(tiny_disk, Limits())
    log = Enduring(SightingLog(tiny_disk), "sightings.jsonl", room.make_room)
    night.show(log, *[SPIRAL] * 100)
    filler.fill()
    log.close(night.tracker.alive)
    assert (tiny_disk / "sightings.jsonl").read_text().count('"event": "end"') == 100


def test_too_little_room_is_said(tmp_path: Path, night: Any, caplog: pytest.LogCaptureFixture) -> None:
    room = RoomKeeper(tmp_path, Limits(free_bytes=2**60))
    night.show(room)
    night.show(room)
    assert len(caplog.records) == 1
    assert "no old picture is left to remove" in caplog.text


def test_a_mistake_in_a_sink_is_not_taken_for_a_full_disk(tmp_path: Path, night: Any) -> None:
    broken = SightingLog(tmp_path, ask=lambda result: 1 / 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(ZeroDivisionError):
        night.show(Enduring(broken, "sightings.jsonl", lambda: None), SPIRAL)
