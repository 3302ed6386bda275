"""What a network answered on a split, and what was true: all that a report needs to know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgegal.errors import InputError

__all__ = ["ClassificationResult", "RegressionResult", "Result"]


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """What results of every kind have.

    Attributes
    ----------
    name
        What the network is called in the report.
    ids
        Names of the pictures, each once.
    seed
        Seed of the training.
    dataset, split
        The pictures.
    dataset_sha256
        `PictureSet.digest` of them.
    history
        Columns of the training log, one value an epoch; validation columns are called ``val_`` and the other's name.
    parameters
        Weights of the network.
    """

    name: str
    ids: tuple[str, ...]
    seed: int
    dataset: str
    split: str
    dataset_sha256: str = ""
    history: Mapping[str, Sequence[float]] | None = None
    parameters: int | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def _check_pictures(self) -> None:
        if not self.ids:
            raise InputError(f"{self.name}: no pictures in the {self.split} split of {self.dataset}")
        if len(set(self.ids)) != len(self.ids):
            raise ValueError(f"{self.name}: {len(self.ids) - len(set(self.ids))} pictures are named twice")

    def _check_finite(self, what: str, values: NDArray[np.floating]) -> None:
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            raise InputError(
                f"{self.name}: {what} of {int(bad.sum())} of {len(self)} pictures are not numbers, "
                f"the first is {self.ids[int(bad.argmax())]}",
                "the training diverged: lower its learning rate",
            )


@dataclass(frozen=True, kw_only=True)
class ClassificationResult(_Answers):
    """Class probabilities.

    Attributes
    ----------
    labels
        Class names.
    truth
        ``(n,)`` class indices, all labelled.
    probabilities
        ``(n, classes)``, rows that sum to 1.

    Raises
    ------
    InputError
        There is no picture, or a probability is not a number.
    ValueError
        Shapes, class indices or sums do not fit.
    """

    labels: tuple[str, ...]
    truth: NDArray[np.integer]
    probabilities: NDArray[np.floating]

    def __post_init__(self) -> None:
        self._check_pictures()
        n, classes = len(self), len(self.labels)
        if self.truth.shape != (n,) or self.probabilities.shape != (n, classes):
            raise ValueError(
                f"{self.name}: truth {self.truth.shape} and probabilities {self.probabilities.shape} "
                f"do not fit {n} pictures and {classes} classes"
            )
        if self.truth.min() < 0 or self.truth.max() >= classes:
            raise ValueError(f"{self.name}: classes {self.truth.min()} to {self.truth.max()} of {classes}")
        self._check_finite("probabilities", self.probabilities)
        worst = float(np.abs(self.probabilities.sum(axis=1, dtype=np.float64) - 1).max())
        if self.probabilities.min() < 0 or worst > 1e-3:
            raise ValueError(f"{self.name}: rows are no probabilities, their sums leave 1 by up to {worst:.3g}")

    @property
    def predicted(self) -> NDArray[np.int64]:
        """``(n,)`` winning class of each picture."""
        return self.probabilities.argmax(axis=1)


@dataclass(frozen=True, kw_only=True)
class RegressionResult(_Answers):
    """Predicted numbers, such as vote fractions.

    Attributes
    ----------
    outputs
        Names of the columns.
    truth, predicted
        ``(n, outputs)``.

    Raises
    ------
    InputError
        There is no picture, or a number is none.
    ValueError
        Shapes do not fit.
    """

    outputs: tuple[str, ...]
    truth: NDArray[np.floating]
    predicted: NDArray[np.floating]

    def __post_init__(self) -> None:
        self._check_pictures()
        shape = (len(self), len(self.outputs))
        if self.truth.shape != shape or self.predicted.shape != shape:
            raise ValueError(f"{self.name}: truth {self.truth.shape}, predicted {self.predicted.shape}, not {shape}")
        self._check_finite("true values", self.truth)
        self._check_finite("predictions", self.predicted)


Result = ClassificationResult | RegressionResult
