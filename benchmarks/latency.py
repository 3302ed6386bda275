"""Taking time samples: the SingleStream scenario of MLPerf's LoadGen (Reddi et al. 2020), which knows no model."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import InputError

__all__ = ["SingleStream"]


@dataclass(frozen=True)
class SingleStream:
    """One call after the other, each timed, until there are enough samples and enough time has passed.

    Every sample taken counts: none is clipped as an outlier, for a slow frame is slow for the observer too.

    Attributes
    ----------
    samples
        Least number of samples. LoadGen asks 64 for a 90th percentile of 99 % confidence, 662 for a 99th.
    seconds
        Least time the samples cover together.
    warm_up_calls, warm_up_seconds
        Calls before the first sample, at least so many and so long: caches fill, clocks rise, graphs finish compiling.
    """

    samples: int = 64
    seconds: float = 1.0
    warm_up_calls: int = 3
    warm_up_seconds: float = 0.2

    def __post_init__(self) -> None:
        if self.samples < 1 or self.seconds < 0:
            raise InputError(
                f"a benchmark of {self.samples} samples and {self.seconds} s measures nothing",
                "ask for at least 1 sample and 0 seconds",
            )

    def __call__(
        self, call: Callable[[], object], clock: Callable[[], float] = time.perf_counter
    ) -> NDArray[np.float64]:
        """Seconds each of the timed calls took, in the order they ran.

        Parameters
        ----------
        call
            What is measured; its result is dropped.
        clock
            Seconds from any origin.
        """
        _repeat(call, self.warm_up_calls, self.warm_up_seconds, clock)
        return np.array(_repeat(call, self.samples, self.seconds, clock))


def _repeat(call: Callable[[], object], calls: int, seconds: float, clock: Callable[[], float]) -> list[float]:
    taken: list[float] = []
    first = clock()
    before = first
    while len(taken) < calls or before - first < seconds:
        before = clock()
        call()
        after = clock()
        taken.append(after - before)
        before = after
    return taken
