"""Training of a classifier on labelled cutouts of one set or several, and on what teachers see in unlabelled ones."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription
from edgegal.data import PictureSet
from edgegal.data.framing import CROP_SCALE, framed
from edgegal.data.leakage import without_leaks
from edgegal.data.pairs import blended_pairs
from edgegal.data.simulated import simulate_cutouts
from edgegal.errors import DatasetError, InputError
from edgegal.frames import View
from edgegal.inference import tempered
from edgegal.labels import LabelScheme
from edgegal.labels import scheme as scheme_named
from edgegal.models.classifier import compact_network, inverted_residual_network, separable_network
from edgegal.models.course import two_convolution_network
from edgegal.models.efficientnet_lite import efficientnet_lite, imagenet_weights, load_imagenet_weights
from edgegal.preprocess import Preprocess, Stretch
from edgegal.training.abstention import answers_by_side, choose_abstention, smallest_side
from edgegal.training.augmentation import TELESCOPE, Augmentation
from edgegal.training.batches import PictureBatches
from edgegal.training.distillation import Teacher, evened, known_classes, opinions, soft_targets
from edgegal.training.fit import fit
from edgegal.training.imbalance import class_weights
from edgegal.training.provenance import provenance
from edgegal.training.schedule import averaged_adamw
from edgegal.training.targets import candidate_crossentropy, candidate_hits, candidates
from edgegal.training.transfer import HEAD

__all__ = [
    "ARCHITECTURES",
    "CROP_SCALE",
    "Architecture",
    "ClassifierSettings",
    "built_like",
    "calibrated",
    "fit_classifier",
    "fit_temperature",
    "predict",
    "train_classifier",
]

_LOG = logging.getLogger(__name__)

_MERGER = "merger"

_SIDE = 128
"""Pictures are kept at this many pixels, or the network's own if more, and shrunk after they were turned."""


def _compact_excited(classes: int, size: int, zooms: Sequence[float] = (), mirrored: bool = False) -> keras.Model:
    """As many parameters as the compact network: narrower, for what squeeze-and-excitation takes."""
    return compact_network(classes, size, widths=(16, 36, 56, 92), excite=True, zooms=zooms, mirrored=mirrored)


def _pretrained_lite(classes: int, size: int) -> keras.Model:
    model = efficientnet_lite(classes, size)
    load_imagenet_weights(model, imagenet_weights())
    return model


@dataclass(frozen=True)
class Architecture:
    """A network that can be asked for by name, and what trains it well.

    Attributes
    ----------
    build
        Classes and input side to an untrained model.
    title
        What it is, in words.
    size
        Input side in pixels.
    batch
        Pictures a step.
    rate
        Peak learning rate of AdamW.
    decay
        Weight decay.
    looks_again
        Whether `build` takes zooms and mirror images.
    """

    build: Callable[..., keras.Model]
    title: str
    size: int
    batch: int
    rate: float
    decay: float
    looks_again: bool = False

    def network(self, classes: int, size: int, zooms: Sequence[float] = (), mirrored: bool = False) -> keras.Model:
        """An untrained network; `InputError` when it looks once and is asked for more."""
        if not (zooms or mirrored):
            return self.build(classes, size)
        if not self.looks_again:
            able = ", ".join(name for name, a in ARCHITECTURES.items() if a.looks_again)
            raise InputError(f"a {self.title} looks at a picture once", f"ask for no more, or use one of: {able}")
        return self.build(classes, size, zooms=zooms, mirrored=mirrored)


ARCHITECTURES: Mapping[str, Architecture] = {
    "compact": Architecture(compact_network, "compact separable CNN", 96, 64, 4e-3, 1e-3, looks_again=True),
    "compact-excite": Architecture(
        _compact_excited, "compact squeeze-excite CNN", 96, 64, 4e-3, 1e-3, looks_again=True
    ),
    "separable": Architecture(separable_network, "separable CNN", 64, 64, 4e-3, 1e-3),
    "inverted-residual": Architecture(inverted_residual_network, "inverted-residual CNN", 64, 64, 4e-3, 1e-3),
    "two-convolution": Architecture(two_convolution_network, "two-convolution CNN", 64, 64, 1e-3, 1e-3),
    "efficientnet-lite0": Architecture(_pretrained_lite, "EfficientNet-Lite0 from ImageNet", 96, 32, 8e-4, 2e-2),
}


