"""Training of a detector on fields."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from edgegal import anchors
from edgegal.anchors import AnchorSpec
from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription
from edgegal.data import PictureSet
from edgegal.data.boxed.boxed_set import BoxedSet
from edgegal.data.fields import Field
from edgegal.data.leakage import without_leaks
from edgegal.data.mixture import Ingredients, mixed_fields
from edgegal.data.skies.telescopes import Telescope
from edgegal.errors import InputError
from edgegal.frames import View
from edgegal.labels import SCHEMES, LabelScheme
from edgegal.models.detector import DEFAULT_DETECTOR, build_detector, detector_architecture
from edgegal.preprocess import Preprocess, Stretch
from edgegal.training.batches import EpochBatches, digest
from edgegal.training.fit import fit
from edgegal.training.losses import FocalLoss, HardNegativeLoss, box_loss
from edgegal.training.matching import MATCHINGS, PUBLISHED_MATCHING, Matching, dense_targets
from edgegal.training.provenance import provenance
from edgegal.training.schedule import averaged_adamw
from edgegal.training.threshold import best_threshold, detect_fields

__all__ = ["DetectorSettings", "FieldBatches", "begun", "check_start", "fit_detector", "train_detector"]

_LOG = logging.getLogger(__name__)

_FIELDS_A_PROCESS = 150
_TILE_OVERLAP = 64
_SCHEMES = ("galaxy", "celestial")

Loss = Literal["focal", "hard-negative"]


@dataclass(frozen=True)
class DetectorSettings:
    """What detector is trained, and how.

    Attributes
    ----------
    architecture
        Of `edgegal.models.detector.DETECTORS`.
    size
        Input side in pixels.
    alpha
        Width multiplier; None for the architecture's.
    mono
        Whether it sees brightness alone.
    weights
        Where the backbone starts from, as `build_detector` takes it.
    anchor_spec
        Anchors; None for the architecture's.
    loss
        Of the scores.
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

    architecture: str = DEFAULT_DETECTOR
    size: int = 256
    alpha: float | None = None
    mono: bool = False
    weights: str = "none"
    anchor_spec: AnchorSpec | None = None
    loss: Loss = "focal"
    epochs: int = 8
    batch: int = 16
    rate: float = 1.5e-3
    decay: float = 4e-5
    seed: int = 0

    @property
    def anchors(self) -> AnchorSpec:
        """The anchors it is built with."""
        return self.anchor_spec or detector_architecture(self.architecture).anchors(self.size)

    @property
    def score_loss(self) -> keras.losses.Loss:
        """The loss of the scores, a focal one as the architecture's recipe has it."""
        if self.loss == "hard-negative":
            return HardNegativeLoss()
        recipe = detector_architecture(self.architecture)
        return FocalLoss(recipe.focal_alpha, recipe.focal_gamma)


