"""How faint and how small a galaxy can be and still be found: completeness, as surveys give it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.metrics.intervals import Band, wilson

__all__ = ["SIDE_EDGES", "Completeness", "isotonic", "measure_completeness"]

SIDE_EDGES: tuple[float, ...] = (0, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, float("inf"))
"""Bins of the longer side of a box, pixels: two an octave."""


@dataclass(frozen=True)
class Completeness:
    """Share of the true galaxies that were found, bin by bin of a value such as magnitude or size.

    Attributes
    ----------
    edges
        ``(bins + 1,)``, rising; a bin holds its lower edge, and the last one its upper edge too.
    means
        ``(bins,)`` mean value of the galaxies in each bin; NaN in an empty one.
    truths, found
        ``(bins,)`` how many there are, and how many of them were found.
    share
        ``(bins,)`` shares with their 95 % intervals (Wilson: each galaxy an independent trial); NaN in an empty bin.
    """

    edges: NDArray[np.float64]
    means: NDArray[np.float64]
    truths: NDArray[np.int64]
    found: NDArray[np.int64]
    share: Band

    def limit(self, level: float, falling: bool = False) -> float | None:
        """The value at which completeness passes `level`.

        Shares are first made monotone by isotonic regression, then joined by straight lines between the bins' means.

        Parameters
        ----------
        level
            Such as .5 or .9.
        falling
            Completeness falls with the value, as it does with magnitude; otherwise it rises, as with size.

        Returns
        -------
        float or None
            None where the bins do not show it: no bin is that complete, or all are.
        """
        known = np.flatnonzero(self.truths)[:: -1 if falling else 1]
        values = self.means[known]
        shares = isotonic(self.share.value[known], self.truths[known].astype(np.float64))
        after = int(np.searchsorted(shares, level, side="left"))
        if after == len(shares) or (after == 0 and shares[0] > level):
            return None
        if shares[after] == level:
            return float(values[after])
        part = (level - shares[after - 1]) / (shares[after] - shares[after - 1])
        return float(values[after - 1] + part * (values[after] - values[after - 1]))


def measure_completeness(
    values: NDArray[np.floating], found: NDArray[np.bool_], edges: NDArray[np.floating] | tuple[float, ...]
) -> Completeness:
    """Bin true galaxies by a value and count those found.

    Parameters
    ----------
    values
        ``(n,)`` magnitude, side or another value of each true galaxy. Those that are NaN or outside the edges are left
        out.
    found
        ``(n,)``.
    edges
        ``(bins + 1,)``, rising.

    Raises
    ------
    ValueError
        `values` and `found` differ in length, or the edges do not rise.
    """
    bounds = np.array(edges, np.float64)
    if values.shape != found.shape or values.ndim != 1:
        raise ValueError(f"values {values.shape} and found {found.shape} must be flat and as many")
    if len(bounds) < 2 or not (np.diff(bounds) > 0).all():
        raise ValueError(f"edges {bounds.tolist()} do not rise")
    inside = (values >= bounds[0]) & (values <= bounds[-1])
    kept, hit = values[inside].astype(np.float64), found[inside]
    bins = len(bounds) - 1
    which = np.minimum(np.searchsorted(bounds, kept, side="right") - 1, bins - 1)
    truths = np.bincount(which, minlength=bins)
    hits = np.bincount(which[hit], minlength=bins)
    sums = np.bincount(which, kept, bins)
    means = np.divide(sums, truths, out=np.full(bins, np.nan), where=truths > 0)
    return Completeness(bounds, means, truths, hits, _shares(hits, truths))


def _shares(hits: NDArray[np.int64], truths: NDArray[np.int64]) -> Band:
    ends = np.full((3, len(truths)), np.nan)
    for i in np.flatnonzero(truths):
        share = wilson(int(hits[i]), int(truths[i]))
        ends[:, i] = share.value, share.low, share.high
    return Band(*ends)


def isotonic(values: NDArray[np.floating], weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """The rising sequence nearest to `values` by weighted least squares, by pooling adjacent violators.

    Ayer et al. 1955 (Ann. Math. Statist. 26, 641); the most likely rising shares, when the weights are trials.

    Parameters
    ----------
    values, weights
        ``(n,)``; weights above 0.
    """
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        mean, total, length = value, weight, 1
        while blocks and blocks[-1][0] >= mean:
            before, mass, count = blocks.pop()
            mean = (before * mass + mean * total) / (mass + total)
            total, length = mass + total, length + count
        blocks.append((mean, total, length))
    return np.repeat([b[0] for b in blocks], [b[2] for b in blocks]).astype(np.float64)
