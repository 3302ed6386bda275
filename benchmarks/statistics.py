"""What samples say: every statistic is a property of the samples, and none leaves any of them out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.metrics import Interval, bootstrap_median

__all__ = ["Statistics"]


@dataclass(frozen=True)
class Statistics:
    """Statistics of time samples.

    Attributes
    ----------
    samples
        ``(n,)`` float64 seconds, n at least 1, in the order they were taken.
    """

    samples: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.samples.ndim != 1 or not len(self.samples):
            raise ValueError(f"statistics need a flat array of samples, not shape {self.samples.shape}")

    def __len__(self) -> int:
        return len(self.samples)

    def quantile(self, share: float) -> float:
        """The time that `share` of the samples stay within, interpolated linearly between samples."""
        return float(np.quantile(self.samples, share))

    @property
    def min(self) -> float:
        return float(self.samples.min())

    @property
    def max(self) -> float:
        return float(self.samples.max())

    @property
    def mean(self) -> float:
        return float(self.samples.mean())

    @property
    def median(self) -> float:
        return self.quantile(0.5)

    @property
    def p90(self) -> float:
        """LoadGen's figure for a single stream."""
        return self.quantile(0.9)

    @property
    def p99(self) -> float:
        return self.quantile(0.99)

    @property
    def q1(self) -> float:
        return self.quantile(0.25)

    @property
    def q3(self) -> float:
        return self.quantile(0.75)

    @property
    def iqr(self) -> float:
        return self.q3 - self.q1

    @property
    def stddev(self) -> float:
        """Sample standard deviation; 0 of a single sample."""
        return float(self.samples.std(ddof=1)) if len(self) > 1 else 0.0

    @property
    def total(self) -> float:
        return float(self.samples.sum())

    @property
    def median_interval(self) -> Interval:
        """95 % bootstrap interval of the median, always the same for the same samples.

        It covers the scatter of this run. Runs apart in time differ by more: a gate needs a margin beside it.
        """
        return bootstrap_median(self.samples, seed=0)
