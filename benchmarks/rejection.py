"""False alarms: what a detector makes of frames that hold no galaxy, kind by kind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.detections import Detections
from edgegal.frames import View
from edgegal.metrics import Interval, bootstrap, wilson

__all__ = ["Rejection", "false_boxes", "measure_rejection"]

_NONE_SEEN = 3.0
"""Upper end, 95 % one-sided, of the mean of a Poisson count that was 0: the rule of three."""


@dataclass(frozen=True)
class Rejection:
    """False alarms of one kind of frame.

    Attributes
    ----------
    kind
        What the frames show.
    frames
        How many.
    boxes
        False boxes per frame, with the interval of a bootstrap over frames; where there was none, the upper end is that
        of a Poisson count.
    alarmed
        Share of the frames with at least one, with Wilson's interval.
    highest
        Highest score given to any; NaN where there was none.
    """

    kind: str
    frames: int
    boxes: Interval
    alarmed: Interval
    highest: float


def measure_rejection(
    detect: Callable[[View], Detections],
    frames: Mapping[str, Sequence[View]],
    class_index: int | None = 0,
    seed: int = 0,
) -> list[Rejection]:
    """Count what a detector finds in frames without galaxies.

    Parameters
    ----------
    detect
        Maps a view to detections.
    frames
        At least one frame of each kind, such as those of `edgegal.data.skies.distractors`.
    class_index
        The class whose boxes are false alarms: galaxy, or any when None.
    seed
        Of the bootstrap.

    Returns
    -------
    list of Rejection
        One a kind, in order.
    """
    return [_rejection(kind, [detect(view) for view in views], class_index, seed) for kind, views in frames.items()]


def _rejection(kind: str, found: Sequence[Detections], class_index: int | None, seed: int) -> Rejection:
    scores = [f.scores if class_index is None else f.scores[f.classes == class_index] for f in found]
    counts = np.array([len(s) for s in scores])
    return Rejection(
        kind=kind,
        frames=len(counts),
        boxes=false_boxes(counts, seed),
        alarmed=wilson(int((counts > 0).sum()), len(counts)),
        highest=max((float(s.max()) for s in scores if len(s)), default=float("nan")),
    )


def false_boxes(counts: NDArray[np.int64], seed: int) -> Interval:
    """Mean of how many false boxes each frame ``(n,)`` has, with its interval as `Rejection.boxes` says."""
    if not counts.any():
        return Interval(0.0, 0.0, _NONE_SEEN / len(counts))
    return bootstrap(len(counts), lambda drawn: float(counts[drawn].mean()), seed)
