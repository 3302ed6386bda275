"""The log of sightings: ``sightings.jsonl``."""

import json
import threading
import uuid
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgegal.device.pipeline import FrameResult
from edgegal.device.sinks.base import Sink
from edgegal.device.sinks.events import Event, Events
from edgegal.device.sinks.facts import Enquiry, nothing_known
from edgegal.device.sinks.lines import LineFile
from edgegal.device.tracking import Sighting

__all__ = ["SightingLog"]

# Lines held while the disk is full. The newest stay: they say what is known last.
_MOST_HELD = 10_000


class SightingLog(Sink):
    """One JSON document a line; the last line of an ``id`` (within a ``run``) is what is known of that galaxy.

    A line is written for each event, see `Events`, and one with the event ``false`` and nothing but the ``id`` when
    somebody marks a false detection.

    The file is appended to and synced to the card instead of being renamed into place at the end: the usual end of a
    night at the telescope is a pulled plug, and the log must survive it. At worst the last line is cut; the next run
    begins on a line of its own. On a full disk lines are held in memory until there is room.

    Parameters
    ----------
    folder
        Where ``sightings.jsonl`` goes; created with the first frame.
    run
        Id of the run; a random one when None.
    ask
        Says where on the sky the sightings are and what they are called.
    """

    def __init__(self, folder: Path, run: str | None = None, ask: Enquiry = nothing_known) -> None:
        self.path = folder / "sightings.jsonl"
        self._run = run or uuid.uuid4().hex[:8]
        self._ask = ask
        self._file: LineFile | None = None
        self._events = Events()
        self._held: deque[str] = deque(maxlen=_MOST_HELD)
        # Sightings are numbered from 1.
        self._newest = 0
        self._lock = threading.Lock()

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        with self._lock:
            self._hold(self._events.of(seen, ended, self._ask(result)))
            if self._file is None:
                self._file = LineFile(self.path)
            self._flush(self._file)

    def mark_false(self, sighting: int) -> None:
        with self._lock:
            if self._file is None or not 0 < sighting <= self._newest:
                return
            self._held.append(_line({"run": self._run, "event": "false", "id": sighting}))
            self._flush(self._file)

    def close(self, alive: Sequence[Sighting]) -> None:
        with self._lock:
            self._hold(self._events.ends(alive))
            if self._file is None and self._held:
                self._file = LineFile(self.path)
            if self._file is not None:
                self._flush(self._file)
                self._file.close()
                self._file = None

    def _hold(self, events: Sequence[Event]) -> None:
        self._newest = max([self._newest, *(event.sighting.id for event in events)])
        self._held.extend(_line(event.document(self._run)) for event in events)

    def _flush(self, file: LineFile) -> None:
        if self._held:
            file.append("".join(self._held))
            self._held.clear()


def _line(document: dict[str, Any]) -> str:
    return json.dumps(document) + "\n"
