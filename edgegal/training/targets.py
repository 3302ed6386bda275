"""What a network is asked for when a label says less than the network's classes: a set of classes, or a distribution.

A target is a row of numbers, one a class. A row that sums to one is a distribution: a known class, or a teacher's
opinion. A row with several ones is a set of candidates: the label tells that the class is among them, no more (Jin &
Ghahramani 2002, learning with multiple labels); all ones tell nothing.
"""

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgegal.errors import InputError
from edgegal.labels import SCHEMES, UNLABELLED, LabelScheme, label_map

__all__ = ["candidate_crossentropy", "candidate_hits", "candidates"]

_LEAST = 1e-6


def candidates(labels: NDArray[np.int32], source: LabelScheme, target: LabelScheme) -> NDArray[np.float32]:
    """Classes of `target` that labels of `source` allow, ``(n, classes)``, 1 or 0.

    Where no map leads from `source` to `target`, a third scheme that both map to decides: a label allows the classes
    that fall together with it there. What nothing is known of allows every class.

    Raises
    ------
    InputError
        No scheme connects the two.
    """
    table = np.vstack([_allowed(source, target), np.ones((1, len(target.labels)), np.float32)])
    return table[np.where(labels == UNLABELLED, len(table) - 1, labels)]


def _allowed(source: LabelScheme, target: LabelScheme) -> NDArray[np.float32]:
    for meeting in (target, *SCHEMES.values()):
        try:
            ours, theirs = label_map(source, meeting), label_map(target, meeting)
        except InputError:
            continue
        allowed = (ours[:, None] == theirs) & (ours[:, None] != UNLABELLED)
        return np.where(allowed.any(axis=1, keepdims=True), allowed, True).astype(np.float32)
    raise InputError(
        f"labels of {source.name!r} say nothing about {target.name!r}", "train for a scheme that both can be mapped to"
    )


def candidate_crossentropy(target: Any, probabilities: Any) -> Any:
    """Loss of each picture, ``(n,)``: cross-entropy to a distribution, or ``-log`` of what falls on the candidates.

    Parameters
    ----------
    target
        Rows as this module's head describes.
    probabilities
        ``(n, classes)``.
    """
    p = ops.clip(probabilities, _LEAST, 1.0)
    distribution = -ops.sum(target * ops.log(p), axis=-1)
    among = -ops.log(ops.clip(ops.sum(target * p, axis=-1), _LEAST, 1.0))
    return ops.where(ops.sum(target, axis=-1) > 1.5, among, distribution)


def candidate_hits(target: Any, probabilities: Any) -> Any:
    """1 where the likeliest class is a candidate, or the likeliest of the target's distribution; ``(n,)``."""
    chosen = ops.one_hot(ops.argmax(probabilities, axis=-1), target.shape[-1])
    hit = ops.sum(target * chosen, axis=-1) >= ops.max(target, axis=-1)
    return ops.cast(hit, "float32")
