"""What ``/api/state`` answers."""

from datetime import datetime
from time import monotonic
from typing import Literal

from pydantic import BaseModel, Field

from edgegal.device.pipeline import StageTimes
from edgegal.device.sinks.annotated import colour_of
from edgegal.device.tracking import Sighting
from edgegal.device.web.live import LastFrame, Snapshot
from edgegal.inference import Refusal

__all__ = ["FrameState", "SightingState", "State", "state_of"]


class SightingState(BaseModel):
    """A galaxy over time, as in ``sightings.jsonl``."""

    id: int = Field(description="Number within the run, from 1.")
    box: tuple[float, float, float, float] = Field(description="x0, y0, x1, y1 in pixels of the frame.")
    label: str | None = Field(
        alias="class", description="The most probable class, null where it is refused; galaxy without a classifier."
    )
    refusal: Refusal | None = Field(description="Why it gets no class; null when it gets one.")
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
    colour: str = Field(description="Of its box in the picture, #rrggbb.")


class FrameState(BaseModel):
    """The last frame that went through all stages."""

    index: int = Field(description="Position in its stream, from 0.")
    source: str
    time: datetime | None = Field(description="Time of exposure, UTC, where the frame says.")
    width: int
    height: int
    age_s: float = Field(description="Seconds since it came.")


class State(BaseModel):
    """A run at this moment."""

    source: str
    started: datetime
    status: Literal["waiting", "running", "over"] = Field(description="waiting: for the first frame.")
    frames: int = Field(description="Frames that went through all stages; changes when /view.jpg does.")
    skipped: int = Field(description="Frames that could not be used.")
    last_skipped: str = Field(description="What was wrong with the last of them.")
    frame: FrameState | None
    galaxies: int = Field(description="Sightings of the whole run.")
    latency_ms: dict[str, float] = Field(description="Milliseconds of the last frame by stage, and total.")
    sightings: list[SightingState] = Field(description="Those that have not ended, oldest first.")


def state_of(now: Snapshot) -> State:
    """The answer for one moment of a run."""
    frame = now.frame
    seen = {s.id for s in frame.seen} if frame else set()
    return State(
        source=now.source,
        started=now.started,
        status="over" if now.over else "running" if frame else "waiting",
        frames=now.frames,
        skipped=now.skipped,
        last_skipped=now.last_skipped,
        frame=_frame(frame) if frame else None,
        galaxies=now.galaxies,
        latency_ms=_milliseconds(frame.times) if frame else {},
        sightings=[_sighting(s, s.id in seen) for s in now.alive],
    )


def _frame(frame: LastFrame) -> FrameState:
    height, width = frame.view.shape[:2]
    return FrameState(
        index=frame.index,
        source=frame.source,
        time=frame.time,
        width=width,
        height=height,
        age_s=round(monotonic() - frame.arrived, 1),
    )


def _milliseconds(times: StageTimes) -> dict[str, float]:
    """Stages that ran, in their order, and their sum."""
    stages = {name: getattr(times, name) for name in StageTimes.names()}
    return {name: round(1000 * s, 2) for name, s in {**stages, "total": times.total}.items() if s > 0}


def _sighting(sighting: Sighting, seen: bool) -> SightingState:
    red, green, blue = colour_of(sighting)
    return SightingState.model_validate(
        {**sighting.document(), "seen": seen, "colour": f"#{red:02x}{green:02x}{blue:02x}"}
    )
