"""What an observer turns while a run goes on: how the shown view is stretched, and what the run takes for a galaxy."""

import threading
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType

from edgegal.errors import InputError
from edgegal.preprocess import Stretch

__all__ = ["RANGES", "Controls", "Dials", "Thresholds"]

RANGES = MappingProxyType(
    {
        "black_sigma": (-20.0, 20.0),
        "soft_sigma": (0.5, 100.0),
        "white_sigma": (5.0, 5000.0),
        "score": (0.0, 1.0),
        "abstain_below": (0.0, 1.0),
    }
)
"""Least and greatest value of each dial."""


@dataclass(frozen=True)
class Thresholds:
    """What a run takes for a galaxy, and for a sure answer.

    Attributes
    ----------
    score
        Least detection score, 0-1.
    abstain_below
        Highest probability below which a galaxy gets no class, 0-1.
    """

    score: float
    abstain_below: float = 0.0


@dataclass(frozen=True)
class Dials:
    """Where the dials stand at one moment.

    Attributes
    ----------
    stretch
        Of the view that is shown; what the networks see is part of their contract and stays as it is.
    thresholds
        Those of the run; None where it has none that could be turned.
    """

    stretch: Stretch = field(default_factory=Stretch)
    thresholds: Thresholds | None = None


class Controls:
    """The dials of a run: any thread may turn them, and the pipeline looks at `now` once a frame.

    Turning swaps one reference, so that a reader never waits and always sees dials that belong together.

    Parameters
    ----------
    stretch
        Stretch that the run begins with, the networks' own.
    thresholds
        Those that the run begins with.

    Attributes
    ----------
    initial
        Where the dials stood at the beginning.
    """

    def __init__(self, stretch: Stretch | None = None, thresholds: Thresholds | None = None) -> None:
        self.initial = Dials(stretch or Stretch(), thresholds)
        self._now = self.initial
        self._turning = threading.Lock()

    @property
    def now(self) -> Dials:
        """Where they stand."""
        return self._now

    def turn(self, **values: float) -> Dials:
        """Turn some dials, all of them or none.

        Parameters
        ----------
        values
            New values by the names of `RANGES`.

        Returns
        -------
        Dials
            Where they stand afterwards.

        Raises
        ------
        InputError
            A value lies outside its range, there is no dial of that name, or this run has no thresholds.
        """
        for name, value in values.items():
            _check(name, value)
        with self._turning:
            stretch = {f.name: values.pop(f.name) for f in fields(Stretch) if f.name in values}
            thresholds = self._now.thresholds
            if values:
                if thresholds is None:
                    raise InputError("the thresholds of this run cannot be turned")
                thresholds = replace(thresholds, **values)
            self._now = Dials(replace(self._now.stretch, **stretch), thresholds)
            return self._now

    def reset(self) -> Dials:
        """Turn all back to where they stood at the beginning."""
        with self._turning:
            self._now = self.initial
            return self._now


def _check(name: str, value: float) -> None:
    if name not in RANGES:
        raise InputError(f"there is no dial {name!r}", f"use one of: {', '.join(RANGES)}")
    low, high = RANGES[name]
    # Written so that what is no number fails too.
    if not low <= value <= high:
        raise InputError(f"{name} lies within {low:g} and {high:g}, not at {value:g}")
