from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edgegal.device.astrometry import SkyPlace
from edgegal.device.sinks.events import Events
from edgegal.device.sinks.facts import FrameFacts
from edgegal.device.tracking import Tracker

SPIRAL = (0.1, 0.9)
KNOWN = FrameFacts(places={1: SkyPlace(202.47, 47.19)}, names={1: "NGC 5194"})


def kinds(events: Events, night: Any, *rows: tuple[tuple[float, float] | None, ...]) -> list[list[tuple[int, str]]]:
    told = []
    for row in rows:
        _, ended = night.frame(*row)
        told.append([(e.sighting.id, e.kind) for e in events.of(night.seen, ended, FrameFacts())])
    return told


def test_a_sighting_is_new_then_updated_at_powers_of_two_and_ends(night: Any) -> None:
    told = kinds(Events(), night, *[(SPIRAL,)] * 5, ())
    assert told == [[(1, "new")], [(1, "update")], [], [(1, "update")], [], [(1, "end")]]


def test_a_place_and_a_name_once_known_stay_known(night: Any) -> None:
    events = Events()
    _, ended = night.frame(SPIRAL)
    (new,) = events.of(night.seen, ended, KNOWN)
    _, ended = night.frame(SPIRAL)
    (update,) = events.of(night.seen, ended, FrameFacts())
    (end,) = events.ends(night.tracker.alive)
    for event in (new, update, end):
        assert event.place == KNOWN.places[1]
        assert event.document("r")["ra_deg"] == 202.47
        assert event.document("r")["name"] == "NGC 5194"


def test_a_place_that_becomes_known_between_events_is_told_with_the_next(night: Any) -> None:
    events = Events()
    for facts in (FrameFacts(), FrameFacts(), KNOWN, FrameFacts()):
        _, ended = night.frame(SPIRAL)
        told = events.of(night.seen, ended, facts)
    assert told[0].name == "NGC 5194"


def test_of_a_sighting_that_never_settled_nothing_is_said(night: Any) -> None:
    night.tracker = Tracker(("round", "spiral"), agree=3, patience=0)
    told = kinds(Events(settled_only=True), night, (SPIRAL,), (SPIRAL,), (), (SPIRAL,), (SPIRAL,), (SPIRAL,), ())
    assert told == [[], [], [], [], [], [(2, "new")], [(2, "end")]]


def test_ends_are_told_once(night: Any) -> None:
    events = Events()
    _, ended = night.frame(SPIRAL)
    events.of(night.seen, ended, FrameFacts())
    assert len(events.ends(night.tracker.alive)) == 1
    assert events.ends(night.tracker.alive) == []


@given(st.lists(st.lists(st.sampled_from([None, SPIRAL, (0.9, 0.1)]), max_size=4), max_size=12))
def test_whatever_the_night_every_sighting_begins_once_and_ends_once(new_night: type, rows: list[list[Any]]) -> None:
    night, events = new_night(), Events()
    told: dict[int, list[str]] = {}
    for row in rows:
        _, ended = night.frame(*row)
        for event in events.of(night.seen, ended, FrameFacts()):
            told.setdefault(event.sighting.id, []).append(event.kind)
    for event in events.ends(night.tracker.alive):
        told.setdefault(event.sighting.id, []).append(event.kind)
    for said in told.values():
        assert (said[0], said[-1]) == ("new", "end")
        assert said.count("new") == said.count("end") == 1