@dataclass(frozen=True)
class ClassifierSettings:
    """How a classifier is trained.

    Attributes
    ----------
    architecture
        A name in `ARCHITECTURES`.
    size
        Input side in pixels; the architecture's own when None.
    epochs
        Passes over the pictures; 0 only adjusts and calibrates the network to start from.
    batch
        Pictures a step; the architecture's own when None.
    rate
        Peak learning rate; the architecture's own when None.
    balance
        Exponent on the class weights N / (C n_c): 0 leaves classes as common as they are, 1 makes them equal.
    whole
        Learn each picture twice: cut by its galaxy's box, as the device does, and as its survey framed it. The
        augmentation's zoom reaches as far out as surveys frame, so this is for sets without boxes to speak of.
    simulated
        Simulated cutouts added to the training pictures.
    pairs
        Blended pairs of training pictures added as mergers; for schemes with that class.
    trust
        Share of a known class in what is learned where there are teachers.
    even
        Power of the classes' frequencies that is divided out of the teachers' opinions before they are learned.
    keep
        Share of the starting network in the weights at the end (Wortsman et al. 2022, WiSE-FT), where training goes on
        from a network.
    adjust
        Power of the classes' frequencies that is divided out of the trained network's probabilities (Menon et al. 2021,
        post-hoc logit adjustment): 0 leaves them, 1 makes all classes as likely before the picture is seen.
    zooms
        Enlargements at which the network looks at the middle of a picture too: see
        `edgegal.models.classifier.compact_network`.
    mirrored
        Let it look at mirror images of these too.
    augmentation
        How pictures vary.
    seed
        Seed of initialisation, order and augmentation.
    """

    architecture: str = "compact"
    size: int | None = None
    epochs: int = 80
    batch: int | None = None
    rate: float | None = None
    balance: float = 0.5
    whole: bool = False
    simulated: int = 0
    pairs: int = 0
    trust: float = 0.5
    even: float = 0.0
    keep: float = 0.0
    adjust: float = 0.0
    zooms: tuple[float, ...] = ()
    mirrored: bool = False
    augmentation: Augmentation = TELESCOPE
    seed: int = 0

    @property
    def network(self) -> Architecture:
        """The architecture; `InputError` when there is none of that name."""
        try:
            return ARCHITECTURES[self.architecture]
        except KeyError:
            raise InputError(
                f"no architecture called {self.architecture!r}", f"use one of: {', '.join(ARCHITECTURES)}"
            ) from None


def built_like(description: ClassifierDescription | DetectorDescription) -> keras.Model:
    """An untrained network like the one described; `InputError` when its architecture has no name here."""
    title = description.provenance.architecture
    for architecture in ARCHITECTURES.values():
        if title.startswith(f"{architecture.title},"):
            return architecture.network(len(description.labels), description.preprocess.width, *_looks_told(title))
    raise InputError(
        f"nothing here builds the classifier called {title!r}", "give the folder in which it was trained instead"
    )


def _told(zooms: Sequence[float], mirrored: bool) -> str:
    """How a network's title tells its looks."""
    if not (zooms or mirrored):
        return ""
    return f", looking at {' '.join(f'{zoom:g}x' for zoom in (1, *zooms))}{' and mirrored' if mirrored else ''}"


def _how_it_learned(description: ClassifierDescription | DetectorDescription) -> str:
    """What a network's title tells beyond the network."""
    learned = re.search(r", (taught by|mean of) .*", description.provenance.architecture)
    return learned[0] if learned else ""


def _looks_told(title: str) -> tuple[tuple[float, ...], bool]:
    """Zooms, and whether it looks at mirror images, as `_told` wrote them."""
    looks = re.search(r", looking at 1x((?: [\d.]+x)*)( and mirrored)?", title)
    return (tuple(float(zoom[:-1]) for zoom in looks[1].split()), bool(looks[2])) if looks else ((), False)


