import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgegal.device.astrometry import SkyPlace
from edgegal.device.quality import FrameQuality
from edgegal.device.sinks.database import SightingDatabase, mark_false
from edgegal.device.sinks.facts import FrameFacts, RunFacts
from edgegal.device.sinks.schema import MIGRATIONS, migrate
from edgegal.errors import InputError

SPIRAL, ROUND, DOUBTFUL = (0.1, 0.9), (0.8, 0.2), (0.52, 0.48)
RUN = RunFacts("sim:", "galaxies", "1.2", "ab" * 32, id="night1")
QUALITY = FrameQuality(120, 2.5, 1.1, 300.0, 4.0, float("nan"))


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out/sightings.db"


def test_nothing_is_created_before_the_first_frame(path: Path) -> None:
    database = SightingDatabase(path, RUN)
    database.skip("a cloud")
    database.close(())
    assert not path.parent.exists()


def test_a_night_is_all_there(path: Path, night: Any) -> None:
    facts = FrameFacts(QUALITY, None, {1: SkyPlace(202.47, 47.19)}, {1: "NGC 5194"}, stacked=3, dropped=2)
    database = SightingDatabase(path, RUN, lambda result: facts)
    night.show(database, SPIRAL, DOUBTFUL)
    database.skip("trailed stars", 7)
    night.show(database, SPIRAL)
    database.close(night.tracker.alive)
    assert rows(path, "SELECT id, source, bundle, seal, ended IS NULL FROM runs") == [
        ("night1", "sim:", "galaxies", "ab" * 32, 0)
    ]
    assert rows(path, "SELECT number, galaxies, exposure_s, stars, sigma, stacked, dropped, fault FROM frames") == [
        (0, 2, 10.0, 120, None, 3, 2, None),
        (7, None, None, None, None, None, None, "trailed stars"),
        (1, 1, 10.0, 120, None, 3, 2, None),
    ]
    times = rows(path, "SELECT time, times_ms FROM frames WHERE number = 1")
    assert times == [("2026-03-01T21:00:10+00:00", '{"read": 10.0, "detect": 100.0}')]
    assert rows(path, "SELECT id, class, refusal, frames, ra_deg, name, ended FROM galaxies") == [
        (1, "spiral", None, 2, 202.47, "NGC 5194", 1),
        (2, None, "uncertain", 1, None, None, 1),
    ]
    assert rows(path, "SELECT galaxy, event, class FROM events") == [
        *((1, "new", "spiral"), (2, "new", None), (1, "update", "spiral")),
        *((2, "end", None), (1, "end", "spiral")),
    ]
    assert rows(path, "SELECT number, galaxy, x0, y1 FROM observations JOIN frames ON frame = frames.id") == [
        *((0, 1, 0.0, 20.0), (0, 2, 25.0, 45.0), (1, 1, 0.0, 20.0))
    ]


def test_an_observation_says_what_its_frame_alone_says(path: Path, night: Any) -> None:
    database = SightingDatabase(path, RUN)
    night.show(database, (0.2, 0.8))
    night.show(database, (0.4, 0.6))
    database.close(night.tracker.alive)
    alone = [json.loads(text) for (text,) in rows(path, "SELECT probabilities FROM observations ORDER BY frame")]
    assert alone == [{"round": 0.2, "spiral": 0.8}, {"round": 0.4, "spiral": 0.6}]
    (average,) = rows(path, "SELECT probabilities FROM galaxies")
    assert json.loads(average[0]) == {"round": 0.3, "spiral": 0.7}


def test_nights_share_a_file(path: Path, night: Any, new_night: type) -> None:
    for name, made in (("a", night), ("b", new_night())):
        database = SightingDatabase(path, RunFacts("sim:", id=name))
        made.show(database, SPIRAL)
        database.close(made.tracker.alive)
    assert rows(path, "SELECT run, id, answer FROM sightings") == [("a", 1, "spiral"), ("b", 1, "spiral")]


