"""Whether two classifiers differ on the same pictures by more than chance."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["McNemar", "mcnemar"]


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
