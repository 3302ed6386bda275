"""Training of a classifier on labelled cutouts."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgegal.bundle.manifest import ClassifierDescription
from edgegal.data import PictureSet
from edgegal.data.framing import CROP_SCALE, framed
from edgegal.data.simulated import simulate_cutouts
from edgegal.errors import DatasetError
from edgegal.frames import View
from edgegal.inference import tempered
from edgegal.labels import LabelScheme
from edgegal.models.classifier import separable_network
from edgegal.preprocess import Preprocess, Stretch, resize
from edgegal.training.provenance import provenance
from edgegal.training.schedule import averaged_adamw

__all__ = [
    "CROP_SCALE",
    "ClassifierSettings",
    "CutoutBatches",
    "augmented",
    "fit_classifier",
    "fit_temperature",
    "train_classifier",
]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClassifierSettings:
    """How a classifier is trained.

    Attributes
    ----------
    epochs
        Passes over the pictures.
    batch
        Pictures a step.
    rate
        Peak learning rate of AdamW.
    decay
        Weight decay.
    balance
        Exponent on the class weights N / (C n_c): 0 leaves classes as common as they are, 1 makes them equal.
    seed
        Seed of initialisation, order and augmentation.
    """

    epochs: int = 80
    batch: int = 64
    rate: float = 4e-3
    decay: float = 1e-3
    balance: float = 0.5
    seed: int = 0


_MARGIN = 1.3
"""Training pictures reach this much further than a crop, so that turning and shifting brings in sky, not an edge."""


def augmented(picture: View, size: int, rng: np.random.Generator) -> View:
    """A varied copy at `size` pixels: any rotation, zoom, shift, mirroring, blur, brightness, colour and noise.

    Parameters
    ----------
    picture
        ``(h, w, 3)`` uint8 RGB, square, at least `size` pixels, framed with `_MARGIN`.
    size
        Side of the result.
    rng
        Source of chance.
    """
    side = picture.shape[0]
    zoom = _MARGIN * float(np.exp(rng.uniform(np.log(0.8), np.log(1.25))))
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(0, 360)), zoom)
    turn[:, 2] += rng.normal(0, side * 0.025, 2)
    if rng.random() < 0.5:
        turn[0] = -turn[0]
        turn[0, 2] += side
    varied = cv2.warpAffine(picture, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    if rng.random() < 0.4:
        varied = cv2.GaussianBlur(varied, (0, 0), float(rng.uniform(0.5, 2.0)) * side / 128)
    pixels = resize(varied, size, size).astype(np.float32)
    pixels = 255 * (pixels / 255) ** np.float32(rng.uniform(0.8, 1.25))
    pixels *= rng.uniform(0.9, 1.1, 3).astype(np.float32) * np.float32(rng.uniform(0.8, 1.2))
    if rng.random() < 0.2:
        pixels = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < 0.4:
        pixels += rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(1, 6))
    return np.clip(pixels, 0, 255).astype(np.uint8)


class CutoutBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled batches of augmented cutouts with class indices and weights."""

    def __init__(
        self, pictures: View, labels: NDArray[np.int32], size: int, weights: NDArray[np.float32], batch: int, seed: int
    ) -> None:
        super().__init__(workers=1)
        self._pictures, self._labels, self._size = pictures, labels, size
        self._weights, self._batch, self._seed = weights, batch, seed
        self._epoch = 0
        self._order = np.random.default_rng((seed, 0)).permutation(len(labels))

    def __len__(self) -> int:
        return max(1, len(self._labels) // self._batch)

    def on_epoch_end(self) -> None:
        """Shuffle anew."""
        self._epoch += 1
        self._order = np.random.default_rng((self._seed, self._epoch)).permutation(len(self._labels))

    def __getitem__(
        self, index: int
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.int32]], dict[str, NDArray[np.float32]]]:
        chosen = self._order[index * self._batch : (index + 1) * self._batch]
        rng = np.random.default_rng((self._seed, self._epoch, index))
        pictures = np.stack([augmented(self._pictures[i], self._size, rng) for i in chosen])
        labels = self._labels[chosen]
        return pictures.astype(np.float32), {"probabilities": labels}, {"probabilities": self._weights[labels]}


def class_weights(labels: NDArray[np.int32], classes: int, balance: float) -> NDArray[np.float32]:
    """``(N / (C n_c)) ** balance`` for each class, scaled so that the mean weight of a picture is 1.

    Raises
    ------
    DatasetError
        A class has no picture.
    """
    counts = np.bincount(labels, minlength=classes)
    if (counts == 0).any():
        empty = ", ".join(str(i) for i in np.flatnonzero(counts == 0))
        raise DatasetError(f"no training picture of class {empty}", "add pictures, or use a scheme without the class")
    weights = (len(labels) / (classes * counts)) ** balance
    return (weights / (weights * counts).sum() * len(labels)).astype(np.float32)


