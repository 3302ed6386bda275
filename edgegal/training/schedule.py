"""Learning-rate schedules."""

from typing import Any

import keras

__all__ = ["warm_cosine"]


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
