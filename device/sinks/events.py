"""When there is something to say about a sighting."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgegal.device.astrometry import SkyPlace
from edgegal.device.sinks.facts import FrameFacts
from edgegal.device.tracking import Sighting

__all__ = ["Event", "EventKind", "Events"]

EventKind = Literal["new", "update", "end"]


@dataclass(frozen=True)
class Event:
    """Something worth saying.

    Attributes
    ----------
    kind
        ``new``, ``update`` or ``end``.
    sighting
        As it is now.
    place
        Where on the sky it was last seen, if known.
    name
        From a catalogue, if known.
    """

    kind: EventKind
    sighting: Sighting
    place: SkyPlace | None = None
    name: str | None = None

    def document(self, run: str) -> dict[str, Any]:
        """The event as plain JSON values; places in degrees, ICRS."""
        return {
            "run": run,
            "event": self.kind,
            **self.sighting.document(),
            "ra_deg": None if self.place is None else round(self.place.ra_deg, 6),
            "dec_deg": None if self.place is None else round(self.place.dec_deg, 6),
            "name": self.name,
        }


@dataclass(frozen=True)
class _Known:
    label: str = ""
    place: SkyPlace | None = None
    name: str | None = None


class Events:
    """Tells what is worth saying: ``new`` sightings, their ``end``, and an ``update`` now and then.

    An update is due when the answer changes and when a sighting has been seen 2, 4, 8 ... times, so that a night of
    thousands of frames makes few of them.

    Parameters
    ----------
    settled_only
        Say nothing of a sighting before enough frames agree on its answer.
    """

    def __init__(self, settled_only: bool = False) -> None:
        self._settled_only = settled_only
        self._known: dict[int, _Known] = {}

    def of(self, seen: Sequence[Sighting], ended: Sequence[Sighting], facts: FrameFacts) -> list[Event]:
        """The events of one frame."""
        events = []
        for sighting in seen:
            kind = self._kind(sighting)
            if sighting.id in self._known or kind:
                self._remember(sighting, facts)
            if kind:
                events.append(self._event(kind, sighting))
        return events + self.ends(ended)

    def ends(self, sightings: Iterable[Sighting]) -> list[Event]:
        """The ends of those sightings that something was said of."""
        told = [s for s in sightings if s.id in self._known]
        events = [self._event("end", s) for s in told]
        for sighting in told:
            del self._known[sighting.id]
        return events

    def _kind(self, sighting: Sighting) -> EventKind | None:
        known = self._known.get(sighting.id)
        if known is None:
            return "new" if sighting.settled or not self._settled_only else None
        grown = sighting.frames & (sighting.frames - 1) == 0
        return "update" if grown or known.label != sighting.label else None

    def _remember(self, sighting: Sighting, facts: FrameFacts) -> None:
        before = self._known.get(sighting.id, _Known())
        place = facts.places.get(sighting.id, before.place)
        name = facts.names.get(sighting.id, before.name)
        self._known[sighting.id] = _Known(sighting.label, place, name)

    def _event(self, kind: EventKind, sighting: Sighting) -> Event:
        known = self._known[sighting.id]
        return Event(kind, sighting, known.place, known.name)
