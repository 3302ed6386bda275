"""The database of sightings: one SQLite file for all nights.

It is kept with a write-ahead log, so readers never wait for the run and the run never for them, and synced in full: in
this mode a lesser setting keeps the file sound too, but lets the last commits go when the power does. A commit then
costs one write to the card, so it is made when there is something to tell, and else every few seconds.
"""

import errno
import json
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from time import monotonic
from typing import Any

from edgegal.device.pipeline import FrameResult, StageTimes
from edgegal.device.sinks.base import Sink
from edgegal.device.sinks.events import Event, Events
from edgegal.device.sinks.facts import Enquiry, FrameFacts, RunFacts, nothing_known
from edgegal.device.sinks.schema import migrate
from edgegal.device.tracking import Sighting
from edgegal.errors import InputError

__all__ = ["SightingDatabase", "mark_false"]

# Frames in which nothing happened, and what is only known better, may wait so long.
_COMMIT_EVERY_S = 5.0
# Held while the disk is full; the oldest frames go first, and the sightings stay.
_MOST_FRAMES_HELD = 1_000
_MOST_EVENTS_HELD = 10_000
_LOCKED_S = 2.0
_CACHE_KB = 256

_Row = dict[str, Any]


@dataclass(frozen=True)
class _HeldFrame:
    row: _Row
    observations: tuple[_Row, ...] = ()


class SightingDatabase(Sink):
    """Runs, frames, sightings, the observations they are made of, and events.

    When `write` returns after a frame with an event, see `Events`, everything so far is on the card. On a full disk
    frames and events are held in memory until there is room, sightings without limit.

    Parameters
    ----------
    path
        The file; created with the first frame. One that is there goes on.
    run
        What the sightings come from.
    ask
        What else is known of a frame.
    clock
        Seconds, for when to commit.

    Raises
    ------
    InputError
        The file is there and is no database, another program's, a newer edgegal's, or cannot be written.
    """

    def __init__(
        self, path: Path, run: RunFacts, ask: Enquiry = nothing_known, clock: Callable[[], float] = monotonic
    ) -> None:
        self.path = path
        self._run = run
        self._ask = ask
        self._clock = clock
        self._events = Events()
        self._connection: sqlite3.Connection | None = None
        self._writing = threading.Lock()
        self._committed = clock()
        self._frames: deque[_HeldFrame] = deque(maxlen=_MOST_FRAMES_HELD)
        self._told: deque[_Row] = deque(maxlen=_MOST_EVENTS_HELD)
        self._galaxies: dict[int, _Row] = {}
        if path.exists():
            _check(path)

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        facts = self._ask(result)
        events = self._events.of(seen, ended, facts)
        self._frames.append(_held_frame(self._run.id, result, seen, facts))
        for sighting in seen:
            self._hold(sighting, facts)
        self._tell(events)
        if self._connection is None:
            with _os_errors(self.path):
                self._connection = _opened(self.path)
        if self._told or self._clock() - self._committed >= _COMMIT_EVERY_S:
            self._commit(self._connection)

    def skip(self, reason: str, number: int | None = None) -> None:
        row = {"run": self._run.id, "number": number, "arrived": _now(), "fault": reason}
        self._frames.append(_HeldFrame(row))

    def mark_false(self, sighting: int) -> None:
        # In line with the writing thread, whose connection may be in the middle of something.
        with self._writing:
            if self._connection is not None:
                mark_false(self.path, self._run.id, sighting)

    def close(self, alive: Sequence[Sighting]) -> None:
        if self._connection is None and all("fault" in held.row for held in self._frames):
            return
        self._tell(self._events.ends(alive))
        if self._connection is None:
            with _os_errors(self.path):
                self._connection = _opened(self.path)
        self._commit(self._connection, over=True)
        self._connection.close()
        self._connection = None
        self._frames.clear()

    def _hold(self, sighting: Sighting, facts: FrameFacts) -> None:
        row = _galaxy(self._run.id, sighting)
        place = facts.places.get(sighting.id)
        if place is not None:
            row |= {"ra_deg": place.ra_deg, "dec_deg": place.dec_deg}
        if sighting.id in facts.names:
            row["name"] = facts.names[sighting.id]
        self._galaxies[sighting.id] = self._galaxies.get(sighting.id, {}) | row

    def _tell(self, events: Sequence[Event]) -> None:
        for event in events:
            sighting = event.sighting
            row = _galaxy(self._run.id, sighting)
            if event.kind == "end":
                self._galaxies[sighting.id] = self._galaxies.get(sighting.id, {}) | row | {"ended": True}
            told = {"run": self._run.id, "galaxy": sighting.id, "event": event.kind, "at": _now()}
            self._told.append(told | {column: row[column] for column in ("class", "confidence")})

    def _commit(self, connection: sqlite3.Connection, over: bool = False) -> None:
        with self._writing, _os_errors(self.path), _transaction(connection):
            _insert(connection, "runs", _run_row(self._run), "ON CONFLICT DO NOTHING")
            for held in self._frames:
                frame = _insert(connection, "frames", held.row)
                for observation in held.observations:
                    _insert(connection, "observations", observation | {"frame": frame})
            for row in self._galaxies.values():
                _insert(connection, "galaxies", row, _UPDATE_GALAXY)
            for row in self._told:
                _insert(connection, "events", row)
            if over:
                connection.execute("UPDATE runs SET ended = ? WHERE id = ?", (_now(), self._run.id))
        self._frames.clear()
        self._galaxies.clear()
        self._told.clear()
        self._committed = self._clock()


