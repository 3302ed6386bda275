"""Tables of the database of sightings, and how older ones become today's."""

import sqlite3
from collections.abc import Sequence

from edgegal.errors import InputError

__all__ = ["MIGRATIONS", "migrate"]

# Bytes 68-71 of the file: what tells it from the databases of other programs.
_APPLICATION_ID = int.from_bytes(b"egal", "big")

MIGRATIONS: Sequence[Sequence[str]] = (
    (
        """CREATE TABLE runs (
            id TEXT PRIMARY KEY,
            source TEXT NOT NULL,
            started TEXT NOT NULL,
            ended TEXT,
            software TEXT NOT NULL,
            bundle TEXT NOT NULL,
            bundle_version TEXT NOT NULL,
            seal TEXT NOT NULL,
            black_sigma REAL NOT NULL,
            soft_sigma REAL NOT NULL,
            white_sigma REAL NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE frames (
            id INTEGER PRIMARY KEY,
            run TEXT NOT NULL REFERENCES runs,
            number INTEGER,
            source TEXT,
            time TEXT,
            arrived TEXT NOT NULL,
            exposure_s REAL,
            galaxies INTEGER,
            stars INTEGER,
            fwhm_px REAL,
            elongation REAL,
            background REAL,
            gradient REAL,
            sigma REAL,
            stacked INTEGER,
            dropped INTEGER,
            times_ms TEXT,
            fault TEXT
        )""",
        "CREATE INDEX frames_of_run ON frames (run, number)",
        """CREATE TABLE galaxies (
            run TEXT NOT NULL REFERENCES runs,
            id INTEGER NOT NULL,
            class TEXT,
            refusal TEXT,
            settled INTEGER NOT NULL,
            confidence REAL NOT NULL,
            score REAL NOT NULL,
            probabilities TEXT NOT NULL,
            frames INTEGER NOT NULL,
            agreeing INTEGER NOT NULL,
            first_frame INTEGER NOT NULL,
            last_frame INTEGER NOT NULL,
            first_time TEXT,
            last_time TEXT,
            x0 REAL NOT NULL,
            y0 REAL NOT NULL,
            x1 REAL NOT NULL,
            y1 REAL NOT NULL,
            ra_deg REAL,
            dec_deg REAL,
            name TEXT,
            ended INTEGER NOT NULL DEFAULT 0,
            false_detection INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (run, id)
        ) WITHOUT ROWID""",
        """CREATE TABLE observations (
            frame INTEGER NOT NULL REFERENCES frames,
            galaxy INTEGER NOT NULL,
            x0 REAL NOT NULL,
            y0 REAL NOT NULL,
            x1 REAL NOT NULL,
            y1 REAL NOT NULL,
            score REAL NOT NULL,
            probabilities TEXT NOT NULL,
            PRIMARY KEY (frame, galaxy)
        ) WITHOUT ROWID""",
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY,
            run TEXT NOT NULL REFERENCES runs,
            galaxy INTEGER NOT NULL,
            event TEXT NOT NULL,
            at TEXT NOT NULL,
            class TEXT,
            confidence REAL
        )""",
        "CREATE INDEX events_of_galaxy ON events (run, galaxy)",
        """CREATE VIEW sightings AS
            SELECT
                galaxies.run,
                galaxies.id,
                coalesce(class, refusal, 'undecided') AS answer,
                round(confidence, 2) AS confidence,
                name,
                ra_deg,
                dec_deg,
                first_time AS first_seen,
                last_time AS last_seen,
                frames,
                agreeing,
                runs.source,
                runs.bundle
            FROM galaxies JOIN runs ON runs.id = galaxies.run
            WHERE NOT false_detection
            ORDER BY runs.started, galaxies.id""",
    ),
)
"""What brings a database from each version to the next; the first makes one of an empty file."""


def migrate(connection: sqlite3.Connection, name: str, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring a database to today's version, all at once or not at all.

    Parameters
    ----------
    connection
        In autocommit mode.
    name
        Of the file, for messages.
    migrations
        As `MIGRATIONS`.

    Raises
    ------
    InputError
        It is another program's database, or one of a newer edgegal.
    sqlite3.Error
        It is no database, or cannot be written.
    """
    version = _version(connection, name, len(migrations))
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        version = _version(connection, name, len(migrations))
        for statements in migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        if version < len(migrations):
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, name: str, newest: int) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != _APPLICATION_ID and (application or version or tables):
        raise InputError(f"{name} is the database of another program", "give another file")
    if version > newest:
        raise InputError(
            f"{name} is of version {version}, this edgegal knows up to {newest}",
            "use the edgegal that wrote it, or give another file",
        )
    return int(version)
