"""Pictures of doubtful and of false galaxies, kept to label them and to train again."""

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2

from edgegal.device.pipeline import FrameResult
from edgegal.device.sinks.base import Sink
from edgegal.device.sinks.events import Event, Events
from edgegal.device.sinks.facts import Enquiry, RunFacts, nothing_known
from edgegal.device.sinks.files import write_whole
from edgegal.device.sinks.lines import LineFile
from edgegal.device.tracking import Sighting
from edgegal.frames import View
from edgegal.preprocess import crop_square

__all__ = ["FACTS", "FALSE", "KeptCrops"]

FACTS = "crops.jsonl"
"""What is known of the pictures; the last line of a ``file`` counts."""

FALSE = "false"
"""Folder of those that somebody marked as no galaxy."""

# Survey cutouts are about twice the box of their galaxy: whoever trains cuts them again.
_SCALE = 2.0
_LARGEST_SIDE = 424
# Sightings that have ended and can still be marked as false with their picture.
_ENDED_HELD = 32

_Reason = Literal["doubtful", "false"]


@dataclass(frozen=True)
class _Crop:
    """The last look at a sighting.

    Attributes
    ----------
    picture
        ``(s, s, 3)`` uint8 RGB.
    facts
        What is known of it, as plain JSON values.
    """

    picture: View
    facts: dict[str, Any]


class KeptCrops(Sink):
    """A PNG of each galaxy whose class is doubtful, in the pixels of the view, with a JSON line in ``crops.jsonl``.

    Doubtful is a galaxy that got no class for being uncertain, or one less probable than `below`. Those too small to
    tell are not kept: nobody could label them. A picture is taken anew with each event of its sighting, see `Events`.
    What somebody marks as no galaxy goes into the folder ``false``. When there are too many the oldest go, but for
    those in folders, which are somebody's work.

    Parameters
    ----------
    folder
        Where they go; created with the first of them.
    run
        For the lines.
    below
        Probability of the most probable class from which a galaxy is not doubtful.
    most, most_bytes
        Pictures kept, and what they take together.
    ask
        Says where on the sky the sightings are and what they are called.
    """

    holds = False

    def __init__(
        self,
        folder: Path,
        run: RunFacts,
        below: float = 0.7,
        most: int = 2_000,
        most_bytes: int = 200 * 2**20,
        ask: Enquiry = nothing_known,
    ) -> None:
        self.folder = folder
        self._run = run
        self._below = below
        self._most = most
        self._most_bytes = most_bytes
        self._ask = ask
        self._events = Events()
        self._last: OrderedDict[int, _Crop] = OrderedDict()
        self._ended: OrderedDict[int, None] = OrderedDict()
        self._false: set[int] = set()
        self._due: dict[int, _Reason] = {}
        self._kept: dict[Path, int] | None = None
        self._lines: LineFile | None = None
        self._lock = threading.Lock()

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        with self._lock:
            events = self._events.of(seen, ended, self._ask(result))
            told = {event.sighting.id: event for event in events}
            for sighting in seen:
                event = told.get(sighting.id) or Event("update", sighting)
                self._last[sighting.id] = _crop(result, event, self._run)
            self._forget(ended)
            for event in events:
                if event.kind != "end" and self._is_doubtful(event.sighting):
                    self._due[event.sighting.id] = "doubtful"
            self._save_due()

    def mark_false(self, sighting: int) -> None:
        with self._lock:
            self._false.add(sighting)
            self._due[sighting] = "false"
            self._save_due()

    def close(self, alive: Sequence[Sighting]) -> None:
        with self._lock:
            if self._lines is not None:
                self._lines.close()
                self._lines = None

    def _is_doubtful(self, sighting: Sighting) -> bool:
        if sighting.id in self._false or sighting.refusal == "too small":
            return False
        return sighting.refusal is not None or sighting.confidence < self._below

    def _forget(self, ended: Iterable[Sighting]) -> None:
        self._ended.update((sighting.id, None) for sighting in ended)
        while len(self._ended) > _ENDED_HELD:
            self._last.pop(self._ended.popitem(last=False)[0], None)

    def _save_due(self) -> None:
        """Save what is due; what cannot be written stays due."""
        lines = []
        for sighting, reason in self._due.items():
            crop = self._last.get(sighting)
            if crop is not None:
                (self._keep_false if reason == "false" else self._keep)(sighting, crop)
                lines.append({"file": self._path(sighting).name, "reason": reason, **crop.facts})
        if lines:
            self._tell(lines)
        self._due.clear()

    def _keep(self, sighting: int, crop: _Crop) -> None:
        path = self._path(sighting)
        _write(path, crop.picture)
        kept = self._known_files()
        kept.pop(path, None)
        kept[path] = path.stat().st_size
        while len(kept) > self._most or sum(kept.values()) > self._most_bytes:
            oldest = next(iter(kept))
            oldest.unlink(missing_ok=True)
            del kept[oldest]

    def _keep_false(self, sighting: int, crop: _Crop) -> None:
        doubtful = self._path(sighting)
        _write(self.folder / FALSE / doubtful.name, crop.picture)
        doubtful.unlink(missing_ok=True)
        self._known_files().pop(doubtful, None)

    def _tell(self, lines: Iterable[dict[str, Any]]) -> None:
        if self._lines is None:
            _drop_lines_without_picture(self.folder)
            self._lines = LineFile(self.folder / FACTS)
        # At once: a card takes its time for each.
        self._lines.append("".join(json.dumps(line) + "\n" for line in lines))

    def _path(self, sighting: int) -> Path:
        return self.folder / f"{self._run.id}-{sighting:05d}.png"

    def _known_files(self) -> dict[Path, int]:
        """Sizes of the pictures that are in nobody's folder, oldest first."""
        if self._kept is None:
            found = sorted((p.stat().st_mtime, p) for p in self.folder.glob("*.png"))
            self._kept = {path: path.stat().st_size for _, path in found}
        return self._kept


def _write(path: Path, picture: View) -> None:
    _, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    write_whole(path, encoded.tobytes())


def _crop(result: FrameResult, event: Event, run: RunFacts) -> _Crop:
    x0, y0, x1, y1 = event.sighting.box
    side = max(1, round(_SCALE * max(x1 - x0, y1 - y0)))
    size = min(side, _LARGEST_SIDE)
    facts = event.document(run.id)
    del facts["event"]
    facts |= {
        "crop_side_px": side,
        "frame": result.frame.index,
        "source": result.frame.source,
        "bundle": run.bundle,
        "bundle_version": run.bundle_version,
        "seal": run.seal,
    }
    return _Crop(crop_square(result.view, ((x0 + x1) / 2, (y0 + y1) / 2), side, size), facts)


def _drop_lines_without_picture(folder: Path) -> None:
    """Keep the file of lines as long as the pictures are many."""
    path = folder / FACTS
    if not path.exists():
        return
    there = {p.name for p in folder.rglob("*.png")}
    last: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            name = json.loads(line)["file"]
        except (ValueError, KeyError, TypeError):
            continue
        if name in there:
            last[name] = line
    write_whole(path, "".join(f"{line}\n" for line in last.values()).encode())
