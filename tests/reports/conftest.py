"""Answers of networks that do not exist."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgegal.reports import ClassificationResult

Drawn = Callable[..., ClassificationResult]


@pytest.fixture(scope="session")
def drawn() -> Drawn:
    """Draws answers: the right class is `sure` above the noise of the others; `over` overrides fields."""

    def result(
        name: str = "net", n: int = 60, classes: int = 3, seed: int = 0, sure: float = 2.0, **over: Any
    ) -> ClassificationResult:
        truth = np.random.default_rng(9).integers(0, classes, n)
        logits = np.random.default_rng(seed).normal(size=(n, classes))
        logits[np.arange(n), truth] += sure
        powers = np.exp(logits)
        fields: dict[str, Any] = {
            "name": name,
            "labels": tuple(f"class {c}" for c in range(classes)),
            "truth": truth,
            "probabilities": powers / powers.sum(axis=1, keepdims=True),
            "ids": tuple(f"p{i}" for i in range(n)),
            "seed": seed,
            "dataset": "drawn",
            "split": "test",
        }
        return ClassificationResult(**(fields | over))

    return result
