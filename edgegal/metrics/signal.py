"""How far one signal is from another: the error that quantising leaves on a tensor."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import GateFailedError

__all__ = ["Errors", "compare", "sqnr_db"]


@dataclass(frozen=True)
class Errors:
    """Errors of one output.

    Attributes
    ----------
    max_abs, mean_abs
        Largest and mean absolute difference.
    cosine
        Cosine of the angle between the outputs of all pictures, each taken as one vector.
    sqnr_db
        Signal to quantisation noise, see `sqnr_db`; None when equal.
    """

    max_abs: float
    mean_abs: float
    cosine: float
    sqnr_db: float | None


def sqnr_db(signal: float, noise: float) -> float | None:
    """Signal to quantisation noise in decibels, ``10 log10(sum reference^2 / sum difference^2)``.

    Parameters
    ----------
    signal, noise
        The two sums, each at least 0.

    Returns
    -------
    float or None
        None without noise, minus infinity without signal.
    """
    if not noise:
        return None
    return 10 * math.log10(signal / noise) if signal else -math.inf


def compare(reference: NDArray[np.floating], found: NDArray[np.floating]) -> Errors:
    """Errors of `found` against `reference`, of one shape.

    Raises
    ------
    GateFailedError
        `found` is not all finite.
    """
    a, b = reference.astype(np.float64).ravel(), found.astype(np.float64).ravel()
    if not np.isfinite(b).all():
        raise GateFailedError("outputs are not all finite")
    difference = np.abs(a - b)
    signal, noise, norms = float(a @ a), float(difference @ difference), float(np.linalg.norm(a) * np.linalg.norm(b))
    return Errors(
        max_abs=float(difference.max()),
        mean_abs=float(difference.mean()),
        cosine=float(a @ b) / norms if norms else float(noise == 0),
        sqnr_db=sqnr_db(signal, noise),
    )
