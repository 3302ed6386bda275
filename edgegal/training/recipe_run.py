"""One run of a recipe with one seed: trained, judged, and kept in a folder that a second call takes as it is.

The folder holds what `edgegal.models.artefact` writes, ``predictions.npz`` with the answers on the validation and the
test pictures, and ``run.json``, which is written last and carries the fingerprint of all that the run depends on. A
network of vote fractions is kept without a description, since it is no classifier.

Training goes on in a hidden folder beside it, with its state in ``state`` below (`edgegal.training.fit`), which takes
the place of the folder when the run is whole: until then an earlier run stays as it is.
"""

import hashlib
import io
import json
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgegal.bundle.manifest import ClassifierDescription
from edgegal.errors import InputError
from edgegal.models.artefact import load_network, save_trained, versions
from edgegal.models.challenge import challenge_binary_network, challenge_fraction_network
from edgegal.models.course import two_convolution_network
from edgegal.models.four_convolution import four_convolution_network
from edgegal.models.scratch import scratch_network
from edgegal.models.vgg16 import vgg16_network
from edgegal.preprocess import Preprocess, Stretch
from edgegal.reports import ClassificationResult, RegressionResult, Result
from edgegal.reports.page import write_file
from edgegal.training.augmentation import CHALLENGE, COURSE, THESIS, Augmentation
from edgegal.training.batches import PictureBatches
from edgegal.training.classifier import fit_temperature, predict
from edgegal.training.fit import fit
from edgegal.training.imbalance import balanced_counts, class_weights, rebalanced
from edgegal.training.provenance import provenance
from edgegal.training.recipe import Challenge, FourConvolution, Network, Run, Scratch, Training, TwoConvolution, Vgg16
from edgegal.training.recipe_data import Part, Prepared
from edgegal.training.transfer import start_from, train_only

__all__ = ["Outcome", "Trial", "build_network", "carry_out"]

_RUN, _PREDICTIONS, _STATE = "run.json", "predictions.npz", "state"

_AUGMENTATIONS: Mapping[str, Augmentation] = {"course": COURSE, "thesis": THESIS, "challenge": CHALLENGE}

_OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamax": keras.optimizers.Adamax,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}


@dataclass(frozen=True)
class Trial:
    """A run with one seed, in one fold where there are folds.

    Attributes
    ----------
    run
        What is trained.
    seed
        Seed of initialisation, order, augmentation and re-balancing.
    folder
        Where it is kept.
    fold
        Number of the fold, from 0; None without folds.
    start
        The finished trial whose weights it starts from.
    """

    run: Run
    seed: int
    folder: Path
    fold: int | None = None
    start: "Outcome | None" = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out of a trial.

    Attributes
    ----------
    trial
        The trial.
    validation, test
        The network's answers on both splits.
    trainable
        Weights that training moved; 0 where there was none.
    seconds
        Wall time of training and judging.
    new_head
        Whether the layer that knows the classes was trained anew, since the pretraining had other classes.
    fingerprint
        Of all that the trial depends on.
    """

    trial: Trial
    validation: Result
    test: Result
    trainable: int
    seconds: float
    new_head: bool
    fingerprint: str


class _ClassMeanAUC(keras.metrics.AUC):  # type: ignore[misc]
    """Area under the ROC curve of each class against the rest, averaged; for class indices and probabilities."""

    def __init__(self, classes: int) -> None:
        super().__init__(name="auc", multi_label=True, num_labels=classes)
        self._classes = classes

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch: class indices ``(n,)`` and probabilities ``(n, classes)``."""
        hot = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), self._classes)
        super().update_state(hot, y_pred, sample_weight)


def build_network(network: Network, outputs: int, size: int, fractions: bool) -> keras.Model:
    """The network that a recipe names, with fresh weights.

    Parameters
    ----------
    network
        What to build.
    outputs
        Number of classes, or of vote fractions.
    size
        Input side in pixels.
    fractions
        Whether the outputs are linear estimates of vote fractions.

    Raises
    ------
    InputError
        The network cannot do this.
    MissingPartError
        Its weights cannot be fetched.
    """
    if isinstance(network, Challenge):
        if fractions:
            return challenge_fraction_network(outputs, size, network.grey, network.dropout, network.dense)
        if outputs != 2:
            raise InputError(
                f"the challenge network tells two classes, not {outputs}", "take a scheme of two, or another network"
            )
        return challenge_binary_network(size, network.grey, network.dropout)
    options = network.model_dump(exclude={"kind"})
    builders: Mapping[type[Any], Any] = {
        Scratch: scratch_network,
        Vgg16: vgg16_network,
        TwoConvolution: two_convolution_network,
        FourConvolution: four_convolution_network,
    }
    return builders[type(network)](outputs, size, **options)