class FieldBatches(EpochBatches):
    """Batches of fields turned by quarter turns, mirrored and varied in brightness, with dense targets."""

    def __init__(
        self,
        fields: Sequence[Field],
        spec: AnchorSpec,
        batch: int,
        seed: int,
        augment: bool,
        classes: int = 1,
        matching: Matching = PUBLISHED_MATCHING,
    ) -> None:
        super().__init__()
        size = fields[0].picture.shape[0]
        self._matching = matching
        self._fields, self._spec, self._batch, self._augment, self._classes = fields, spec, batch, augment, classes
        self._grid = anchors.generate(spec, size, size)
        self._seed = seed

    def __len__(self) -> int:
        # A short last batch would weigh its fields more.
        return max(1, len(self._fields) // self._batch) if self._augment else -(-len(self._fields) // self._batch)

    def fingerprint(self) -> str:
        """SHA-256 of fields, anchors, matching, batch and seed."""
        arrays = (a for field in self._fields for a in (field.picture, field.boxes, field.ignore, field.classes))
        return digest(arrays, self._spec, self._batch, self._seed, self._augment, self._classes, self._matching)

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
        targets = [
            dense_targets(self._spec, self._grid, f.boxes, f.ignore, f.classes, self._classes, self._matching)
            for f in fields
        ]
        pictures = np.stack([f.picture for f in fields]).astype(np.float32)
        if self._augment:
            pictures *= rng.uniform(0.85, 1.15, (len(fields), 1, 1, 1)).astype(np.float32)
            np.clip(pictures, 0, 255, out=pictures)
        return pictures, {
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
    boxes, ignore = (_turned_boxes(these, size, turns, mirror) for these in (field.boxes, field.ignore))
    return replace(field, picture=picture, boxes=boxes, ignore=ignore)


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
    train: Sequence[Field],
    validation: Sequence[Field],
    settings: DetectorSettings,
    classes: int = 1,
    callbacks: Sequence[Any] = (),
    state: Path | None = None,
) -> dict[str, list[float]]:
    """Train `model` in place; the weights left in it are the averages over the last steps.

    Parameters
    ----------
    model
        As built by `edgegal.models.detector`, with the anchors of `settings`.
    train, validation
        Fields of the network's input size.
    settings
        How.
    classes
        Number of classes it tells.
    callbacks
        Further Keras callbacks.
    state
        Folder from which an interrupted training goes on, as for `edgegal.training.fit.fit`.

    Returns
    -------
    dict
        Columns of the training log, one value an epoch.
    """
    matching = MATCHINGS[detector_architecture(settings.architecture).matching]
    how = (settings.anchors, settings.batch, settings.seed)
    batches = FieldBatches(train, *how, augment=True, classes=classes, matching=matching)
    held = FieldBatches(validation, *how, augment=False, classes=classes, matching=matching)
    steps = len(batches) * settings.epochs
    optimizer = averaged_adamw(settings.rate, settings.decay, steps, clipnorm=5.0)
    model.compile(optimizer, loss={"boxes": box_loss, "scores": settings.score_loss})
    _LOG.info("%d fields, %d steps", len(train), steps)
    return fit(model, batches, held, epochs=settings.epochs, state=state, callbacks=callbacks)


def train_detector(
    cutouts: Sequence[PictureSet],
    fields: int,
    settings: DetectorSettings,
    telescopes: Sequence[Telescope] = (),
    frames: Sequence[BoxedSet] = (),
    scheme: LabelScheme = SCHEMES["galaxy"],
    start: Any = None,
    stretch: Stretch = Stretch(),
    callbacks: Sequence[Any] = (),
    state: Path | None = None,
) -> tuple[Any, DetectorDescription, dict[str, list[float]]]:
    """Make fields of real and simulated galaxies, train a detector on them, and choose its score threshold.

    Parameters
    ----------
    cutouts
        Sets whose training pictures lend their galaxies, but for those that another of them tests on; none for a
        purely simulated sky.
    fields
        Training fields; a tenth as many, from the validation pictures, validate.
    settings
        What is trained, and how.
    telescopes
        Telescopes whose simulated exposures are among the fields.
    frames
        Annotated pictures of any size that are among them too, with the labels of `scheme`.
    scheme
        What it is to tell.
    start
        A trained detector to go on from: of the same architecture, or of one all whose layers are in it too.
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

    Raises
    ------
    InputError
        The weights of `start` do not fit, a set of `frames` has other labels, `scheme` is not of what a detector
        tells, nothing there is shows its classes, or a telescope's sensor is smaller than the network's input.
    """
    _check(settings, scheme, telescopes, frames)
    cutouts = without_leaks(cutouts, cutouts)
    keras.utils.set_random_seed(settings.seed)
    model = begun(settings, len(scheme.labels), start)
    composed = {}
    for split, count in (("train", fields), ("val", max(32, fields // 10))):
        seed = settings.seed if split == "train" else settings.seed + 1_000_003
        ingredients = Ingredients.of(
            [s.subset(split, labelled=False) for s in cutouts],
            telescopes,
            [frame for s in frames for frame in _labelled(s, scheme).subset(split)],
            seed,
            scheme.labels,
        )
        ingredients = replace(ingredients, hard=True)
        if cutouts and not ingredients.isolated:
            names = ", ".join(s.name for s in cutouts)
            _LOG.warning("no galaxy stands out in the %s pictures of %s: all galaxies are simulated", split, names)
        _LOG.info("%s: %d real galaxies for %d fields", split, len(ingredients.isolated), count)
        composed[split] = mixed_fields(count, seed, settings.size, stretch, ingredients, _processes(count))
    history = fit_detector(model, composed["train"], composed["val"], settings, len(scheme.labels), callbacks, state)
    sources = [f"{s.name} (galaxies of its training cutouts)" for s in cutouts]
    sources += [f"{s.name} (training pictures)" for s in frames]
    sources += [f"simulated exposures of {', '.join(t.name for t in telescopes)}"] if telescopes else []
    description = DetectorDescription(
        labels=scheme.labels,
        scheme=scheme.name,
        preprocess=Preprocess(settings.size, settings.size, stretch),
        anchors=settings.anchors,
        # Networks smaller than usual are for trying things out; their tiles still have to step forward.
        tile_overlap=min(_TILE_OVERLAP, settings.size // 4),
        provenance=provenance(
            model_name(settings), model, [*cutouts, *frames], (*sources, "simulated sky"), settings.seed
        ),
    )
    threshold = best_threshold(detect_fields(model, description, composed["val"]), composed["val"])
    return model, description.model_copy(update={"score_threshold": threshold}), history


def _check(
    settings: DetectorSettings, scheme: LabelScheme, telescopes: Sequence[Telescope], frames: Sequence[BoxedSet]
) -> None:
    if scheme.name not in _SCHEMES:
        raise InputError(f"a detector does not tell {scheme.name!r}", f"use one of: {', '.join(_SCHEMES)}")
    if len(scheme.labels) > 1 and not telescopes and not frames:
        raise InputError(
            f"nothing shows a detector {', '.join(scheme.labels[1:])}",
            "simulate exposures with --telescope all, or give annotated frames",
        )
    small = [t.name for t in telescopes if min(t.width, t.height) < settings.size]
    if small:
        raise InputError(
            f"the sensor of {small[0]} is smaller than the input of {settings.size} pixels",
            "give a smaller --size, or leave the telescope out",
        )


def _processes(count: int) -> int:
    """How many draw fields: starting one takes as long as drawing some dozens."""
    return min(os.cpu_count() or 1, max(1, count // _FIELDS_A_PROCESS))


def model_name(settings: DetectorSettings) -> str:
    """What the network is, in words."""
    alpha = settings.alpha or detector_architecture(settings.architecture).alpha
    parts = [settings.architecture, *([f"alpha {alpha}"] if alpha else []), *(["mono"] if settings.mono else [])]
    return ", ".join(parts)


def check_start(settings: DetectorSettings, start: DetectorDescription | ClassifierDescription) -> None:
    """`InputError` unless what a network to go on from says of boxes means the same with `settings`."""
    if isinstance(start, DetectorDescription) and start.anchors != settings.anchors:
        raise InputError(
            "the network to go on from has other anchors, and its boxes are told from them",
            "give the same --anchor options as it was trained with",
        )


def begun(settings: DetectorSettings, classes: int, start: Any) -> Any:
    """The network to train; layers that `start` has too have its weights; `InputError` when one does not fit."""
    model = build_detector(
        settings.architecture,
        settings.size,
        settings.alpha,
        classes,
        settings.anchor_spec,
        settings.mono,
        settings.weights,
    )
    if start is not None:
        try:
            fresh = _taken_over(model, start)
        except ValueError as error:
            raise InputError(
                f"{settings.architecture} cannot go on from that network: its layers are others",
                "give the architecture, width, weights and classes it was trained with",
            ) from error
        if fresh:
            _LOG.warning("layers that begin anew: %s", ", ".join(fresh))
    return model


def _taken_over(model: Any, start: Any) -> list[str]:
    """Give every layer the weights of the layer of its name; the names of those with weights that `start` has not.

    Raises
    ------
    ValueError
        The shapes of their weights or the range of pixels differ, or `start` has weights that would be lost.
    """
    theirs = {layer.name: layer for layer in start.layers}
    lost = {layer.name for layer in start.layers if layer.weights} - {layer.name for layer in model.layers}
    if lost:
        raise ValueError(f"no place for {', '.join(sorted(lost))}")
    fresh = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.Rescaling) and _range(layer) != _range(theirs.get(layer.name)):
            raise ValueError("pixels of another range")
        if not layer.weights:
            continue
        if layer.name not in theirs:
            fresh.append(layer.name)
        elif isinstance(layer, keras.Model):
            fresh += _taken_over(layer, theirs[layer.name])
        else:
            layer.set_weights(theirs[layer.name].get_weights())
    return fresh


def _range(rescaling: Any) -> tuple[Any, Any] | None:
    return None if rescaling is None else (rescaling.scale, rescaling.offset)


def _labelled(frames: BoxedSet, scheme: LabelScheme) -> BoxedSet:
    if frames.labels != scheme.labels:
        raise InputError(
            f"{frames.name} has boxes of {', '.join(frames.labels)}, the detector tells {', '.join(scheme.labels)}",
            "map its classes with --class-map",
        )
    return frames
