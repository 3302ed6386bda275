"""Training of a detector on fields."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgegal import anchors
from edgegal.anchors import AnchorSpec
from edgegal.bundle.manifest import DetectorDescription
from edgegal.data import PictureSet
from edgegal.data.fields import Field, compose_fields, isolate
from edgegal.frames import View
from edgegal.labels import SCHEMES
from edgegal.models.detector import ANCHORS, ssdlite_mobilenet_v2
from edgegal.preprocess import Preprocess, Stretch
from edgegal.training.batches import EpochBatches, digest
from edgegal.training.fit import fit
from edgegal.training.losses import box_loss, focal_loss
from edgegal.training.matching import dense_targets
from edgegal.training.provenance import provenance
from edgegal.training.schedule import averaged_adamw
from edgegal.training.threshold import best_threshold, detect_fields

__all__ = ["DetectorSettings", "FieldBatches", "fit_detector", "train_detector"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class DetectorSettings:
    """How a detector is trained.

    Attributes
    ----------
    epochs
        Passes over the fields.
    batch
        Fields a step.
    rate
        Peak learning rate of AdamW.
    decay
        Weight decay.
    seed
        Seed of initialisation, order and augmentation.
    """

    epochs: int = 8
    batch: int = 16
    rate: float = 1.5e-3
    decay: float = 4e-5
    seed: int = 0


class FieldBatches(EpochBatches):
    """Batches of fields turned by quarter turns, mirrored and varied in brightness, with dense targets."""

    def __init__(self, fields: Sequence[Field], spec: AnchorSpec, batch: int, seed: int, augment: bool) -> None:
        super().__init__()
        size = fields[0].picture.shape[0]
        self._fields, self._spec, self._batch, self._augment = fields, spec, batch, augment
        self._grid = anchors.generate(spec, size, size)
        self._seed = seed

    def __len__(self) -> int:
        # A short last batch would weigh its fields more.
        return max(1, len(self._fields) // self._batch) if self._augment else -(-len(self._fields) // self._batch)

    def fingerprint(self) -> str:
        """SHA-256 of fields, anchors, batch and seed."""
        arrays = (a for field in self._fields for a in (field.picture, field.boxes, field.ignore))
        return digest(arrays, self._spec, self._batch, self._seed, self._augment)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        count = len(self._fields)
        return np.random.default_rng((self._seed, epoch)).permutation(count) if self._augment else np.arange(count)

    def batch(self, epoch: int, index: int) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """Pictures ``(b, size, size, 3)`` float32 0-255, and `dense_targets` by output."""
        chosen = self._order(epoch)[index * self._batch : (index + 1) * self._batch]
        rng = np.random.default_rng((self._seed, epoch, index))
        fields = [self._fields[i] for i in chosen]
        if self._augment:
            fields = [turned(field, rng) for field in fields]
        targets = [dense_targets(self._spec, self._grid, f.boxes, f.ignore) for f in fields]
        pictures = np.stack([f.picture for f in fields]).astype(np.float32)
        if self._augment:
            pictures = np.clip(pictures * rng.uniform(0.85, 1.15, (len(fields), 1, 1, 1)), 0, 255)
        return pictures.astype(np.float32), {
            "boxes": np.stack([codes for codes, _ in targets]),
            "scores": np.stack([scores for _, scores in targets]),
        }


def turned(field: Field, rng: np.random.Generator) -> Field:
    """The field after a random quarter turn and mirroring; boxes follow."""
    turns, mirror = int(rng.integers(4)), bool(rng.random() < 0.5)
    size = field.picture.shape[0]
    picture: View = np.rot90(field.picture, turns)
    if mirror:
        picture = picture[:, ::-1]
    return Field(
        picture, _turned_boxes(field.boxes, size, turns, mirror), _turned_boxes(field.ignore, size, turns, mirror)
    )


def _turned_boxes(boxes: NDArray[np.float32], size: int, turns: int, mirror: bool) -> NDArray[np.float32]:
    x0, y0, x1, y1 = boxes.T
    for _ in range(turns):
        # np.rot90 turns counter-clockwise: x, y goes to y, size - x.
        x0, y0, x1, y1 = y0, size - x1, y1, size - x0
    if mirror:
        x0, x1 = size - x1, size - x0
    return np.stack([x0, y0, x1, y1], axis=1).astype(np.float32)


def fit_detector(
    model: Any,
    spec: AnchorSpec,
    train: Sequence[Field],
    validation: Sequence[Field],
    settings: DetectorSettings,
    callbacks: Sequence[Any] = (),
    state: Path | None = None,
) -> dict[str, list[float]]:
    """Train `model` in place; the weights left in it are the averages over the last steps.

    Parameters
    ----------
    model
        As built by `edgegal.models.detector`.
    spec
        The anchors it was built with.
    train, validation
        Fields of the network's input size.
    settings
        How.
    callbacks
        Further Keras callbacks.
    state
        Folder from which an interrupted training goes on, as for `edgegal.training.fit.fit`.

    Returns
    -------
    dict
        Columns of the training log, one value an epoch.
    """
    batches = FieldBatches(train, spec, settings.batch, settings.seed, augment=True)
    held = FieldBatches(validation, spec, settings.batch, settings.seed, augment=False)
    steps = len(batches) * settings.epochs
    optimizer = averaged_adamw(settings.rate, settings.decay, steps, clipnorm=5.0)
    model.compile(optimizer, loss={"boxes": box_loss, "scores": focal_loss})
    _LOG.info("%d fields, %d steps", len(train), steps)
    return fit(model, batches, held, epochs=settings.epochs, state=state, callbacks=callbacks)


def train_detector(
    cutouts: Sequence[PictureSet],
    fields: int,
    settings: DetectorSettings,
    size: int = 256,
    alpha: float = 0.35,
    stretch: Stretch = Stretch(),
    callbacks: Sequence[Any] = (),
    state: Path | None = None,
) -> tuple[Any, DetectorDescription, dict[str, list[float]]]:
    """Compose fields from real and simulated galaxies, train a detector on them, and choose its score threshold.

    Parameters
    ----------
    cutouts
        Sets whose training pictures lend their galaxies; none for a purely simulated sky.
    fields
        Training fields; a tenth as many, from the validation pictures, validate.
    settings
        How it is trained.
    size, alpha
        Input side and width multiplier of the network.
    stretch
        Stretch of the device.
    callbacks
        Further Keras callbacks.
    state
        Folder from which an interrupted training goes on, as for `edgegal.training.fit.fit`.

    Returns
    -------
    tuple
        The model, its description, and the training log.
    """
    keras.utils.set_random_seed(settings.seed)
    model = ssdlite_mobilenet_v2(size, alpha)
    parts = {split: [s.subset(split, labelled=False) for s in cutouts] for split in ("train", "val")}
    composed = {}
    for split, count in (("train", fields), ("val", max(32, fields // 10))):
        galaxies = [g for part in parts[split] for picture in part.read()[1] if (g := isolate(picture)) is not None]
        _LOG.info("%s: %d galaxies for %d fields", split, len(galaxies), count)
        seed = settings.seed if split == "train" else settings.seed + 1_000_003
        composed[split] = compose_fields(count, seed, size, stretch, galaxies)
    history = fit_detector(model, ANCHORS, composed["train"], composed["val"], settings, callbacks, state)
    scheme = SCHEMES["galaxy"]
    description = DetectorDescription(
        labels=scheme.labels,
        scheme=scheme.name,
        preprocess=Preprocess(size, size, stretch),
        anchors=ANCHORS,
        provenance=provenance(
            f"SSDLite MobileNetV2 alpha {alpha}",
            model,
            cutouts,
            (*(f"{s.name} (galaxies of its training cutouts)" for s in cutouts), "simulated sky"),
            settings.seed,
        ),
    )
    threshold = best_threshold(detect_fields(model, description, composed["val"]), composed["val"])
    return model, description.model_copy(update={"score_threshold": threshold}), history
