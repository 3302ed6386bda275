"""The latest state of a run, for any number of readers."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from time import monotonic

from edgegal.device.astrometry import SkyPlace
from edgegal.device.controls import Controls
from edgegal.device.health import HealthReport
from edgegal.device.pipeline import FrameResult
from edgegal.device.registration import Motion
from edgegal.device.sinks import Sink
from edgegal.device.sinks.facts import Enquiry, FrameFacts, nothing_known
from edgegal.device.tracking import Sighting
from edgegal.device.web.history import History
from edgegal.device.web.pictures import as_jpeg, carried, crop_of, drawn, shown_view
from edgegal.device.web.shared import Shared
from edgegal.device.web.vitals import Vital, vitals_of
from edgegal.errors import FrameError
from edgegal.frames import Frame, View
from edgegal.preprocess import Stretch

__all__ = ["Card", "LastFrame", "Live", "Snapshot"]

_log = logging.getLogger(__name__)

# Sightings that ended and are still listed: what they take, crops included, is about 6 MB.
_ENDED_KEPT = 200
# The stack and the last frame, each with and without boxes.
_PICTURES_KEPT = 4
_CROPS_KEPT = 64


@dataclass(frozen=True)
class LastFrame:
    """The last frame that went through all stages.

    Attributes
    ----------
    result
        What the pipeline made of it; times of what comes after this sink are not known yet and 0.
    seen
        The sightings in it.
    stacked
        Frames in the stack; 0 without one.
    arrived
        When it came, UTC.
    """

    result: FrameResult
    seen: tuple[Sighting, ...]
    stacked: int
    arrived: datetime

    @property
    def single(self) -> tuple[Frame, Motion] | None:
        """The one frame that was added to the stack, and where the stack's places lie in it; None without a stack."""
        stacked = self.result.stacked
        return (self.result.frame, stacked.motion) if stacked is not None else None


@dataclass(frozen=True)
class Snapshot:
    """One moment of a run.

    Attributes
    ----------
    source
        Where the frames come from, for people.
    started
        When the run began, UTC.
    frames
        Frames that went through all stages: the number of the picture.
    skipped
        Frames that could not be used.
    last_skipped
        What was wrong with the last of them; empty when there is none.
    dropped
        Frames that came too fast and were never looked at.
    frame
        The last frame; None before the first.
    alive
        Sightings that have not ended, oldest first.
    ended
        The last of those that have, oldest first.
    galaxies
        Sightings of the whole run.
    over
        Whether the run is.
    """

    source: str
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    frames: int = 0
    skipped: int = 0
    last_skipped: str = ""
    dropped: int = 0
    frame: LastFrame | None = None
    alive: tuple[Sighting, ...] = ()
    ended: tuple[Sighting, ...] = ()
    galaxies: int = 0
    over: bool = False

    @property
    def version(self) -> tuple[int, int, int, bool]:
        """Differs between any two moments of a run."""
        return self.frames, self.skipped, self.dropped, self.over


@dataclass(frozen=True)
class Card:
    """What is kept of a sighting beside itself.

    Attributes
    ----------
    crop
        Its surroundings, ``(96, 96, 3)`` uint8 RGB.
    version
        Frames it had been seen in when they were cut.
    place, name
        On the sky, and from a catalogue, where known.
    """

    crop: View
    version: int
    place: SkyPlace | None = None
    name: str | None = None