@dataclass(frozen=True)
class _Cutouts:
    """Training pictures of one set.

    Attributes
    ----------
    framed
        ``(n, side, side, 3)`` uint8 RGB, cut by their galaxies' boxes, with a margin.
    whole
        The same as their survey framed them; none of them where that is not learned.
    allowed
        ``(n, classes)`` what their labels allow.
    source
        The set in words.
    drawn
        Whether the classes are certain, because the pictures were made to show them.
    """

    framed: View
    whole: View
    allowed: NDArray[np.float32]
    source: str
    drawn: bool = False

    def with_whole(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows of the framed pictures, and again those of the whole ones."""
        return np.concatenate([rows, rows[: len(self.whole)]])


def fit_temperature(probabilities: NDArray[np.float32], labels: NDArray[np.int32] | NDArray[np.float32]) -> float:
    """Temperature that makes held-out labels most likely (Guo et al. 2017), from a fine grid over 0.3-5.

    Parameters
    ----------
    probabilities
        ``(n, classes)``.
    labels
        ``(n,)`` class indices, or ``(n, classes)`` candidates, 1 or 0.
    """
    allowed = np.eye(probabilities.shape[1])[labels] if labels.ndim == 1 else labels
    grid = np.exp(np.linspace(np.log(0.3), np.log(5.0), 200))
    costs = [-np.log((tempered(probabilities, float(t)) * allowed).sum(axis=1)).mean() for t in grid]
    return float(grid[int(np.argmin(costs))])


def fit_classifier(
    model: Any,
    train: tuple[View, NDArray[np.float32]],
    validation: tuple[View, NDArray[np.float32]],
    weights: NDArray[np.float32],
    settings: ClassifierSettings,
    callbacks: Sequence[Any] = (),
    state: Path | None = None,
) -> dict[str, list[float]]:
    """Train `model` in place; the weights left in it are the averages over the last steps.

    Parameters
    ----------
    model
        Input ``image``, output ``probabilities``.
    train, validation
        Pictures ``(n, side, side, 3)`` uint8 RGB and targets ``(n, classes)`` as `edgegal.training.targets` reads them:
        for training framed with the augmentation's margin, for validation as the device crops.
    weights
        ``(n,)`` weight of each training picture.
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
    size, network = model.inputs[0].shape[1], settings.network
    batch = settings.batch or network.batch
    batches = PictureBatches(*train, size, batch, settings.seed, settings.augmentation, weights)
    model.compile(
        averaged_adamw(settings.rate or network.rate, network.decay, len(batches) * settings.epochs),
        loss={"probabilities": candidate_crossentropy},
        metrics={"probabilities": [keras.metrics.MeanMetricWrapper(candidate_hits, name="accuracy")]},
    )
    held = PictureBatches(*validation, size, batch, None)
    return fit(model, batches, held, epochs=settings.epochs, state=state, callbacks=callbacks)


def train_classifier(
    data: Sequence[PictureSet],
    scheme: LabelScheme,
    settings: ClassifierSettings,
    teachers: Sequence[Teacher] = (),
    start: Any | None = None,
    crop_scale: float = CROP_SCALE,
    stretch: Stretch = Stretch(),
    callbacks: Sequence[Any] = (),
    state: Path | None = None,
    start_as: ClassifierDescription | DetectorDescription | None = None,
) -> tuple[Any, ClassifierDescription, dict[str, list[float]]]:
    """Train a classifier on the training splits and calibrate it on the validation splits.

    A label of another scheme tells what it can: see `edgegal.training.targets.candidates`. Training pictures of
    galaxies that another of the sets tests on are left out.

    Parameters
    ----------
    data
        Sets of cutouts.
    scheme
        Classes of the network.
    settings
        How it is trained.
    teachers
        Trained classifiers of the same scheme, a finer one or part of it, whose opinions are learned; on unlabelled
        pictures too, where they know all classes.
    start
        A trained classifier of the same architecture, of any scheme, to go on from.
    crop_scale
        Side of the crops over the longer side of their galaxies' boxes, here and on the device.
    stretch
        Stretch of the device.
    callbacks
        Further Keras callbacks.
    state
        Folder from which an interrupted training goes on, as for `edgegal.training.fit.fit`.
    start_as
        What `start` is, where it has other classes than `scheme`, or is adjusted without training: where its weights
        come from is kept then.

    Returns
    -------
    tuple
        The model, its description, and the training log.

    Raises
    ------
    DatasetError
        A set has no training or validation pictures with labels, or no picture may be of some class.
    InputError
        No such architecture, labels of a set say nothing about `scheme`, or what is asked for needs a network to go on
        from, of the same classes, or teachers.
    """
    same_classes = start is not None and (start_as is None or start_as.labels == scheme.labels)
    _check(settings, bool(teachers), start is not None, same_classes)
    if settings.mirrored and not scheme.mirror_safe:
        raise InputError(f"mirrored pictures change their class in {scheme.name}", "let the network look at none")
    settings = replace(settings, augmentation=settings.augmentation.for_scheme(scheme.mirror_safe))
    network = settings.network
    size = settings.size or network.size
    if start_as is not None and not settings.epochs:
        _tell_of_lost_looks(size, settings, start_as)
    keras.utils.set_random_seed(settings.seed)
    model = network.network(len(scheme.labels), size, settings.zooms, settings.mirrored)
    if start is not None:
        _take_weights(model, start, same_classes)
    first = model.get_weights()
    data = without_leaks(data, data)
    margin = settings.augmentation.margin
    known = known_classes(teachers, scheme)
    train = [_training(s, scheme, known, crop_scale * margin, settings.whole, size) for s in data]
    if settings.simulated:
        train.append(_simulated(settings, scheme, stretch, crop_scale * margin, size))
    if settings.pairs:
        train.append(_pairs(settings, scheme, train))
    pictures = np.concatenate([view for c in train for view in (c.framed, c.whole)])
    allowed = np.concatenate([c.with_whole(c.allowed) for c in train])
    _require_each_class(allowed, scheme)
    groups = np.unique(allowed, axis=0, return_inverse=True)[1].ravel().astype(np.int32)
    weights = class_weights(groups, int(groups.max()) + 1, settings.balance)[groups]
    held = _held(data, scheme, crop_scale, size)
    targets = allowed
    if teachers:
        targets = _taught(train, teachers, known, scheme, settings, crop_scale * margin)
    history: dict[str, list[float]] = {}
    if settings.epochs:
        history = fit_classifier(model, (pictures, targets), held, weights, settings, callbacks, state)
        _mix_weights(model, first, settings.keep)
    if settings.adjust:
        _adjust(model, predict(model, held[0]).mean(axis=0), settings.adjust)
    calibration = calibrated(model, *held, crop_scale)
    taught = f", taught by {len(teachers)} network{'s' if len(teachers) > 1 else ''}" if teachers else ""
    title = f"{network.title}, {size} px{_told(settings.zooms, settings.mirrored)}"
    if settings.epochs or start_as is None:
        came_from = provenance(f"{title}{taught}", model, data, [c.source for c in train], settings.seed)
    else:
        came_from = start_as.provenance.model_copy(update={"architecture": f"{title}{_how_it_learned(start_as)}"})
    description = ClassifierDescription(
        labels=scheme.labels,
        scheme=scheme.name,
        preprocess=Preprocess(size, size, stretch, crop_scale),
        temperature=calibration["temperature"],
        abstain_below=calibration["abstain_below"],
        min_side_px=calibration["min_side_px"],
        provenance=came_from,
    )
    return model, description, history


def _check(settings: ClassifierSettings, taught: bool, started: bool, same_classes: bool) -> None:
    """Refuse what would be ignored, or would give a network that was never trained."""
    if settings.even and not taught:
        raise InputError("there are no teachers whose opinions could be evened out", "name one with --teacher")
    for asked, what in ((not settings.epochs, "adjust without training"), (settings.keep, "keep a share of")):
        if asked and not started:
            raise InputError(f"there is no starting network to {what}", "name it with --start")
        if asked and not same_classes:
            raise InputError(
                f"the network to start from has other classes: there is nothing to {what}",
                "start from one of the same classes, or train for --epochs without --keep",
            )
    learned = taught or settings.keep or settings.pairs or settings.simulated or settings.whole
    if not settings.epochs and learned:
        raise InputError(
            "nothing is learned in 0 epochs",
            "leave out --teacher, --keep, --pairs, --simulated and --whole, or train for some --epochs",
        )


def _tell_of_lost_looks(
    size: int, settings: ClassifierSettings, start_as: ClassifierDescription | DetectorDescription
) -> None:
    """Warn where a network goes on without training, but looks otherwise at a galaxy than it did."""
    zooms, mirrored = _looks_told(start_as.provenance.architecture)
    closest = round(start_as.preprocess.width / max(zooms, default=1))
    if (
        len(zooms) > len(settings.zooms)
        or mirrored > settings.mirrored
        or closest != round(size / max(settings.zooms, default=1))
    ):
        _LOG.warning(
            "it starts from a %s, at %g times the box: name its --size, --crop-scale and --zoom to keep that",
            start_as.provenance.architecture,
            start_as.preprocess.crop_scale,
        )


def _take_weights(model: Any, start: Any, same_classes: bool) -> None:
    """Give `model` the weights of `start`; the last layer stays as it is where the classes are others."""
    for layer in model.layers:
        if not layer.weights or (layer.name == HEAD and not same_classes):
            continue
        try:
            layer.set_weights(start.get_layer(layer.name).get_weights())
        except ValueError:
            raise InputError(
                f"the network to start from is another than {model.name} at {model.inputs[0].shape[1]} px",
                "give its --architecture and --size",
            ) from None


def _mix_weights(model: Any, first: Sequence[NDArray[np.float32]], share: float) -> None:
    """Replace the weights of `model` by their mean with those it started from, these counting for `share`."""
    if share:
        model.set_weights([share * a + (1 - share) * b for a, b in zip(first, model.get_weights(), strict=True)])


def calibrated(
    model: Any, pictures: View, allowed: NDArray[np.float32], crop_scale: float, target: float = 0.9
) -> dict[str, float]:
    """Temperature, ``abstain_below`` and ``min_side_px`` of a trained network, by their names in its description.

    Parameters
    ----------
    model
        The network.
    pictures
        ``(n, size, size, 3)`` uint8 RGB, held out, as the device crops them.
    allowed
        ``(n, classes)`` candidates, 1 or 0.
    crop_scale
        Of the crops.
    target
        Share of right answers that is asked for before an answer is given; thresholds are 0 where it is out of reach.
    """
    raw = predict(model, pictures)
    temperature = fit_temperature(raw, allowed)
    choice = choose_abstention(*_answers(tempered(raw, temperature), allowed), target=target)
    _LOG.info("%s", choice)
    below = choice.abstain_below or 0.0
    single = allowed.sum(axis=1) == 1
    sides = answers_by_side(
        lambda crops: tempered(predict(model, crops), temperature),
        pictures[single],
        allowed[single].argmax(axis=1),
        crop_scale,
        below,
    )
    return {
        "temperature": temperature,
        "abstain_below": below,
        "min_side_px": float(smallest_side(sides, target) or 0),
    }


def _adjust(model: Any, frequencies: NDArray[np.float32], power: float) -> None:
    """Divide a power of the classes' frequencies, ``(classes,)``, out of the probabilities that `model` gives."""
    logits = model.get_layer(HEAD)
    kernel, bias = logits.get_weights()
    logits.set_weights([kernel, bias - power * np.log(np.clip(frequencies, 1e-6, 1))])


def predict(model: Any, pictures: View) -> NDArray[np.float32]:
    """Class probabilities ``(n, classes)`` of pictures ``(n, size, size, 3)`` uint8 RGB of the model's input size."""
    found: NDArray[np.float32] = ops.convert_to_numpy(
        model.predict(pictures.astype(np.float32), verbose=0)["probabilities"]
    )
    return found


def _training(
    data: PictureSet, scheme: LabelScheme, known: NDArray[np.bool_], scale: float, whole: bool, size: int
) -> _Cutouts:
    """Training pictures of a set; those without a label too where teachers know all classes."""
    unlabelled = bool(known.all())
    train = data.subset("train", labelled=not unlabelled)
    if not unlabelled:
        allowed = candidates(train.labels, data.scheme, scheme)
        train = train.select(np.flatnonzero(~allowed.all(axis=1)))
    if not len(train):
        raise DatasetError(f"{data.name} has no training pictures with labels", "assign some to the split train")
    side = max(_SIDE, size)
    train, cutouts = train.read(side)
    allowed = candidates(train.labels, data.scheme, scheme)
    named = int((~allowed.all(axis=1)).sum())
    rest = f", {len(train) - named} unlabelled" if unlabelled else ""
    source = f"{data.name} (train, n={named}{rest})"
    return _Cutouts(framed(cutouts, scale, side), cutouts if whole else cutouts[:0], allowed, source)


def _simulated(
    settings: ClassifierSettings, scheme: LabelScheme, stretch: Stretch, scale: float, size: int
) -> _Cutouts:
    drawn, kinds = simulate_cutouts(settings.simulated, settings.seed + 77, max(_SIDE, size), stretch, scale)
    allowed = candidates(kinds, scheme_named("gz2-5class"), scheme)
    return _Cutouts(drawn, drawn[:0], allowed, f"simulated cutouts (n={settings.simulated})", drawn=True)


def _pairs(settings: ClassifierSettings, scheme: LabelScheme, train: Sequence[_Cutouts]) -> _Cutouts:
    """Mergers made of pictures that are surely none."""
    merger = scheme.index(_MERGER)
    pictures = np.concatenate([c.framed[c.allowed[:, merger] == 0] for c in train])
    drawn = blended_pairs(pictures, settings.pairs, settings.seed + 78)
    allowed = np.tile(np.eye(len(scheme.labels), dtype=np.float32)[merger], (len(drawn), 1))
    return _Cutouts(drawn, drawn[:0], allowed, f"blended pairs of these (n={settings.pairs})", drawn=True)


def _held(
    data: Sequence[PictureSet], scheme: LabelScheme, crop_scale: float, size: int
) -> tuple[View, NDArray[np.float32]]:
    """Labelled pictures of the validation splits, as the device crops them, and what their labels allow."""
    read = [s.subset("val").read() for s in data]
    allowed = np.concatenate([candidates(s.labels, s.scheme, scheme) for s, _ in read])
    told = ~allowed.all(axis=1)
    if not told.any():
        names = ", ".join(s.name for s in data)
        raise DatasetError(f"{names}: no validation pictures with labels", "assign some to the split val")
    pictures = np.concatenate([framed(pictures, crop_scale, size) for _, pictures in read if len(pictures)])
    return pictures[told], allowed[told]


def _taught(
    train: Sequence[_Cutouts],
    teachers: Sequence[Teacher],
    known: NDArray[np.bool_],
    scheme: LabelScheme,
    settings: ClassifierSettings,
    scale: float,
) -> NDArray[np.float32]:
    """What is learned of pictures with teachers: one opinion a galaxy, whole pictures included."""
    seen = [None if c.drawn else opinions(teachers, c.framed, scale, scheme) for c in train]
    # Of a class that the teachers do not know, nothing is divided out: it would become likely out of nothing.
    frequencies = np.where(known, np.concatenate([o for o in seen if o is not None]).mean(axis=0), 1)
    return np.concatenate(
        [
            c.allowed
            if o is None
            else c.with_whole(soft_targets(c.allowed, evened(o, frequencies, settings.even), settings.trust, known))
            for c, o in zip(train, seen, strict=True)
        ]
    )


def _require_each_class(allowed: NDArray[np.float32], scheme: LabelScheme) -> None:
    told = allowed[~allowed.all(axis=1)]
    empty = [label for label, column in zip(scheme.labels, told.T, strict=True) if not column.any()]
    if empty:
        raise DatasetError(
            f"no training picture of class {', '.join(empty)}", "add pictures, or use a scheme without the class"
        )


def _answers(
    probabilities: NDArray[np.float32], allowed: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities, and labels that the likeliest class equals just where it is allowed."""
    chosen = probabilities.argmax(axis=1)
    right = allowed[np.arange(len(allowed)), chosen] == 1
    return probabilities, np.where(right, chosen, allowed.argmax(axis=1))
