"""Whether two classifiers differ on the same pictures by more than chance."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["McNemar", "mcnemar", "sign_flip_p"]


@dataclass(frozen=True)
class McNemar:
    """Pictures only one of two classifiers got right, and the chance of so uneven a split.

    Attributes
    ----------
    only_first, only_second
        Pictures that one got right and the other wrong.
    p
        Exact two-sided p-value; 1 when they never disagree about being right.
    """

    only_first: int
    only_second: int
    p: float


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> McNemar:
    """McNemar's test (1947, Psychometrika 12, 153) with the exact binomial law of the discordant pairs.

    Parameters
    ----------
    first_right, second_right
        ``(n,)`` bool: whether each picture was classified rightly.
    """
    if first_right.shape != second_right.shape:
        raise ValueError(f"paired answers must be as many: {first_right.shape}, {second_right.shape}")
    only_first = int(np.sum(first_right & ~second_right))
    only_second = int(np.sum(second_right & ~first_right))
    n = only_first + only_second
    tail = sum(math.comb(n, k) for k in range(min(only_first, only_second) + 1))
    # Integers of any size divide exactly enough; 2**n as a float would overflow.
    return McNemar(only_first, only_second, min(1.0, 2 * tail / 2**n))


def sign_flip_p(differences: NDArray[np.floating], seed: int, flips: int = 10_000) -> float:
    """Two-sided p-value of a mean paired difference: how often random signs give one as far from 0 (Fisher 1935).

    The one test for hits, means of hits over several runs, and squared errors; with hits of two runs it becomes
    `mcnemar` as `flips` grows. Never below ``1 / (flips + 1)``.

    Parameters
    ----------
    differences
        ``(n,)``: one system's value less the other's on each item.
    seed
        Of the signs.
    flips
        Number of random sign patterns.
    """
    if differences.ndim != 1 or not len(differences):
        raise ValueError(f"differences {differences.shape} must be flat and not empty")
    # Items without a difference change no sum.
    kept = differences[differences != 0].astype(np.float64)
    rng = np.random.default_rng(seed)
    # Sums that differ by rounding only are as far.
    far = abs(kept.sum()) - 1e-9 * np.abs(kept).sum()
    reached = 0
    for start in range(0, flips, 500):
        signs = rng.integers(0, 2, (min(500, flips - start), len(kept)), dtype=np.int8)
        reached += int((np.abs(2 * (signs @ kept) - kept.sum()) >= far).sum())
    return (reached + 1) / (flips + 1)