class Live(Sink):
    """Keeps the last moment of a run for the page.

    One thread writes and any number read. Writing swaps references, so the pipeline never waits for a reader; pictures
    are drawn and encoded in the readers' time, only when somebody looks, and once for all who do.

    Parameters
    ----------
    source
        Where the frames come from, for people.
    controls
        The dials of the run; without, only the stretch of the shown view can be turned.
    health
        Tells how the computer is, as `HealthMonitor.latest` does; called by readers, so it returns at once.
    on_false
        Told the number of each sighting that somebody calls a false detection, in a reader's thread. It may raise
        OSError or EdgegalError: then nothing is marked.
    enquire
        Tells what other stages say of a frame: places on the sky, names.
    shared_s
        Readers within so many seconds see the same moment, however fast frames come.
    """

    name = "the page"

    def __init__(
        self,
        source: str,
        controls: Controls | None = None,
        health: Callable[[], HealthReport | None] | None = None,
        on_false: Callable[[int], None] | None = None,
        enquire: Enquiry = nothing_known,
        shared_s: float = 0.5,
    ) -> None:
        self.controls = controls or Controls()
        self._health = health
        self.history = History()
        self._on_false = on_false
        self._enquire = enquire
        self._now = Snapshot(source)
        self._cards: dict[int, Card] = {}
        self._marked: frozenset[int] = frozenset()
        self._marking = threading.Lock()
        self._shared_s = shared_s
        self._moment = self._now
        self._until = monotonic()
        self._choosing = threading.Lock()
        self._pictures: Shared[bytes] = Shared(_PICTURES_KEPT)
        self._crops: Shared[bytes] = Shared(_CROPS_KEPT)

    @property
    def now(self) -> Snapshot:
        """The last moment; a whole one, whenever it is asked for."""
        return self._now

    @property
    def moment(self) -> Snapshot:
        """The moment that is shown to all readers just now."""
        with self._choosing:
            if monotonic() >= self._until:
                self._moment = self._now
                self._until = monotonic() + self._shared_s
            return self._moment

    @property
    def vitals(self) -> tuple[Vital, ...]:
        """How the computer is; nothing where nobody looks after it."""
        report = self._health() if self._health else None
        return vitals_of(report) if report else ()

    @property
    def marked(self) -> frozenset[int]:
        """Numbers of the sightings marked as false detections."""
        return self._marked

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        alive = {s.id: s for s in (*self._now.alive, *seen)}
        for sighting in ended:
            alive.pop(sighting.id, None)
        facts = self._enquire(result)
        for sighting in (*seen, *ended):
            self._keep_card(sighting, result.view, facts)
        over = (*self._now.ended, *ended)
        for sighting in over[:-_ENDED_KEPT]:
            self._cards.pop(sighting.id, None)
        arrived = datetime.now(timezone.utc)
        self.history.drop(result.dropped - self._now.dropped)
        self._now = replace(
            self._now,
            frames=self._now.frames + 1,
            dropped=result.dropped,
            frame=LastFrame(result, tuple(seen), result.stacked.frames if result.stacked else 0, arrived),
            alive=tuple(alive[i] for i in sorted(alive)),
            ended=over[-_ENDED_KEPT:],
            # Sightings are numbered from 1.
            galaxies=max([self._now.galaxies, *(s.id for s in seen)]),
        )
        self.history.use(result.times, len(seen))
        # Else the pictures of a moment that nobody looks at any more would stay in memory.
        _ = self.moment

    def skip(self, reason: str, number: int | None = None) -> None:
        self._now = replace(self._now, skipped=self._now.skipped + 1, last_skipped=reason)
        self.history.skip()

    def mark_false(self, sighting: int) -> None:
        with self._marking:
            self._marked |= {sighting}

    def close(self, alive: Sequence[Sighting]) -> None:
        self._now = replace(self._now, over=True)

    def sighting(self, number: int) -> Sighting | None:
        """The sighting of a number; None when there is none, or when it ended long ago."""
        now = self._now
        return next((s for s in (*now.alive, *now.ended) if s.id == number), None)

    def report_false(self, number: int) -> Sighting | None:
        """Mark a sighting as a false detection and have that known; None when there is no such sighting.

        Raises
        ------
        OSError, EdgegalError
            The mark could not be kept.
        """
        sighting = self.sighting(number)
        if sighting is not None and number not in self._marked:
            if self._on_false is not None:
                self._on_false(number)
            self.mark_false(number)
        return sighting

    def picture(self, single: bool = False, boxes: bool = True) -> bytes | None:
        """A picture of the shown moment as a JPEG file; None when there is none.

        Parameters
        ----------
        single
            The last frame by itself instead of the stack; without a stack they are the same.
        boxes
            Whether a box and a class are drawn on each galaxy.
        """
        moment = self.moment
        frame, stretch = moment.frame, self.controls.now.stretch
        if frame is None:
            return None
        wanted = frame.single if single else None

        def make() -> bytes:
            view = shown_view(wanted[0], stretch) if wanted else self._stacked_view(frame.result, stretch)
            if boxes:
                seen = carried(frame.seen, wanted[1]) if wanted else frame.seen
                view = drawn(view, seen, frame.result.view.shape[1])
            return as_jpeg(view)

        return self._pictures.get((moment.frames, wanted is not None, boxes, stretch), make)

    def card(self, number: int) -> Card | None:
        """What is kept of a sighting beside itself; None when there is none, or when it ended long ago."""
        return self._cards.get(number)

    def crop(self, number: int) -> bytes | None:
        """The surroundings of a sighting as a JPEG file; None when there are none."""
        card = self._cards.get(number)
        if card is None:
            return None
        return self._crops.get((number, card.version), lambda: as_jpeg(card.crop))

    def _stacked_view(self, result: FrameResult, stretch: Stretch) -> View:
        if stretch == self.controls.initial.stretch or not result.frame.linear:
            return result.view
        try:
            return shown_view(result.picture(), stretch)
        except FrameError as error:
            _log.warning("%s", error)
            return result.view

    def _keep_card(self, sighting: Sighting, view: View, facts: FrameFacts) -> None:
        card = self._cards.get(sighting.id)
        # Anew when it has been seen 1, 2, 4, 8 ... times: a stack shows it better and better, and ever more slowly so.
        if card is None or (sighting.frames != card.version and sighting.frames & (sighting.frames - 1) == 0):
            card = Card(crop_of(view, sighting.box), sighting.frames)
        place, name = facts.places.get(sighting.id), facts.names.get(sighting.id)
        self._cards[sighting.id] = replace(card, place=place, name=name)
