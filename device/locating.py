"""Where on the sky the sightings of a run are, and what the galaxies there are called."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TypeAlias

import numpy as np

from edgegal.device.astrometry import SkyMap, SkyPlace
from edgegal.device.catalogue import Catalogue
from edgegal.device.pipeline import FrameResult
from edgegal.device.sinks.facts import FrameFacts
from edgegal.device.stacking import Stack, Stacked
from edgegal.device.tracking import Sighting
from edgegal.errors import EdgegalError
from edgegal.frames import Frame

__all__ = ["Locator", "Solver"]

_log = logging.getLogger(__name__)

Solver: TypeAlias = Callable[[Frame, SkyPlace | None], SkyMap]
"""Finds out where a frame looks, given about where that is; `edgegal.errors.EdgegalError` when it cannot."""

# A field that was not recognised is tried again when the stack shows more stars.
_SOLVE_AGAIN_S = 120.0


@dataclass(frozen=True)
class _Located:
    place: SkyPlace
    name: str | None


class Locator:
    """Tells sinks what is known of the frame they are given; the session lets it know each frame before them.

    The sky map comes from the header of the frame. Where that holds no solution and there is a solver, the stack is
    solved, in a thread of its own: nobody waits for it.

    Parameters
    ----------
    catalogue
        Names of galaxies by their place; looked up only where stars, not just the mount, say where the frame looks.
    solve
        Such as `edgegal.device.plate_solving.AstapSolver`.
    """

    def __init__(self, catalogue: Catalogue | None = None, solve: Solver | None = None) -> None:
        self._catalogue = catalogue
        self._solving = _Solving(solve) if solve else None
        self._located: dict[int, _Located] = {}
        self._facts = FrameFacts()
        self._complained = False
        # Where nothing solves, only headers could say where frames look, and an idle catalogue is told of once.
        self._told_idle = catalogue is None or solve is not None

    def __call__(self, result: FrameResult) -> FrameFacts:
        """What is known of the frame that is being written: an `edgegal.device.sinks.facts.Enquiry`."""
        return self._facts

    def locate(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> FrameFacts:
        """Take in one frame and its sightings, as sinks get them."""
        sky = self._sky(result)
        if not self._told_idle and (sky is None or not sky.solved):
            self._told_idle = True
            _log.warning(
                "sightings.catalogue has no effect: %s does not say exactly where it looks (add --stack N and --solve)",
                result.frame.source,
            )
        if sky is not None:
            # A galaxy stays where it is: looked up again as more frames put its box better.
            fresh = [s for s in seen if s.frames & (s.frames - 1) == 0 or s.id not in self._located]
            self._look_up(sky, fresh)
        known = {s.id: self._located[s.id] for s in (*seen, *ended) if s.id in self._located}
        for sighting in ended:
            self._located.pop(sighting.id, None)
        self._facts = FrameFacts(
            result.quality,
            sky,
            {number: located.place for number, located in known.items()},
            {number: located.name for number, located in known.items() if located.name},
            result.stacked.frames if result.stacked else 0,
            result.dropped,
        )
        return self._facts

    def _sky(self, result: FrameResult) -> SkyMap | None:
        said = SkyMap.of(result.frame.header, result.frame.size)
        if said is not None and result.stacked is not None:
            said = said.seen_by(result.stacked.motion)
        if self._solving is None or result.stacked is None or (said is not None and said.solved):
            return said
        return self._solving.update(result.stacked) or said

    def _look_up(self, sky: SkyMap, sightings: Sequence[Sighting]) -> None:
        middles = np.array([[s.box[0] + s.box[2], s.box[1] + s.box[3]] for s in sightings]).reshape(-1, 2) / 2
        try:
            places = sky.places(middles)
        except Exception as error:  # noqa: BLE001 - headers are written by anybody: no night ends for a strange one
            if not self._complained:
                _log.warning("the sky position in the header is not understood: %s", error)
                self._complained = True
            return
        for sighting, place in zip(sightings, places, strict=True):
            found = self._catalogue.at(place, galaxies_only=True) if self._catalogue and sky.solved else None
            self._located[sighting.id] = _Located(place, found.name if found else None)


class _Solving:
    """The map of the stack, solved once for each sky that it shows."""

    def __init__(self, solve: Solver) -> None:
        self._solve = solve
        self._map: SkyMap | None = None
        self._thread: threading.Thread | None = None
        self._sky = 0
        self._next = 0.0

    def update(self, stacked: Stacked) -> SkyMap | None:
        """The map of the stack so far, if it is known yet."""
        if stacked.frames == 1:
            # A result of the sky before, still on its way, is not listened to.
            self._sky += 1
            carried = stacked.carried
            self._map = self._map.seen_by(carried.inverse()) if self._map is not None and carried is not None else None
        idle = self._thread is None or not self._thread.is_alive()
        if self._map is None and idle and monotonic() >= self._next:
            self._next = monotonic() + _SOLVE_AGAIN_S
            self._thread = threading.Thread(
                target=self._work, args=(stacked.stack, self._sky), name="edgegal-solving", daemon=True
            )
            self._thread.start()
        return self._map

    def _work(self, stack: Stack, sky: int) -> None:
        try:
            frame = stack.picture()
            found = self._solve(frame, _near(frame))
        except EdgegalError as error:
            _log.warning("%s", error)
            return
        if sky == self._sky:
            self._map = found
            _log.info("the stack of %s is solved", frame.source)


def _near(frame: Frame) -> SkyPlace | None:
    """About where the mount says that it points."""
    ra, dec = (frame.header.get(key) for key in ("RA", "DEC"))
    if isinstance(ra, int | float) and isinstance(dec, int | float) and -90 <= dec <= 90:
        return SkyPlace(float(ra) % 360, float(dec))
    return None
