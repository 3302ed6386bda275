"""What the page's server says: the documents of its answers."""

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edgegal.device.controls import RANGES, Controls
from edgegal.device.pipeline import StageTimes
from edgegal.device.sinks.annotated import colour_of
from edgegal.device.tracking import Sighting
from edgegal.device.web.live import LastFrame, Live
from edgegal.device.web.pictures import carried
from edgegal.device.web.vitals import Condition
from edgegal.inference import Refusal

__all__ = [
    "ControlsState",
    "HistoryState",
    "Login",
    "Problem",
    "SightingState",
    "Sightings",
    "State",
    "Turned",
    "controls_of",
    "history_of",
    "sighting_of",
    "sightings_of",
    "state_of",
]

Box = tuple[float, float, float, float]


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [values]})


class Problem(BaseModel):
    """Why a request was refused."""

    model_config = _example(detail="log in first")

    detail: str = Field(description="In one line, for people.")


class Login(BaseModel):
    """What begins a session."""

    model_config = _example(password="correct horse battery staple")

    password: str = Field(max_length=256)


class Turned(BaseModel):
    """Dials to turn; those left out stay as they are."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"black_sigma": -1.0, "score": 0.4}]})

    black_sigma: float | None = Field(default=None, ge=RANGES["black_sigma"][0], le=RANGES["black_sigma"][1])
    soft_sigma: float | None = Field(default=None, ge=RANGES["soft_sigma"][0], le=RANGES["soft_sigma"][1])
    white_sigma: float | None = Field(default=None, ge=RANGES["white_sigma"][0], le=RANGES["white_sigma"][1])
    score: float | None = Field(default=None, ge=RANGES["score"][0], le=RANGES["score"][1])
    abstain_below: float | None = Field(default=None, ge=RANGES["abstain_below"][0], le=RANGES["abstain_below"][1])


class DialState(BaseModel):
    """One dial."""

    model_config = _example(value=0.35, initial=0.3, low=0.0, high=1.0)

    value: float = Field(description="Where it stands.")
    initial: float = Field(description="Where it stood when the run began.")
    low: float
    high: float


class ControlsState(BaseModel):
    """The dials of the run."""

    model_config = _example(
        stretch={"black_sigma": {"value": -1.0, "initial": 1.0, "low": -20.0, "high": 20.0}}, thresholds={}
    )

    stretch: dict[str, DialState] = Field(
        description="Of the shown view, in sigmas of the sky noise: black below the sky, soft and white above black."
    )
    thresholds: dict[str, DialState] = Field(description="Of the run; empty where they cannot be turned.")


class SightingState(BaseModel):
    """A galaxy over time, as in ``sightings.jsonl``."""

    id: int = Field(description="Number within the run, from 1.")
    box: Box = Field(description="x0, y0, x1, y1 in pixels of the frame, or of the stack.")
    single_box: Box | None = Field(
        default=None, description="Where that is in the last frame that was stacked; null without a stack."
    )
    label: str | None = Field(
        alias="class",
        description="The most probable class; null where it is refused or undecided; galaxy without a classifier.",
    )
    refusal: Refusal | None = Field(description="Why it gets no class; null when it gets one.")
    settled: bool = Field(description="Whether enough frames agree for the class to be told.")
    confidence: float = Field(
        description="Probability of the most probable class; the detection score without a classifier."
    )
    score: float = Field(description="Mean detection score.")
    probabilities: dict[str, float] = Field(description="By class, averaged over frames.")
    frames: int = Field(description="Frames it was seen in.")
    agreeing: int = Field(description="Frames whose own answer, a class or none, is this one.")
    first_frame: int
    last_frame: int
    first_time: datetime | None
    last_time: datetime | None
    seen: bool = Field(description="Whether it is in the last frame.")
    ended: bool = Field(description="Whether it has not been seen for long.")
    marked: bool = Field(description="Whether somebody called it a false detection.")
    crop: int | None = Field(description="Changes when its crop does; null when there is none.")
    name: str | None = Field(description="From a catalogue, where the place is known.")
    place: str | None = Field(description="Right ascension and declination, ICRS, where known.")
    ra_deg: float | None
    dec_deg: float | None
    colour: str = Field(description="Of its box in the picture, #rrggbb.")


class Sightings(BaseModel):
    """The sightings of a run: all that go on, and the last 200 that ended."""

    sightings: list[SightingState] = Field(description="Newest first.")


class FrameState(BaseModel):
    """The last frame that went through all stages."""

    index: int = Field(description="Position in its stream, from 0.")
    source: str
    time: datetime | None = Field(description="Time of exposure, UTC, where the frame says.")
    width: int
    height: int
    stacked: int = Field(description="Frames in the stack, whose last one can be seen by itself; 0 without one.")
    stars: int | None = Field(description="Found in the last frame, at most 200; null where nobody counts.")
    fwhm_px: float | None = Field(description="Width of the brightest at half maximum; null without any.")
    linear: bool = Field(description="Whether it is stretched here, so that the dials of the stretch act.")
    arrived: datetime = Field(description="When it came, by this computer's clock.")


class VitalState(BaseModel):
    """One line about the computer."""

    model_config = _example(name="temperature", text="61 °C (cpu-thermal)", condition="good", mend="")

    name: str
    text: str = Field(description="What there is, or why it is not known.")
    condition: Condition
    mend: str = Field(description="What to do about it; empty where it is well.")


class State(BaseModel):
    """A run at this moment."""

    source: str
    started: datetime
    status: Literal["waiting", "running", "over"] = Field(description="waiting: for the first frame.")
    picture: str = Field(description="Changes when /view.jpg does.")
    frames: int = Field(description="Frames that went through all stages.")
    skipped: int = Field(description="Frames that could not be used.")
    last_skipped: str = Field(description="What was wrong with the last of them.")
    dropped: int = Field(description="Frames that came too fast and were never looked at.")
    frame: FrameState | None
    galaxies: int = Field(description="Sightings of the whole run.")
    latency_ms: dict[str, float] = Field(description="Milliseconds of the last frame by stage, and total.")
    sightings: list[SightingState] = Field(description="Those that have not ended, oldest first.")
    listed: str = Field(description="Changes when /api/sightings says more than is said here.")
    controls: ControlsState
    health: list[VitalState] = Field(description="Empty where nobody looks after it.")
    locked: bool = Field(description="Whether the page has a password.")


class FramePointState(BaseModel):
    """One frame of the run."""

    model_config = _example(number=17, ms=84.2, galaxies=3)

    number: int = Field(description="From 1, over all frames taken.")
    ms: float | None = Field(description="Milliseconds of all stages together; null for a frame that was skipped.")
    galaxies: int = Field(description="Seen in it.")


class MinuteState(BaseModel):
    """One minute of the run in which a frame came."""

    model_config = _example(number=12, used=58, skipped=1, dropped=0, ms=85.0)

    number: int = Field(description="Minutes since the run began, from 0.")
    used: int
    skipped: int
    dropped: int
    ms: float | None = Field(description="Mean milliseconds of the frames used; null without any.")


class HistoryState(BaseModel):
    """How the run went."""

    frames: list[FramePointState] = Field(description="The last 240, oldest first.")
    minutes: list[MinuteState] = Field(description="The last 720, oldest first.")


def state_of(live: Live, locked: bool = False) -> State:
    """The shown moment of a run."""
    now, dials, marked = live.moment, live.controls.now, live.marked
    frame = now.frame
    seen = {s.id for s in frame.seen} if frame else set()
    stretch = dials.stretch
    return State(
        source=now.source,
        started=now.started,
        status="over" if now.over else "running" if frame else "waiting",
        picture=f"{now.frames}-{stretch.black_sigma:g}-{stretch.soft_sigma:g}-{stretch.white_sigma:g}",
        frames=now.frames,
        skipped=now.skipped,
        last_skipped=now.last_skipped,
        dropped=now.dropped,
        frame=_frame(frame) if frame else None,
        galaxies=now.galaxies,
        latency_ms=_milliseconds(frame.result.times) if frame else {},
        sightings=_alive(live, now.alive, seen, frame),
        listed=f"{now.galaxies}-{now.ended[-1].id if now.ended else 0}-{len(now.ended)}-{len(marked)}",
        controls=controls_of(live.controls),
        health=[VitalState.model_validate(vars(v)) for v in live.vitals],
        locked=locked,
    )


def sightings_of(live: Live) -> Sightings:
    """All sightings that are still known."""
    now = live.moment
    seen = {s.id for s in now.frame.seen} if now.frame else set()
    ended = [sighting_of(live, s, False, ended=True) for s in now.ended]
    return Sightings(
        sightings=sorted([*ended, *_alive(live, now.alive, seen, now.frame)], key=lambda s: s.id, reverse=True)
    )


def sighting_of(
    live: Live, sighting: Sighting, seen: bool, ended: bool = False, single_box: Box | None = None
) -> SightingState:
    """One sighting."""
    card = live.card(sighting.id)
    place = card.place if card else None
    red, green, blue = colour_of(sighting)
    return SightingState.model_validate(
        {
            **sighting.document(),
            "single_box": single_box,
            "seen": seen,
            "ended": ended,
            "marked": sighting.id in live.marked,
            "crop": card.version if card else None,
            "name": card.name if card else None,
            "place": str(place) if place else None,
            "ra_deg": place.ra_deg if place else None,
            "dec_deg": place.dec_deg if place else None,
            "colour": f"#{red:02x}{green:02x}{blue:02x}",
        }
    )


def controls_of(controls: Controls) -> ControlsState:
    """Where the dials stand."""
    now, initial = controls.now, controls.initial
    return ControlsState(
        stretch=_dials(vars(now.stretch), vars(initial.stretch)),
        thresholds=_dials(vars(now.thresholds), vars(initial.thresholds))
        if now.thresholds and initial.thresholds
        else {},
    )


def history_of(live: Live) -> HistoryState:
    """The last frames and minutes."""
    return HistoryState(
        frames=[
            FramePointState(
                number=p.number, ms=None if p.seconds is None else round(1000 * p.seconds, 1), galaxies=p.galaxies
            )
            for p in live.history.frames
        ],
        minutes=[
            MinuteState(
                number=m.number,
                used=m.used,
                skipped=m.skipped,
                dropped=m.dropped,
                ms=round(1000 * m.seconds / m.used, 1) if m.used else None,
            )
            for m in live.history.minutes
        ],
    )


def _dials(now: Mapping[str, float], initial: Mapping[str, float]) -> dict[str, DialState]:
    return {
        name: DialState(value=value, initial=initial[name], low=RANGES[name][0], high=RANGES[name][1])
        for name, value in now.items()
    }


def _alive(live: Live, alive: Iterable[Sighting], seen: set[int], frame: LastFrame | None) -> list[SightingState]:
    alive = tuple(alive)
    if frame is None or frame.single is None:
        return [sighting_of(live, s, s.id in seen) for s in alive]
    singles = carried(alive, frame.single[1])
    return [sighting_of(live, s, s.id in seen, single_box=single.box) for s, single in zip(alive, singles, strict=True)]


def _frame(last: LastFrame) -> FrameState:
    frame, quality = last.result.frame, last.result.quality
    height, width = last.result.view.shape[:2]
    return FrameState(
        index=frame.index,
        source=frame.source,
        time=frame.time,
        width=width,
        height=height,
        stacked=last.stacked,
        stars=quality.stars if quality else None,
        fwhm_px=round(quality.fwhm_px, 2) if quality and math.isfinite(quality.fwhm_px) else None,
        linear=frame.linear,
        arrived=last.arrived,
    )


def _milliseconds(times: StageTimes) -> dict[str, float]:
    """Stages that ran, in their order, and their sum."""
    stages = {name: getattr(times, name) for name in StageTimes.names()}
    return {name: round(1000 * s, 2) for name, s in {**stages, "total": times.total}.items() if s > 0}
