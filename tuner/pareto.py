"""Which trials nothing beats in every respect. Pure numpy."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["pareto_front"]


def pareto_front(costs: ArrayLike) -> NDArray[np.bool_]:
    """Mark the rows that no other row dominates.

    A row dominates another when it is nowhere higher and somewhere lower. Equal rows do not dominate each other, so
    both stay.

    Parameters
    ----------
    costs
        ``(n, k)`` finite numbers, lower is better in each of the k columns.

    Returns
    -------
    NDArray
        ``(n,)`` bool.
    """
    table = np.asarray(costs, np.float64)
    if table.size == 0:
        return np.zeros(len(table), np.bool_)
    nowhere_higher = (table[:, None] <= table[None]).all(axis=2)
    somewhere_lower = (table[:, None] < table[None]).any(axis=2)
    return np.asarray(~(nowhere_higher & somewhere_lower).any(axis=0), np.bool_)