def test_an_event_is_on_the_card_when_write_returns_and_the_rest_within_seconds(
    path: Path, night: Any, clock: Any
) -> None:
    database = SightingDatabase(path, RUN, clock=clock)
    counts = []
    for _ in range(8):
        night.show(database, SPIRAL)
        counts.append(rows(path, "SELECT count(*) FROM frames")[0][0])
    # New, then seen 2, 4 and 8 times.
    assert counts == [1, 2, 2, 4, 4, 4, 4, 8]
    night.show(database, SPIRAL)
    clock.now += 6
    night.show(database, SPIRAL)
    assert rows(path, "SELECT frames FROM galaxies") == [(10,)]
    database.close(())


def test_a_false_detection_leaves_the_view_and_stays_false(path: Path, night: Any) -> None:
    database = SightingDatabase(path, RUN)
    night.show(database, SPIRAL, ROUND)
    database.mark_false(1)
    assert mark_false(path, "night1", 9) is False
    for _ in range(3):
        night.show(database, SPIRAL, ROUND)
    database.close(night.tracker.alive)
    assert rows(path, "SELECT id FROM sightings") == [(2,)]
    assert rows(path, "SELECT id, false_detection FROM galaxies") == [(1, 1), (2, 0)]
    assert rows(path, "SELECT galaxy FROM events WHERE event = 'false'") == [(1,)]


