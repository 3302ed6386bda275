"""A weighted average of several networks' probabilities, its weights found on pictures none of them was trained on."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["averaged", "search_weights"]


def averaged(members: Sequence[NDArray[np.floating]], weights: Sequence[float]) -> NDArray[np.float32]:
    """Weighted average of probabilities ``(n, classes)`` of each member; `weights` sum to 1."""
    if len(members) != len(weights):
        raise ValueError(f"{len(members)} members, but {len(weights)} weights")
    total: NDArray[np.float32] = np.tensordot(np.asarray(weights), np.stack(members), axes=1).astype(np.float32)
    return total


def search_weights(
    members: Sequence[NDArray[np.floating]], truth: NDArray[np.integer], step: float = 0.1
) -> tuple[float, ...]:
    """The weights of a grid that classify most pictures rightly.

    Parameters
    ----------
    members
        Probabilities ``(n, classes)`` of each member on validation pictures.
    truth
        ``(n,)`` class indices.
    step
        Step of the grid; every weight is a multiple of it, or of the nearest that divides 1.

    Returns
    -------
    tuple
        One weight a member, summing to 1. Of several as accurate, the likeliest: highest mean log probability.
    """
    parts = max(1, round(1 / step))
    rows = np.arange(len(truth))

    def merit(weights: tuple[float, ...]) -> tuple[int, float]:
        mixed = averaged(members, weights)
        likelihood = float(np.log(np.clip(mixed[rows, truth], 1e-7, 1)).mean())
        return int((mixed.argmax(axis=1) == truth).sum()), likelihood

    grid = [tuple(part / parts for part in counts) for counts in _compositions(parts, len(members))]
    return max(grid, key=merit)


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to write `total` as an ordered sum of `parts` numbers from 0 on."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(total - first, parts - 1):
            yield (first, *rest)
