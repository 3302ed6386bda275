"""How sure a figure is: 95 % intervals of proportions, medians, and of anything that can be resampled."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Band",
    "Interval",
    "bootstrap",
    "bootstrap_bands",
    "bootstrap_mean_difference",
    "bootstrap_median",
    "draw_counts",
    "percentile_band",
    "wilson",
]

RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Band:
    """Estimates and the ends of their intervals, arrays of one shape; NaN where there is no estimate."""

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def interval(self, *index: int) -> Interval:
        """One of the estimates; no index for a band of one."""
        return Interval(float(self.value[index]), float(self.low[index]), float(self.high[index]))


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Score interval of a proportion (Wilson 1927, JASA 22, 209): fair for few trials and for shares near 0 or 1."""
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} successes of {n} trials is no proportion")
    share = successes / n
    z = NormalDist().inv_cdf((1 + level) / 2)
    shrink = 1 + z**2 / n
    centre = (share + z**2 / (2 * n)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # At 0 or all successes the formula's end is the share itself: rounding must not put it on the wrong side.
    return Interval(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))


def _percentile(value: float, draws: NDArray[np.floating], level: float) -> Interval:
    usable = draws[np.isfinite(draws)]
    if not len(usable):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def bootstrap(
    n: int,
    statistic: Callable[[NDArray[np.int64]], float],
    seed: int,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap (Efron 1979, Ann. Statist. 7, 1) of any statistic of `n` items.

    Parameters
    ----------
    n
        Number of items.
    statistic
        Maps indices ``(n,)`` of the items drawn, with repeats, to the figure. A difference of two systems on the same
        items makes the interval a paired one. Resamples where it is not finite are left out.
    seed
        Of the draws.
    """
    if n < 1:
        raise ValueError("a bootstrap needs at least one item")
    rng = np.random.default_rng(seed)
    draws = np.array([statistic(rng.integers(0, n, n)) for _ in range(resamples)], np.float64)
    return _percentile(statistic(np.arange(n)), draws, level)


def draw_counts(n: int, resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """How often each of `n` items is drawn in each resample, ``(resamples, n)``; every row sums to `n`."""
    drawn = rng.integers(0, n, (resamples, n)) + n * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=n * resamples).reshape(resamples, n).astype(np.float64)


def percentile_band(value: NDArray[np.floating], draws: NDArray[np.floating], level: float = 0.95) -> Band:
    """Percentile interval of each estimate.

    Parameters
    ----------
    value
        ``(...)`` estimates.
    draws
        ``(resamples, ...)``; those that are NaN are left out.
    level
        Coverage of the intervals.
    """
    ends = np.full((2, *value.shape), np.nan)
    known = np.isfinite(draws).any(axis=0) & np.isfinite(value)
    if known.any():
        ends[:, known] = np.nanquantile(draws[:, known], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Band(value.astype(np.float64), ends[0], ends[1])


# Counts of one block of resamples: 8 bytes each.
_BLOCK_ITEMS = 2_000_000


def bootstrap_bands(
    n: int,
    statistic: Callable[[NDArray[np.float64]], Mapping[str, NDArray[np.floating]]],
    seed: int,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> dict[str, Band]:
    """Percentile bootstrap of many figures of the same `n` items at once, all of the same resamples.

    Items are drawn from all alike, not class by class: how common a class is varies from resample to resample as it
    would from sample to sample.

    Parameters
    ----------
    n
        Number of items.
    statistic
        Maps counts ``(b, n)``, how often each resample drew each item, to figures by name, each ``(b, ...)``. Where a
        resample gives NaN it is left out.
    seed
        Of the draws.
    """
    if n < 1:
        raise ValueError("a bootstrap needs at least one item")
    rng = np.random.default_rng(seed)
    block = max(1, min(resamples, _BLOCK_ITEMS // n))
    sizes = [min(block, resamples - start) for start in range(0, resamples, block)]
    drawn = [statistic(draw_counts(n, size, rng)) for size in sizes]
    values = statistic(np.ones((1, n)))
    return {
        name: percentile_band(value[0], np.concatenate([d[name] for d in drawn]), level)
        for name, value in values.items()
    }


def bootstrap_mean_difference(
    a: NDArray[np.floating] | NDArray[np.bool_],
    b: NDArray[np.floating] | NDArray[np.bool_],
    seed: int,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> Interval:
    """Paired percentile bootstrap of ``mean(a) - mean(b)``, a value of each for the same item at the same index."""
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"paired values must be flat and as many: {a.shape}, {b.shape}")
    difference = a.astype(np.float64) - b.astype(np.float64)
    return bootstrap(len(difference), lambda drawn: float(difference[drawn].mean()), seed, resamples, level)


def bootstrap_median(
    samples: NDArray[np.floating], seed: int, resamples: int = RESAMPLES, level: float = 0.95
) -> Interval:
    """Percentile bootstrap of the median, in a time that does not grow with the number of samples.

    The median of a resample is the sample at the rank of the median of n uniform numbers, whose law is known
    (Maritz & Jarrett 1978, JASA 73, 194): draw that rank instead of n indices.
    """
    n = len(samples)
    if not n:
        raise ValueError("the median needs at least one sample")
    ordered = np.sort(samples)
    rng = np.random.default_rng(seed)
    lower = (n + 1) // 2
    # The k-th smallest of n uniforms is Beta(k, n + 1 - k); the next one up, given it, is the least of the n - k left.
    rank = rng.beta(lower, n + 1 - lower, resamples)
    draws = ordered[_place(rank, n)]
    if n % 2 == 0:
        following = rank + (1 - rank) * rng.beta(1, n - lower, resamples)
        draws = (draws + ordered[_place(following, n)]) / 2
    return _percentile(float(np.median(ordered)), draws, level)


def _place(uniform: NDArray[np.floating], n: int) -> NDArray[np.int64]:
    return np.minimum((uniform * n).astype(np.int64), n - 1)