def test_marks_from_another_thread_and_readers_disturb_nothing(path: Path, night: Any) -> None:
    database = SightingDatabase(path, RUN)
    night.show(database, SPIRAL, ROUND)
    over = threading.Event()

    def disturb() -> None:
        while not over.is_set():
            time.sleep(0.001)
            database.mark_false(2)
            rows(path, "SELECT * FROM sightings")

    other = threading.Thread(target=disturb)
    other.start()
    for _ in range(63):
        night.show(database, SPIRAL, ROUND)
    over.set()
    other.join()
    database.close(night.tracker.alive)
    assert rows(path, "SELECT id, frames, false_detection FROM galaxies") == [(1, 64, 0), (2, 64, 1)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("content", [b"run,id,class\n", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"notes is no database of sightings: file is not a database"):
        SightingDatabase(path, RUN)
    assert path.read_bytes() == content


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photos (id)")
    with pytest.raises(InputError, match=r"photos\.db is the database of another program"):
        SightingDatabase(path, RUN)
    assert rows(path, "SELECT name FROM sqlite_master") == [("photos",)]


def test_the_database_of_a_newer_edgegal_is_refused_and_left_alone(path: Path, night: Any) -> None:
    database = SightingDatabase(path, RUN)
    night.show(database, SPIRAL)
    database.close(())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match=f"is of version 99, this edgegal knows up to {len(MIGRATIONS)}"):
        SightingDatabase(path, RUN)


def test_an_empty_file_becomes_a_database(tmp_path: Path, night: Any) -> None:
    path = tmp_path / "sightings.db"
    path.touch()
    database = SightingDatabase(path, RUN)
    night.show(database, SPIRAL)
    database.close(night.tracker.alive)
    assert rows(path, "SELECT id FROM sightings") == [(1,)]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, who may write anything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_file_that_may_only_be_read_is_refused(night: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sightings.db"
        database = SightingDatabase(path, RUN)
        night.show(database, SPIRAL)
        database.close(())
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        with (
            as_nobody(),
            pytest.raises(InputError, match=r"sightings\.db cannot be written: attempt to write a readonly"),
        ):
            SightingDatabase(path, RUN)
        Path(folder).chmod(0o755)


def test_a_migration_keeps_what_is_there_and_happens_once(tmp_path: Path) -> None:
    path = tmp_path / "sightings.db"
    first = ("CREATE TABLE runs (id TEXT)",)
    second = ("ALTER TABLE runs ADD COLUMN place TEXT DEFAULT 'home'",)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, "x", (first,))
        connection.execute("INSERT INTO runs VALUES ('a')")
        for _ in range(2):
            migrate(connection, "x", (first, second))
        assert connection.execute("SELECT * FROM runs").fetchall() == [("a", "home")]
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    first = ("CREATE TABLE runs (id TEXT)",)
    broken = ("ALTER TABLE runs ADD COLUMN place TEXT", "ALTER TABLE absent ADD COLUMN x")
    with closing(sqlite3.connect(tmp_path / "sightings.db", isolation_level=None)) as connection:
        migrate(connection, "x", (first,))
        with pytest.raises(sqlite3.OperationalError, match="no such table: absent"):
            migrate(connection, "x", (first, broken))
        assert connection.execute("SELECT * FROM runs").description[0][0] == "id"
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_what_a_full_disk_refuses_is_written_when_there_is_room(filler: Any, tiny_disk: Path, night: Any) -> None:
    path = tiny_disk / "sightings.db"
    database = SightingDatabase(path, RUN)
    night.show(database, SPIRAL)
    filler.fill()
    refused = 0
    for i in range(40):
        try:
            night.show(database, SPIRAL, ROUND, *[DOUBTFUL] * (i % 3))
        except OSError:
            refused += 1
    assert refused > 20
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    filler.go()
    night.show(database, SPIRAL, ROUND)
    database.close(night.tracker.alive)
    assert rows(path, "SELECT max(frames) FROM galaxies") == [(42,)]
    assert rows(path, "SELECT count(*) FROM galaxies WHERE ended")[0] == (night.tracker._count,)
    assert rows(path, "SELECT count(*) FROM frames") == [(42,)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_disk_full_from_the_beginning_is_waited_for(filler: Any, tiny_disk: Path, night: Any) -> None:
    filler.fill()
    database = SightingDatabase(tiny_disk / "sightings.db", RUN)
    for _ in range(3):
        with pytest.raises(OSError, match=r"full|disk"):
            night.show(database, SPIRAL)
    filler.go()
    database.close(night.tracker.alive)
    assert rows(tiny_disk / "sightings.db", "SELECT frames, ended FROM galaxies") == [(3, 1)]


# Forks writers, kills each in the middle of its work, and prints what they said.
_KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
import numpy as np
from edgegal.detections import Detections
from edgegal.device.pipeline import FrameResult, StageTimes
from edgegal.device.sinks import SightingLog
from edgegal.device.sinks.database import SightingDatabase
from edgegal.device.sinks.facts import RunFacts
from edgegal.device.tracking import Tracker
from edgegal.frames import Frame

folder = Path(sys.argv[1])
chance = random.Random(4)

def write(name):
    run = RunFacts("sim:", id=name)
    sinks = SightingDatabase(folder / "sightings.db", run), SightingLog(folder, run.id)
    tracker, view = Tracker(("round", "spiral"), patience=0), np.zeros((60, 60, 3), np.uint8)
    for i in range(100_000):
        corner = 20.0 * (i % 2)
        box = np.array([[corner, corner, corner + 15, corner + 15]], np.float32)
        found = Detections(box, np.ones(1, np.float32), np.zeros(1, np.int32))
        rows = np.array([[0.1, 0.9]], np.float32)
        frame = Frame(view, "sim:", i, linear=False)
        seen, ended = tracker.update(frame, found, rows)
        for sink in sinks:
            sink.write(FrameResult(frame, view, found, rows, StageTimes()), seen, ended)
        # One system call: a number is said whole or not at all.
        os.write(out, f"{seen[0].id}\\n".encode())

said = {}
for number in range(20):
    inward, out = os.pipe()
    writer = os.fork()
    if not writer:
        write(f"run{number}")
    os.close(out)
    with os.fdopen(inward) as lines:
        heard = [lines.readline() for _ in range(chance.randint(1, 10))]
        time.sleep(chance.uniform(0, 0.01))
        os.kill(writer, signal.SIGKILL)
        said[f"run{number}"] = [int(line) for line in (*heard, *lines)]
    os.waitpid(writer, 0)
print(json.dumps(said))
"""


def test_no_sighting_is_lost_through_20_kills(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = {(run, sighting) for run, sightings in json.loads(done.stdout).items() for sighting in sightings}
    assert len({run for run, _ in said}) == 20
    assert len(said) > 60
    path = tmp_path / "sightings.db"
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "PRAGMA foreign_key_check") == []
    assert said <= set(rows(path, "SELECT run, id FROM galaxies"))
    lines = [json.loads(line) for line in (tmp_path / "sightings.jsonl").read_text().splitlines()]
    assert said <= {(line["run"], line["id"]) for line in lines}