def carry_out(trial: Trial, prepared: Prepared) -> Outcome:
    """The outcome of a trial: read from its folder if it is finished there, else trained, or trained to the end.

    Raises
    ------
    InputError
        The network, its training and the pictures do not fit each other, training diverged, or the folder cannot be
        written; what was kept in it stays then.
    MissingPartError
        Weights to start from cannot be fetched.
    """
    fingerprint = _fingerprint(trial, prepared)
    with _writing(trial.folder):
        _put_back(trial.folder)
    kept = _read(trial, prepared, fingerprint, trial.folder)
    if kept is not None:
        return kept
    new = _beside(trial.folder, "new")
    outcome = _read(trial, prepared, fingerprint, new)
    if outcome is None:
        with _writing(new):
            _forget_another(new, fingerprint)
        outcome = _trained(trial, prepared, fingerprint, new)
    with _writing(trial.folder):
        _replace(trial.folder, new)
    return outcome


def _trained(trial: Trial, prepared: Prepared, fingerprint: str, folder: Path) -> Outcome:
    """Train, judge, and write all of it into `folder`."""
    started = time.perf_counter()
    keras.backend.clear_session()
    keras.utils.set_random_seed(trial.seed)
    model, new_head = _starting(trial, prepared)
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    history: dict[str, list[float]] = {}
    if trial.run.training.epochs and trainable:
        history = _fitted(model, trial, prepared, folder / _STATE)
    else:
        trainable = 0
    answers = {split: predict(model, prepared.parts[split].pictures) for split in ("val", "test")}
    description = None if prepared.fractions else _described(model, trial, prepared, answers["val"])
    save_trained(model, description, folder, history)
    document = {
        "fingerprint": fingerprint,
        "name": trial.run.name,
        "seed": trial.seed,
        "fold": trial.fold,
        "estimate": trial.run.data.estimate,
        "parameters": int(model.count_params()),
        "trainable": trainable,
        "new_head": new_head,
        "seconds": round(time.perf_counter() - started, 1),
        "history": history,
    }
    with _writing(folder):
        write_file(folder / _PREDICTIONS, _packed(answers))
        write_file(folder / _RUN, (json.dumps(document, indent=1) + "\n").encode())
    return _outcome(trial, prepared, document, answers)


def _fingerprint(trial: Trial, prepared: Prepared) -> str:
    """Hash of all that a trial depends on."""
    document = {
        "run": trial.run.model_dump(mode="json", exclude={"name", "published"}),
        "seed": trial.seed,
        "fold": trial.fold,
        "pictures": prepared.digest,
        "labels": prepared.scheme.labels,
        "start": trial.start.fingerprint if trial.start else "",
        "versions": versions(),
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f".{folder.name}.{what}")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say what could not be written, and what to do."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written: {error.strerror or error}", "free space there and call again to go on"
        ) from error


