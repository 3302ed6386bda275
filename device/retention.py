"""Which pictures make room for new ones, and their removal.

Pictures without a galaxy go first, then the oldest. The log, the database, what somebody sorted into folders, and
everything of the last hour stay whatever happens.
"""

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from edgegal.device.sinks.annotated import EMPTY
from edgegal.device.sinks.files import TEMPORARY

__all__ = ["Limits", "Removal", "Stored", "plan", "stored_files", "tidy"]

_RUNNING = timedelta(hours=1)
# A clock that was never set gives dates before any run of this program: they say nothing of an age.
_CLOCK_SET = datetime(2024, 1, 1, tzinfo=timezone.utc)
# What a run writes that may go, below its output folder. A folder in `crops` is somebody's sorting.
_REMOVABLE = ("frames/*.png", "stacks/*.fits", "crops/*.png")


@dataclass(frozen=True)
class Limits:
    """How much is kept.

    Attributes
    ----------
    days
        Age in days from which pictures go; None to keep them for ever.
    free_bytes
        Space that is to stay free on the disk.
    """

    days: float | None = None
    free_bytes: int = 0


@dataclass(frozen=True)
class Stored:
    """A file that may go.

    Attributes
    ----------
    path
        Where it is.
    bytes
        What its removal frees.
    modified
        UTC.
    empty
        Whether it shows no galaxy.
    """

    path: Path
    bytes: int
    modified: datetime
    empty: bool = False


@dataclass(frozen=True)
class Removal:
    """What was removed.

    Attributes
    ----------
    removed
        Files that are gone.
    failed
        Files that could not be removed, with the reason.
    freed_bytes
        Sum over those removed.
    enough
        Whether as much is free as the limits ask for.
    """

    removed: tuple[Path, ...]
    failed: tuple[str, ...]
    freed_bytes: int
    enough: bool


def plan(files: Iterable[Stored], limits: Limits, free_bytes: int, now: datetime) -> tuple[Stored, ...]:
    """The files to remove, in the order to do it.

    Parameters
    ----------
    files
        All that are there.
    limits
        What to reach.
    free_bytes
        Free now.
    now
        UTC.
    """
    # What comes from the future was written before a clock was set back, perhaps just now.
    old = [f for f in files if now - f.modified > _RUNNING]
    chosen = [f for f in old if _is_too_old(f, limits, now)]
    missing = limits.free_bytes - free_bytes - sum(f.bytes for f in chosen)
    for file in sorted((f for f in old if not _is_too_old(f, limits, now)), key=_first_to_go):
        if missing <= 0:
            break
        chosen.append(file)
        missing -= file.bytes
    return tuple(sorted(chosen, key=_first_to_go))


def _is_too_old(file: Stored, limits: Limits, now: datetime) -> bool:
    return limits.days is not None and file.modified >= _CLOCK_SET and now - file.modified > timedelta(limits.days)


def _first_to_go(file: Stored) -> tuple[bool, datetime, Path]:
    return not file.empty, file.modified, file.path


def stored_files(folder: Path) -> tuple[Stored, ...]:
    """The pictures below the output folder of runs that may go, and what a power cut left half written."""
    patterns = (*_REMOVABLE, f"**/.*{TEMPORARY}*")
    found = []
    for path in (p for pattern in patterns for p in folder.glob(pattern)):
        try:
            status = path.lstat()
        except FileNotFoundError:
            # Renamed in this moment.
            continue
        modified = datetime.fromtimestamp(status.st_mtime, timezone.utc)
        refuse = path.name.startswith(".") or path.name.endswith(EMPTY)
        found.append(Stored(path, status.st_blocks * 512, modified, refuse))
    return tuple(found)


def tidy(folder: Path, limits: Limits, now: datetime | None = None) -> Removal:
    """Remove what exceeds the limits.

    Parameters
    ----------
    folder
        Output folder of runs.
    limits
        What to reach.
    now
        UTC; by the clock when None.
    """
    if not folder.is_dir():
        return Removal((), (), 0, True)
    free = shutil.disk_usage(folder).free
    return _remove(plan(stored_files(folder), limits, free, now or datetime.now(timezone.utc)), limits, free)


def _remove(files: Sequence[Stored], limits: Limits, free: int) -> Removal:
    removed, failed, freed = [], [], 0
    for file in files:
        try:
            file.path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            failed.append(f"{file.path}: {error.strerror}")
            continue
        removed.append(file.path)
        freed += file.bytes
    return Removal(tuple(removed), tuple(failed), freed, free + freed >= limits.free_bytes)
