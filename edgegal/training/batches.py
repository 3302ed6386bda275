"""Batches whose content depends on seed, epoch and index alone, so that a resumed training sees what it would have."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgegal.errors import DatasetError, InputError
from edgegal.frames import View
from edgegal.preprocess import resize
from edgegal.training.augmentation import Augmentation, augmented

__all__ = ["EpochBatches", "PictureBatches", "digest"]


def digest(arrays: Iterable[NDArray[Any] | None], *settings: object) -> str:
    """SHA-256, in hexadecimal, of arrays with their kinds and shapes, and of settings by how they print."""
    found = hashlib.sha256(repr(settings).encode())
    for array in arrays:
        found.update(b"none" if array is None else f"{array.dtype} {array.shape} ".encode())
        if array is not None:
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


class EpochBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """A Keras dataset whose batches are a pure function of epoch and index.

    `edgegal.training.fit.fit` asks for the batches of the epoch it is in, first or resumed; a plain ``model.fit``
    counts epochs as it goes.
    """

    def __init__(self) -> None:
        super().__init__(workers=1)
        self._epoch = 0

    @abstractmethod
    def batch(self, epoch: int, index: int) -> tuple[Any, ...]:
        """Batch `index` of epoch `epoch`: pictures, targets by output, and weights by output where there are any."""

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 of everything the batches depend on, in hexadecimal."""

    def on_epoch_end(self) -> None:
        """Count the epoch."""
        self._epoch += 1

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self.batch(self._epoch, index)


class PictureBatches(EpochBatches):
    """Batches of pictures with class indices or numbers to predict: shuffled and augmented, or in order as they are."""

    def __init__(
        self,
        pictures: View,
        targets: NDArray[np.int32] | NDArray[np.float32],
        size: int,
        batch: int,
        seed: int | None,
        augmentation: Augmentation | None = None,
        weights: NDArray[np.float32] | None = None,
        output: str = "probabilities",
    ) -> None:
        """Parameters are checked here, so that nothing surprises later.

        Parameters
        ----------
        pictures
            ``(n, side, side, 3)`` uint8 RGB.
        targets
            ``(n,)`` int32 class indices, or ``(n, k)`` float32.
        size
            Side of the pictures given out, in pixels.
        batch
            Pictures a batch.
        seed
            Seed of order and augmentation; a last batch that would be short is left out. None, for validation: in the
            given order, and all of them.
        augmentation
            How pictures vary; None only resizes them.
        weights
            ``(n,)`` weight of each picture in the loss.
        output
            Name of the network's output.

        Raises
        ------
        DatasetError
            There are no pictures, or targets or weights that do not fit them or are not finite.
        InputError
            Augmentation without a seed.
        """
        super().__init__()
        if seed is None and augmentation is not None:
            raise InputError("augmentation needs a seed")
        _check(len(pictures), targets, weights)
        self._pictures, self._targets, self._weights = pictures, targets, weights
        self._size, self._batch, self._seed = size, batch, seed
        self._augmentation, self._output = augmentation, output
        self._shuffled: tuple[int, NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        # A short last batch would weigh its pictures more.
        if self._seed is None:
            return -(-len(self._targets) // self._batch)
        return max(1, len(self._targets) // self._batch)

    def batch(self, epoch: int, index: int) -> tuple[Any, ...]:
        """Pictures ``(b, size, size, 3)`` float32 0-255, targets and, where there are any, weights, by output."""
        chosen = self._order(epoch)[index * self._batch : (index + 1) * self._batch]
        rng = None if self._seed is None else np.random.default_rng((self._seed, epoch, index))
        pictures = np.stack([self._picture(i, rng) for i in chosen]).astype(np.float32)
        batch = pictures, {self._output: self._targets[chosen]}
        return batch if self._weights is None else (*batch, {self._output: self._weights[chosen]})

    def fingerprint(self) -> str:
        """SHA-256 of pictures, targets, weights, seed, batch, size and augmentation."""
        settings = (self._size, self._batch, self._seed, self._augmentation, self._output)
        return digest((self._pictures, self._targets, self._weights), *settings)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if self._seed is None:
            return np.arange(len(self._targets))
        shuffled = self._shuffled
        if shuffled is None or shuffled[0] != epoch:
            shuffled = epoch, np.random.default_rng((self._seed, epoch)).permutation(len(self._targets))
            self._shuffled = shuffled
        return shuffled[1]

    def _picture(self, index: int, rng: np.random.Generator | None) -> View:
        picture = self._pictures[index]
        if rng is None or self._augmentation is None:
            return resize(picture, self._size, self._size)
        return augmented(picture, self._size, self._augmentation, rng)


def _check(count: int, targets: NDArray[Any], weights: NDArray[np.float32] | None) -> None:
    if not count:
        raise DatasetError("no pictures to train with")
    for name, values in (("targets", targets), ("weights", weights)):
        if values is None:
            continue
        if len(values) != count:
            raise DatasetError(f"{count} pictures, but {len(values)} {name}")
        bad = np.flatnonzero(~np.isfinite(values).reshape(count, -1).all(axis=1))
        if len(bad):
            raise DatasetError(
                f"{name} of {len(bad)} of {count} pictures are not finite, first that of picture {bad[0]}",
                "leave those pictures out",
            )