def _replace(folder: Path, new: Path) -> None:
    """Put a whole run in the place of an earlier one, which is deleted last."""
    shutil.rmtree(new / _STATE, ignore_errors=True)
    old = _beside(folder, "old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        _put_back(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _put_back(folder: Path) -> None:
    """Give an earlier run its place again, where a call was cut off between taking it away and putting the new."""
    old = _beside(folder, "old")
    if old.exists() and not folder.exists():
        old.rename(folder)


def _forget_another(folder: Path, fingerprint: str) -> None:
    """Make the folder this trial's: what another recipe began in it goes, the state of an interrupted call stays."""
    mark = folder / _STATE / "fingerprint"
    if mark.is_file() and mark.read_text() == fingerprint:
        return
    shutil.rmtree(folder, ignore_errors=True)
    mark.parent.mkdir(parents=True)
    mark.write_text(fingerprint)


def _starting(trial: Trial, prepared: Prepared) -> tuple[keras.Model, bool]:
    """The network before training, and whether its last layer is new on old ones."""
    run = trial.run
    model = build_network(run.network, len(prepared.scheme.labels), run.data.size, prepared.fractions)
    if trial.start is None:
        return model, False
    source = load_network(trial.start.trial.folder)
    copied = start_from(model, source, _answers_alike(trial.start.test, prepared))
    train_only(model, run.tune, head=not copied)
    return model, not copied


def _answers_alike(result: Result, prepared: Prepared) -> bool:
    """Whether a network gives the same classes, or the same vote fractions, in the same order."""
    if isinstance(result, RegressionResult):
        return prepared.fractions and result.outputs == prepared.scheme.labels
    return not prepared.fractions and result.labels == prepared.scheme.labels


def _fitted(model: keras.Model, trial: Trial, prepared: Prepared, state: Path) -> dict[str, list[float]]:
    training, part, held = trial.run.training, prepared.parts["train"], prepared.parts["val"]
    classes = len(prepared.scheme.labels)
    chosen, weights = _balanced(part, training, classes, trial.seed)
    augmentation = _AUGMENTATIONS.get(training.augmentation)
    if augmentation is not None:
        augmentation = augmentation.for_scheme(prepared.scheme.mirror_safe)
    size = trial.run.data.size
    batches = PictureBatches(chosen.pictures, chosen.targets, size, training.batch, trial.seed, augmentation, weights)
    metrics: list[Any] = []
    if not prepared.fractions:
        metrics = ["accuracy", *([_ClassMeanAUC(classes)] if training.monitor == "val_auc" else [])]
    elif training.monitor != "val_loss":
        raise InputError(f"vote fractions have no {training.monitor}", 'take monitor = "val_loss"')
    model.compile(
        _OPTIMIZERS[training.optimizer](training.rate),
        loss={"probabilities": "mse" if prepared.fractions else "sparse_categorical_crossentropy"},
        metrics={"probabilities": metrics},
    )
    return fit(
        model,
        batches,
        PictureBatches(held.pictures, held.targets, size, 128, None),
        epochs=training.epochs,
        state=state,
        monitor=training.monitor,
        mode="min" if training.monitor == "val_loss" else "max",
        best=training.best,
        patience=training.stop_after or None,
        reduce_patience=training.reduce_after or None,
        reduce_factor=training.reduce_by,
    )


def _balanced(part: Part, training: Training, classes: int, seed: int) -> tuple[Part, NDArray[np.float32] | None]:
    """The pictures to train with and their weights in the loss."""
    if training.imbalance == "none":
        return part, None
    labels = part.classes
    if part.targets.ndim != 1:
        raise InputError(f"vote fractions have no classes to balance: imbalance is {training.imbalance!r}")
    if training.imbalance == "weights":
        return part, class_weights(labels, classes, 1.0)[labels]
    if training.imbalance == "rebalanced":
        return part.select(rebalanced(labels, balanced_counts(labels, classes, 1.0), seed)), None
    half = part.select(rebalanced(labels, balanced_counts(labels, classes, 0.5), seed))
    return half, class_weights(half.classes, classes, 1.0)[half.classes]


def _described(
    model: keras.Model, trial: Trial, prepared: Prepared, validated: NDArray[np.float32]
) -> ClassifierDescription:
    run, part = trial.run, prepared.parts["train"]
    where = "train" if trial.fold is None else f"fold {trial.fold + 1}"
    sources = [f"{run.data.set} ({where}, n={len(part.ids)})"]
    if trial.start is not None:
        sources.append(f"weights of {trial.start.trial.run.name}, {trial.start.trial.run.data.set}")
    return ClassifierDescription(
        labels=prepared.scheme.labels,
        scheme=prepared.scheme.name,
        preprocess=Preprocess(run.data.size, run.data.size, Stretch(), prepared.crop_scale),
        temperature=fit_temperature(validated, prepared.parts["val"].classes),
        provenance=provenance(f"{run.name}: {run.network.kind}", model, [prepared.source], sources, trial.seed),
    )


def _packed(answers: Mapping[str, NDArray[np.float32]]) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, val=answers["val"], test=answers["test"])
    return content.getvalue()


def _read(trial: Trial, prepared: Prepared, fingerprint: str, folder: Path) -> Outcome | None:
    """What a finished trial left in `folder`, None when it is another's, unfinished or damaged."""
    try:
        document = json.loads((folder / _RUN).read_bytes())
        if document["fingerprint"] != fingerprint:
            return None
        with np.load(folder / _PREDICTIONS, allow_pickle=False) as file:
            answers = {split: file[split] for split in ("val", "test")}
        return _outcome(trial, prepared, document, answers)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _outcome(
    trial: Trial, prepared: Prepared, document: Mapping[str, Any], answers: Mapping[str, NDArray[np.float32]]
) -> Outcome:
    return Outcome(
        trial,
        validation=_result(trial, prepared, "val", document, answers["val"]),
        test=_result(trial, prepared, "test", document, answers["test"]),
        trainable=int(document["trainable"]),
        seconds=float(document["seconds"]),
        new_head=bool(document["new_head"]),
        fingerprint=str(document["fingerprint"]),
    )


def _result(
    trial: Trial, prepared: Prepared, split: str, document: Mapping[str, Any], answers: NDArray[np.float32]
) -> Result:
    part = prepared.parts[split]
    common: dict[str, Any] = {
        "name": trial.run.name if trial.fold is None else f"{trial.run.name}, fold {trial.fold + 1}",
        "ids": part.ids,
        "seed": trial.seed,
        "dataset": trial.run.data.set,
        "split": split if trial.fold is None else f"{split} of fold {trial.fold + 1}",
        "dataset_sha256": prepared.digest,
        "history": document["history"] or None,
        "parameters": int(document["parameters"]),
    }
    if prepared.fractions:
        truth = part.targets.astype(np.float32)
        return RegressionResult(outputs=prepared.scheme.labels, truth=truth, predicted=answers, **common)
    return ClassificationResult(labels=prepared.scheme.labels, truth=part.classes, probabilities=answers, **common)