def mark_false(path: Path, run: str, sighting: int) -> bool:
    """Mark a sighting as no galaxy: it leaves the view ``sightings`` and stays in the table.

    Parameters
    ----------
    path
        The database, which a run may be writing to.
    run, sighting
        Id of the run, and number of the sighting within it.

    Returns
    -------
    bool
        Whether there is such a sighting.

    Raises
    ------
    OSError
        The database cannot be written.
    """
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    with _os_errors(path), closing(_connected(path)) as connection, _transaction(connection):
        marked = connection.execute(
            "UPDATE galaxies SET false_detection = 1 WHERE run = ? AND id = ?", (run, sighting)
        ).rowcount
        if marked:
            _insert(connection, "events", {"run": run, "galaxy": sighting, "event": "false", "at": _now()})
    return bool(marked)


def _connected(path: Path) -> sqlite3.Connection:
    """A connection without Python's own idea of transactions; any one thread at a time may use it."""
    connection = sqlite3.connect(path, timeout=_LOCKED_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        # What was written is not read again: by itself SQLite keeps 2 MB of it, which fill all night long.
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
    except BaseException:
        connection.close()
        raise
    return connection


def _opened(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = _connected(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, str(path))
    except BaseException:
        connection.close()
        raise
    return connection


def _check(path: Path) -> None:
    """`InputError` unless a file can be gone on with."""
    try:
        with closing(_connected(path)) as connection:
            migrate(connection, str(path))
    except sqlite3.OperationalError as error:
        raise InputError(f"{path} cannot be written: {error}", "make it and its folder writable") from error
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path} is no database of sightings: {error}", "give another file") from error


@contextmanager
def _os_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into the `OSError` that sinks promise."""
    try:
        yield
    except sqlite3.Error as error:
        # Its codes are told by Python 3.11 and later only.
        number = errno.ENOSPC if "full" in str(error) else errno.EIO
        raise OSError(number, str(error), str(path)) from error


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk has rolled it back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _insert(connection: sqlite3.Connection, table: str, row: _Row, conflict: str = "") -> int | None:
    """Insert a row, and its number where the table has any."""
    columns, marks = ", ".join(row), ", ".join(f":{column}" for column in row)
    return connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks}) {conflict}", row).lastrowid


def _run_row(run: RunFacts) -> _Row:
    return {
        "id": run.id,
        "source": run.source,
        "started": run.started.isoformat(),
        "software": run.software,
        "bundle": run.bundle,
        "bundle_version": run.bundle_version,
        "seal": run.seal,
        "black_sigma": run.stretch.black_sigma,
        "soft_sigma": run.stretch.soft_sigma,
        "white_sigma": run.stretch.white_sigma,
    }


_QUALITY_COLUMNS = ("stars", "fwhm_px", "elongation", "background", "gradient", "sigma")


def _held_frame(run: str, result: FrameResult, seen: Sequence[Sighting], facts: FrameFacts) -> _HeldFrame:
    frame = result.frame
    row = {
        "run": run,
        "number": frame.index,
        "source": frame.source,
        "time": frame.time and frame.time.isoformat(),
        "arrived": _now(),
        "exposure_s": frame.exposure_s,
        "galaxies": len(seen),
        **{name: facts.quality and getattr(facts.quality, name) for name in _QUALITY_COLUMNS},
        "stacked": facts.stacked,
        "dropped": facts.dropped,
        "times_ms": _milliseconds(result.times),
    }
    return _HeldFrame(row, tuple(_observations(result, seen)))


def _milliseconds(times: StageTimes) -> str:
    ran = {f.name: round(1000 * getattr(times, f.name), 2) for f in fields(times)}
    return json.dumps({name: ms for name, ms in ran.items() if ms})


def _observations(result: FrameResult, seen: Sequence[Sighting]) -> Iterator[_Row]:
    """What this frame alone says of each sighting."""
    for i, sighting in enumerate(seen):
        probabilities = zip(sighting.probabilities, result.probabilities[i].tolist(), strict=False)
        yield {
            "galaxy": sighting.id,
            **_corners(result.detections.boxes[i].tolist()),
            "score": round(float(result.detections.scores[i]), 4),
            "probabilities": json.dumps({label: round(p, 4) for label, p in probabilities}),
        }


def _galaxy(run: str, sighting: Sighting) -> _Row:
    document = sighting.document()
    box = document.pop("box")
    probabilities = json.dumps(document["probabilities"])
    return document | {"run": run, **_corners(box), "probabilities": probabilities, "ended": False}


def _update(column: str) -> str:
    # What was known and is not told again stays known.
    kept = {"ra_deg", "dec_deg", "name"}
    return f"coalesce(excluded.{column}, {column})" if column in kept else f"excluded.{column}"


_UPDATE_GALAXY = "ON CONFLICT (run, id) DO UPDATE SET " + ", ".join(
    f"{column} = {_update(column)}"
    for column in (
        *("class", "refusal", "settled", "confidence", "score", "probabilities", "frames", "agreeing", "last_frame"),
        *("last_time", "x0", "y0", "x1", "y1", "ra_deg", "dec_deg", "name", "ended"),
    )
)


def _corners(box: Sequence[float]) -> _Row:
    return dict(zip(("x0", "y0", "x1", "y1"), (round(v, 2) for v in box), strict=True))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
