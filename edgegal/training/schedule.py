"""The optimizer of every training: its learning rate over time, and its average of the weights."""

from typing import Any

import keras

__all__ = ["averaged_adamw", "averaging_momentum", "warm_cosine"]


def warm_cosine(rate: float, steps: int) -> Any:
    """Linear warm-up over the first twentieth of `steps` (1000 at most), then a cosine down to nearly nothing."""
    warm = max(1, min(1000, steps // 20))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=rate / 10,
        decay_steps=max(1, steps - warm),
        alpha=0.01,
        warmup_target=rate,
        warmup_steps=warm,
    )


def averaging_momentum(steps: int) -> float:
    """Momentum of the weight average for a run of `steps`: it spans the last twentieth, whatever the length.

    Over that stretch the learning rate is nearly nothing, so that the batch-norm statistics, which are not averaged,
    fit the averaged weights.
    """
    return max(0.0, 1 - 20 / max(steps, 1))


def averaged_adamw(rate: float, decay: float, steps: int, clipnorm: float | None = None) -> Any:
    """AdamW with a `warm_cosine` rate that leaves the averaged weights in the model when `fit` ends.

    Parameters
    ----------
    rate
        Peak learning rate.
    decay
        Weight decay.
    steps
        Steps of the whole run.
    clipnorm
        Largest norm of one gradient; unlimited when None.
    """
    return keras.optimizers.AdamW(
        warm_cosine(rate, steps),
        weight_decay=decay,
        clipnorm=clipnorm,
        use_ema=True,
        ema_momentum=averaging_momentum(steps),
        ema_overwrite_frequency=None,
    )
