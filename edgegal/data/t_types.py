"""Hubble stages from numerical T-types (RC3): -6 to -4 ellipticals, -3 to -1 lenticulars, 0 S0/a, 1 Sa to 10 Im."""

import numpy as np
from numpy.typing import NDArray

from edgegal.labels import SCHEMES, UNLABELLED

__all__ = ["hubble_labels"]

_SCHEME = SCHEMES["hubble3"]


def hubble_labels(t_types: NDArray[np.floating], spiral_from: int = 0) -> NDArray[np.int32]:
    """Class in the scheme ``hubble3`` of each T-type.

    Parameters
    ----------
    t_types
        ``(n,)``; NaN and what lies outside -6 to 10 (dwarf ellipticals 11, unknown 99) carry no label.
    spiral_from
        Where spirals begin: at 0, or at 1, which leaves S0/a without a label.

    Returns
    -------
    NDArray
        ``(n,)`` int32.
    """
    stage = np.round(np.where(np.isfinite(t_types), t_types, 99))
    classes = {"E": (-6, -4), "S0": (-3, -1), "S": (spiral_from, 10)}
    labels = np.full(len(stage), UNLABELLED, np.int32)
    for name, (first, last) in classes.items():
        labels[(stage >= first) & (stage <= last)] = _SCHEME.index(name)
    return labels