def fit_temperature(probabilities: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    """Temperature that makes held-out probabilities most likely (Guo et al. 2017), from a fine grid over 0.3-5."""
    grid = np.exp(np.linspace(np.log(0.3), np.log(5.0), 200))
    rows = np.arange(len(labels))
    costs = [-np.log(tempered(probabilities, float(t))[rows, labels]).mean() for t in grid]
    return float(grid[int(np.argmin(costs))])


def fit_classifier(
    model: Any,
    train: tuple[View, NDArray[np.int32]],
    validation: tuple[View, NDArray[np.int32]],
    settings: ClassifierSettings,
    callbacks: Sequence[Any] = (),
) -> dict[str, list[float]]:
    """Train `model` in place; the weights left in it are the averages over the last steps.

    Parameters
    ----------
    model
        Input ``image``, output ``probabilities``.
    train, validation
        Pictures ``(n, side, side, 3)`` uint8 RGB and class indices ``(n,)``: for training framed with `_MARGIN`, for
        validation as the device crops and at the input size.
    settings
        How.
    callbacks
        Further Keras callbacks.

    Returns
    -------
    dict
        Columns of the training log, one value an epoch.
    """
    size = model.inputs[0].shape[1]
    classes = model.output["probabilities"].shape[-1]
    weights = class_weights(train[1], classes, settings.balance)
    batches = CutoutBatches(*train, size, weights, settings.batch, settings.seed)
    steps = len(batches) * settings.epochs
    optimizer = averaged_adamw(settings.rate, settings.decay, steps)
    model.compile(
        optimizer,
        loss={"probabilities": "sparse_categorical_crossentropy"},
        metrics={"probabilities": ["accuracy"]},
    )
    history = model.fit(
        batches,
        validation_data=(validation[0].astype(np.float32), {"probabilities": validation[1]}),
        epochs=settings.epochs,
        verbose=2,
        callbacks=list(callbacks),
    ).history
    return {name: [float(v) for v in values] for name, values in history.items()}


def train_classifier(
    data: PictureSet,
    scheme: LabelScheme,
    settings: ClassifierSettings,
    simulated: int = 0,
    size: int = 64,
    crop_scale: float = CROP_SCALE,
    stretch: Stretch = Stretch(),
    callbacks: Sequence[Any] = (),
) -> tuple[Any, ClassifierDescription, dict[str, list[float]]]:
    """Train a compact classifier on the training split and calibrate it on the validation split.

    Parameters
    ----------
    data
        Labelled cutouts.
    scheme
        Their classes.
    settings
        How it is trained.
    simulated
        Simulated cutouts added to the training pictures; for scheme ``gz2-5class`` only.
    size
        Input side in pixels.
    crop_scale
        Side of the crops over the longer side of their galaxies' boxes, here and on the device.
    stretch
        Stretch of the device.
    callbacks
        Further Keras callbacks.

    Returns
    -------
    tuple
        The model, its description, and the training log.
    """
    keras.utils.set_random_seed(settings.seed)
    train, held = data.subset("train"), data.subset("val")
    if not len(train) or not len(held):
        raise DatasetError(f"{data.name} has {len(train)} training and {len(held)} validation pictures with labels")
    side = 2 * size
    pictures, labels = framed(train.pictures(), crop_scale * _MARGIN, side), train.labels
    sources: tuple[str, ...] = (f"{data.name} (train, n={len(train)})",)
    if simulated:
        drawn, kinds = simulate_cutouts(simulated, settings.seed + 77, side, stretch, crop_scale * _MARGIN)
        pictures, labels = np.concatenate([pictures, drawn]), np.concatenate([labels, kinds])
        sources += (f"simulated cutouts (n={simulated})",)
    model = separable_network(len(scheme.labels), size)
    validation = (framed(held.pictures(), crop_scale, size), held.labels)
    history = fit_classifier(model, (pictures, labels), validation, settings, callbacks)
    description = ClassifierDescription(
        labels=scheme.labels,
        scheme=scheme.name,
        preprocess=Preprocess(size, size, stretch, crop_scale),
        temperature=fit_temperature(predict(model, validation[0]), validation[1]),
        provenance=provenance(f"separable CNN, {size} px", model, [data], sources, settings.seed),
    )
    return model, description, history


def predict(model: Any, pictures: View) -> NDArray[np.float32]:
    """Class probabilities ``(n, classes)`` of pictures ``(n, size, size, 3)`` uint8 RGB of the model's input size."""
    found: NDArray[np.float32] = ops.convert_to_numpy(
        model.predict(pictures.astype(np.float32), verbose=0)["probabilities"]
    )
    return found
