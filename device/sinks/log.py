"""The log of sightings: ``sightings.jsonl``."""

import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from edgegal.device.pipeline import FrameResult
from edgegal.device.sinks.base import Sink
from edgegal.device.tracking import Sighting

__all__ = ["SightingLog"]


class SightingLog(Sink):
    """One JSON document a line; the last line of an ``id`` (within a ``run``) is what is known of that galaxy.

    A line is written when a sighting is ``new``, as an ``update`` when its class changes or it has been seen 2, 4,
    8 ... times, and at its ``end``: a night of thousands of frames stays a small file.

    The file is appended to and synced to the card after each frame instead of being renamed into place at the end: the
    usual end of a night at the telescope is a pulled plug, and the log must survive it. At worst the last line is cut;
    the next run begins on a line of its own.

    Parameters
    ----------
    folder
        Where ``sightings.jsonl`` goes; created with the first frame.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "sightings.jsonl"
        self._run = uuid.uuid4().hex[:8]
        self._file: IO[str] | None = None
        self._labels: dict[int, str] = {}

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        file = self._opened()
        for sighting in seen:
            event = self._event(sighting)
            if event:
                self._put(file, event, sighting)
        for sighting in ended:
            self._put(file, "end", sighting)
            self._labels.pop(sighting.id, None)
        _sync(file)

    def close(self, alive: Sequence[Sighting]) -> None:
        if self._file is None:
            return
        with self._file as file:
            for sighting in alive:
                self._put(file, "end", sighting)
            _sync(file)
        self._file = None

    def _opened(self) -> IO[str]:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            cut = _last_line_is_cut(self.path)
            self._file = self.path.open("a", encoding="utf-8")
            if cut:
                self._file.write("\n")
        return self._file

    def _event(self, sighting: Sighting) -> str:
        """The event a sighting is worth; empty when it says nothing new."""
        known = self._labels.get(sighting.id)
        if known is None:
            return "new"
        grown = sighting.frames & (sighting.frames - 1) == 0
        return "update" if grown or known != sighting.label else ""

    def _put(self, file: IO[str], event: str, sighting: Sighting) -> None:
        self._labels[sighting.id] = sighting.label
        file.write(json.dumps({"run": self._run, "event": event, **sighting.document()}) + "\n")


def _last_line_is_cut(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def _sync(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())
