"""Losses in `keras.ops`, so that every backend trains with them."""

from typing import Any

from keras import ops

__all__ = ["box_loss", "focal_loss"]

_ALPHA, _GAMMA = 0.75, 2.0
_DELTA = 1.0
_CODE_SIZE = 4
_EPSILON = 1e-6


def box_loss(target: Any, predicted: Any) -> Any:
    """Smooth-L1 of the box codes, weighted per anchor, over the code size.

    Parameters
    ----------
    target
        ``(n, a, 5)``: codes and weight.
    predicted
        ``(n, a, 4)``.

    Returns
    -------
    tensor
        ``(n,)``.
    """
    error = ops.abs(target[..., :4] - predicted)
    huber = ops.where(error < _DELTA, 0.5 * error * error / _DELTA, error - 0.5 * _DELTA)
    return ops.sum(ops.sum(huber, axis=-1) * target[..., 4], axis=-1) / _CODE_SIZE


def focal_loss(target: Any, predicted: Any) -> Any:
    """Focal loss (Lin et al. 2017) with alpha .75 and gamma 2 on scores that passed a sigmoid.

    Parameters
    ----------
    target
        ``(n, a, 2)``: 0 or 1, and weight.
    predicted
        ``(n, a, 1)`` in 0-1.

    Returns
    -------
    tensor
        ``(n,)``.
    """
    truth, weight = target[..., 0], target[..., 1]
    score = ops.clip(predicted[..., 0], _EPSILON, 1 - _EPSILON)
    of_truth = ops.where(truth > 0.5, score, 1 - score)
    balance = ops.where(truth > 0.5, _ALPHA, 1 - _ALPHA)
    loss = -balance * (1 - of_truth) ** _GAMMA * ops.log(of_truth)
    return ops.sum(loss * weight, axis=-1)
