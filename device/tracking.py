"""Detections over frames become sightings."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal.detections import Detections, iou_matrix
from edgegal.device.registration import Motion
from edgegal.frames import Frame
from edgegal.inference import ALWAYS_ANSWER, Abstention, Refusal

__all__ = ["Sighting", "Tracker"]


@dataclass(frozen=True)
class Sighting:
    """A galaxy over time.

    Attributes
    ----------
    id
        Number within the run, from 1.
    box
        x0, y0, x1, y1 in pixels of the last frame it was seen in (of the stack, when frames are stacked).
    score
        Mean detection score, 0-1.
    probabilities
        Calibrated class probabilities averaged over frames, by label; empty without a classifier.
    agreeing
        Frames whose own answer, a class or none, is the sighting's; all of them without a classifier.
    frames
        Frames it was seen in.
    first_frame, last_frame
        Indices of the first and the last of them.
    first_time, last_time
        Their times in UTC, None where the frame did not say.
    refusal
        Why it gets no class; None when it gets one.
    required
        Agreeing frames that its class takes.
    """

    id: int
    box: tuple[float, float, float, float]
    score: float
    probabilities: dict[str, float]
    agreeing: int
    frames: int
    first_frame: int
    last_frame: int
    first_time: datetime | None
    last_time: datetime | None
    refusal: Refusal | None = None
    required: int = 1

    @property
    def settled(self) -> bool:
        """Whether enough frames agree for its answer to be told."""
        return self.required <= 1 or self.agreeing >= self.required

    @property
    def label(self) -> str:
        """The answer in words: the most probable class, why there is none, or ``galaxy`` without a classifier."""
        if self.refusal:
            return self.refusal
        if not self.settled:
            return "undecided"
        return max(self.probabilities, key=self.probabilities.__getitem__) if self.probabilities else "galaxy"

    @property
    def confidence(self) -> float:
        """Probability of the most probable class; the detection score without a classifier."""
        return max(self.probabilities.values()) if self.probabilities else self.score

    def document(self) -> dict[str, Any]:
        """The sighting as plain JSON values, times in ISO 8601."""
        return {
            "id": self.id,
            "box": [round(v, 2) for v in self.box],
            "class": None if self.refusal or not self.settled else self.label,
            "refusal": self.refusal,
            "settled": self.settled,
            "confidence": round(self.confidence, 4),
            "score": round(self.score, 4),
            "probabilities": {label: round(p, 4) for label, p in self.probabilities.items()},
            "frames": self.frames,
            "agreeing": self.agreeing,
            "first_frame": self.first_frame,
            "last_frame": self.last_frame,
            "first_time": self.first_time and self.first_time.isoformat(),
            "last_time": self.last_time and self.last_time.isoformat(),
        }


_STANDING = Motion.none()

# Index of a class, or why there is none.
_Answer = int | Refusal


@dataclass(eq=False)
class _Track:
    """A sighting in the making: sums and votes from which the averages come."""

    sighting: Sighting
    probability_sum: NDArray[np.float64]
    score_sum: float = 0.0
    side_sum: float = 0.0
    votes: Counter[_Answer] = field(default_factory=Counter)
    missed: int = 0


@dataclass
class Tracker:
    """Associates the detections of one frame with those before by the overlap of their boxes.

    The best overlapping pairs join first. A sighting that finds no detection in `patience` frames in a row has ended.

    Attributes
    ----------
    labels
        Class names of the probabilities that `update` gets; empty without a classifier.
    abstention
        When a galaxy gets no class: asked of each frame, for its vote, and of the averages over frames.
    iou
        Least overlap of one galaxy's boxes in neighbouring frames.
    patience
        Frames a sighting outlives without being seen.
    agree
        Frames that must give a sighting's answer before it is told, at least 1.
    """

    labels: tuple[str, ...] = ()
    abstention: Abstention = ALWAYS_ANSWER
    iou: float = 0.3
    patience: int = 5
    agree: int = 1
    _tracks: list[_Track] = field(default_factory=list, init=False)
    _count: int = field(default=0, init=False)

    @property
    def alive(self) -> tuple[Sighting, ...]:
        """Sightings that have not ended, oldest first."""
        return tuple(track.sighting for track in self._tracks)

    def update(
        self,
        frame: Frame,
        detections: Detections,
        probabilities: NDArray[np.floating],
        carried: Motion | None = _STANDING,
    ) -> tuple[tuple[Sighting, ...], tuple[Sighting, ...]]:
        """Take in one frame.

        Parameters
        ----------
        frame
            The frame, for its index and time.
        detections
            What was found in it.
        probabilities
            ``(n, len(labels))``, one row a detection.
        carried
            Where places of the picture before lie in this one; None where this one shows another sky, which ends all
            sightings.

        Returns
        -------
        seen
            The sighting of each detection, in their order.
        ended
            Sightings that ended with this frame.
        """
        before = self._carry(carried)
        owners = self._owners(detections)
        for track in self._tracks:
            track.missed += 1
        seen = []
        for i, owner in enumerate(owners):
            track = owner or self._begin()
            self._join(track, frame, detections, i, probabilities[i])
            seen.append(track.sighting)
        ended = before + tuple(t.sighting for t in self._tracks if t.missed > self.patience)
        self._tracks = [t for t in self._tracks if t.missed <= self.patience]
        return tuple(seen), ended

    def _carry(self, carried: Motion | None) -> tuple[Sighting, ...]:
        """Move the sightings with the sky; those that end because it is another one."""
        if carried is None:
            ended, self._tracks = self.alive, []
            return ended
        if carried is not _STANDING and self._tracks:
            moved = carried.boxes(np.array([t.sighting.box for t in self._tracks]))
            for track, (x0, y0, x1, y1) in zip(self._tracks, moved.tolist(), strict=True):
                track.sighting = replace(track.sighting, box=(x0, y0, x1, y1))
        return ()

    def _owners(self, detections: Detections) -> Sequence[_Track | None]:
        """The track that each detection continues, None where it begins one."""
        owners: list[_Track | None] = [None] * len(detections)
        if not self._tracks or not len(detections):
            return owners
        boxes = np.array([t.sighting.box for t in self._tracks], np.float32)
        overlap = iou_matrix(boxes, detections.boxes)
        for flat in np.argsort(-overlap, axis=None, kind="stable"):
            row, column = divmod(int(flat), len(detections))
            if overlap[row, column] < self.iou:
                break
            if owners[column] is None and self._tracks[row] not in owners:
                owners[column] = self._tracks[row]
        return owners

    def _begin(self) -> _Track:
        self._count += 1
        blank = Sighting(self._count, (0.0, 0.0, 0.0, 0.0), 0.0, {}, 0, 0, 0, 0, None, None)
        track = _Track(blank, np.zeros(len(self.labels)))
        self._tracks.append(track)
        return track

    def _join(
        self, track: _Track, frame: Frame, detections: Detections, i: int, probabilities: NDArray[np.floating]
    ) -> None:
        old = track.sighting
        frames = old.frames + 1
        track.missed = 0
        track.score_sum += float(detections.scores[i])
        track.probability_sum += probabilities
        side = float(detections.sizes[i].max())
        track.side_sum += side
        means = track.probability_sum / frames
        track.votes[self._answer(probabilities, side)] += 1
        answer = self._answer(means, track.side_sum / frames)
        x0, y0, x1, y1 = (float(v) for v in detections.boxes[i])
        track.sighting = replace(
            old,
            box=(x0, y0, x1, y1),
            score=track.score_sum / frames,
            probabilities={label: float(p) for label, p in zip(self.labels, means, strict=True)},
            agreeing=track.votes[answer],
            frames=frames,
            first_frame=old.first_frame if old.frames else frame.index,
            last_frame=frame.index,
            first_time=old.first_time if old.frames else frame.time,
            last_time=frame.time,
            refusal=answer if isinstance(answer, str) else None,
            required=self.agree,
        )

    def _answer(self, probabilities: NDArray[np.floating], side: float) -> _Answer:
        # Without a classifier there is one answer, a galaxy, and nothing to refuse.
        if not self.labels:
            return 0
        best = int(np.argmax(probabilities))
        return self.abstention.refusal(float(probabilities[best]), side) or best
