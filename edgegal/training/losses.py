"""Losses in `keras.ops`, so that every backend trains with them.

All take the targets of `edgegal.training.matching.dense_targets`, whose weights say what each anchor
counts, and give one value a picture.
"""

from typing import Any

import keras
from keras import ops

__all__ = ["FocalLoss", "HardNegativeLoss", "box_loss", "focal_loss"]

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


def focal_loss(target: Any, predicted: Any, alpha: float = _ALPHA, gamma: float = _GAMMA) -> Any:
    """Focal loss (Lin et al. 2017) on scores that passed a sigmoid, summed over classes.

    Parameters
    ----------
    target
        ``(n, a, classes + 1)``: 0 or 1 for each class, and weight.
    predicted
        ``(n, a, classes)`` in 0-1.
    alpha
        Share of positives; that of negatives is ``1 - alpha``.
    gamma
        How much less an anchor counts the better it is told.

    Returns
    -------
    tensor
        ``(n,)``.
    """
    truth = target[..., :-1] > 0.5
    of_truth = _of_truth(truth, predicted)
    balance = ops.where(truth, alpha, 1 - alpha)
    loss = -balance * (1 - of_truth) ** gamma * ops.log(of_truth)
    return ops.sum(ops.sum(loss, axis=-1) * target[..., -1], axis=-1)


@keras.saving.register_keras_serializable("edgegal")
class FocalLoss(keras.losses.Loss):  # type: ignore[misc]
    """`focal_loss` with parameters of its own.

    Parameters
    ----------
    alpha, gamma
        As there; an architecture's recipe has them (`edgegal.models.detector.DetectorArchitecture`).
    """

    def __init__(self, alpha: float = _ALPHA, gamma: float = _GAMMA, name: str = "focal_loss") -> None:
        super().__init__(name=name)
        self.alpha, self.gamma = alpha, gamma

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """``(n,)`` for targets ``(n, a, classes + 1)`` and scores ``(n, a, classes)``."""
        return focal_loss(y_true, y_pred, self.alpha, self.gamma)

    def get_config(self) -> dict[str, Any]:
        """What the loss is made of."""
        return {"alpha": self.alpha, "gamma": self.gamma, "name": self.name}


@keras.saving.register_keras_serializable("edgegal")
class HardNegativeLoss(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy of positives and of the hardest negatives of each picture (Liu et al. 2016).

    Parameters
    ----------
    ratio
        Negatives a positive anchor.
    minimum
        Negatives at least, so that a picture without galaxies teaches too.
    """

    def __init__(self, ratio: float = 3.0, minimum: int = 3, name: str = "hard_negative_loss") -> None:
        super().__init__(name=name)
        self.ratio, self.minimum = ratio, minimum

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """``(n,)`` for targets ``(n, a, classes + 1)`` and scores ``(n, a, classes)``."""
        truth = y_true[..., :-1] > 0.5
        loss = -ops.sum(ops.log(_of_truth(truth, y_pred)), axis=-1) * y_true[..., -1]
        positive = ops.any(truth, axis=-1)
        count = ops.sum(ops.cast(positive, loss.dtype), axis=-1, keepdims=True)
        # Ignored anchors have no loss and come last.
        hardest = ops.flip(ops.sort(ops.where(positive, 0.0, loss), axis=-1), axis=-1)
        rank = ops.arange(hardest.shape[-1], dtype=loss.dtype)
        kept = ops.where(rank < ops.maximum(self.ratio * count, self.minimum), hardest, 0.0)
        return ops.sum(ops.where(positive, loss, 0.0), axis=-1) + ops.sum(kept, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """What the loss is made of."""
        return {"ratio": self.ratio, "minimum": self.minimum, "name": self.name}


def _of_truth(truth: Any, predicted: Any) -> Any:
    """Probability given to what is true, away from 0 and 1."""
    score = ops.clip(predicted, _EPSILON, 1 - _EPSILON)
    return ops.where(truth, score, 1 - score)
