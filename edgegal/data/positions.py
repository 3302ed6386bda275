"""Galaxies that stand at one place of the sky."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["SAME_PLACE_ARCSEC", "matched_positions", "objects_by_position"]

SAME_PLACE_ARCSEC = 3.0
"""Two surveys agree on a galaxy's centre to about an arcsecond, and two galaxies this near are one on most pictures."""


def _on_sphere(positions: NDArray[np.floating]) -> NDArray[np.float64]:
    """Unit vectors ``(n, 3)`` of right ascensions and declinations ``(n, 2)`` in degrees."""
    ra, dec = np.radians(positions.astype(np.float64)).T
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def _chord(arcsec: float) -> float:
    return 2 * float(np.sin(np.radians(arcsec / 3600) / 2))


def matched_positions(
    first: NDArray[np.floating], second: NDArray[np.floating], radius_arcsec: float = SAME_PLACE_ARCSEC
) -> NDArray[np.int64]:
    """Pairs of places within a radius.

    Parameters
    ----------
    first, second
        ``(n, 2)`` and ``(m, 2)`` right ascension and declination, degrees; rows with NaN match nothing.
    radius_arcsec
        Largest distance on the sky.

    Returns
    -------
    NDArray
        ``(k, 2)`` rows of `first` and of `second`, in that order.
    """
    from scipy.spatial import cKDTree

    rows, others = (np.flatnonzero(np.isfinite(p).all(axis=1)) for p in (first, second))
    if not len(rows) or not len(others):
        return np.zeros((0, 2), np.int64)
    near = cKDTree(_on_sphere(first[rows])).query_ball_tree(cKDTree(_on_sphere(second[others])), _chord(radius_arcsec))
    pairs = [(rows[i], others[j]) for i, found in enumerate(near) for j in sorted(found)]
    return np.array(pairs, np.int64).reshape(-1, 2)


def objects_by_position(
    ids: tuple[str, ...], positions: NDArray[np.floating], radius_arcsec: float = SAME_PLACE_ARCSEC
) -> tuple[str, ...]:
    """Name of the object on each picture: the first id of those linked by places within a radius."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = matched_positions(positions, positions, radius_arcsec)
    links = coo_matrix((np.ones(len(pairs), np.bool_), (pairs[:, 0], pairs[:, 1])), shape=(len(ids), len(ids)))
    _, group = connected_components(links, directed=False)
    first: dict[int, str] = {}
    return tuple(first.setdefault(int(g), i) for g, i in zip(group, ids, strict=True))
