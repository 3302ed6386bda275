"""A resumable Bayesian search (Keras Tuner) for the course project's compact classifier.

The folder of a search holds ``search.json`` (what every trial has in common), ``oracle/`` (Keras Tuner's own state and
the best weights of each trial), ``trials.json`` (what came out) and ``best/`` (the best network, trained, as
`edgegal.models.artefact` writes it). The same call on the same folder goes on where the last one stopped, and a larger
number of trials extends it. A trial depends on the seed and its number alone, so an interrupted search proposes and
trains what an uninterrupted one would have.
"""

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
from numpy.typing import NDArray

from edgegal.bundle.manifest import ClassifierDescription
from edgegal.data import PictureSet
from edgegal.data.framing import CROP_SCALE, framed
from edgegal.errors import DatasetError, GateFailedError, InputError
from edgegal.models.artefact import save_trained
from edgegal.preprocess import Preprocess
from edgegal.training.classifier import fit_temperature, predict
from edgegal.training.provenance import provenance
from edgegal.tuner import space
from edgegal.tuner.objective import network_cost, penalty
from edgegal.tuner.trials import Trial, best_trial, kept_numbers, mark_front, trial_from

__all__ = ["Epoch", "SearchResult", "SearchSettings", "search"]

_SEARCH, _TRIALS, _BEST, _ORACLE = "search.json", "trials.json", "best", "oracle"
_WEIGHTS, _HISTORY = "best.weights.h5", "history.json"


@dataclass(frozen=True)
class SearchSettings:
    """What a search does. Defaults are the course project's where it states them.

    Attributes
    ----------
    trials
        Networks to try in all, those of earlier calls on the same folder included.
    epochs, patience
        Longest training, and epochs without a better validation loss that end it.
    batch_size
        Pictures a step.
    size
        Input side in pixels.
    learning_rate
        Of RMSprop; the published 1e-5 wants its 40 epochs.
    random_trials
        Trials drawn at random before the Gaussian process proposes; Keras Tuner itself takes three a dimension, 18.
    crop_scale
        Side of the pictures over the longer side of their galaxies' boxes: what the device has to cut.
    seed
        Of proposals, initial weights, dropout and order of pictures.
    max_parameters
        Networks with more are not trained and score badly; None for no limit.
    """

    trials: int = 10
    epochs: int = 40
    patience: int = 2
    batch_size: int = 64
    size: int = space.PUBLISHED_SIZE
    learning_rate: float = 1e-5
    random_trials: int = 5
    crop_scale: float = CROP_SCALE
    seed: int = 0
    max_parameters: int | None = None

    def __post_init__(self) -> None:
        for name in ("trials", "epochs", "patience", "batch_size", "random_trials"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.size < 16:
            raise InputError(f"size must be at least 16 pixels, not {self.size}")
        for name in ("learning_rate", "crop_scale"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"{name} must be a number above 0, not {getattr(self, name)}")
        if self.seed < 0:
            raise InputError(f"seed must not be negative, but is {self.seed}")


@dataclass(frozen=True)
class SearchResult:
    """All trials of a folder, in order, and the best.

    Attributes
    ----------
    trials
        Finished trials.
    best
        The trained one with the least validation loss, whose network stands in `folder`.
    folder
        Trained network, ready for `edgegal export`.
    """

    trials: tuple[Trial, ...]
    best: Trial
    folder: Path


@dataclass(frozen=True)
class Epoch:
    """Progress: one epoch of one trial is over."""

    trial: int
    epoch: int
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True)
class _Arrays:
    """Pictures ``(n, size, size, 3)`` uint8 RGB and labels ``(n,)`` int32 to train with and to judge by."""

    train_pictures: NDArray[np.uint8]
    train_labels: NDArray[np.int32]
    val_pictures: NDArray[np.uint8]
    val_labels: NDArray[np.int32]


def search(
    pictures: PictureSet,
    settings: SearchSettings,
    out: Path,
    report: Callable[[Epoch], None] = lambda epoch: None,
) -> SearchResult:
    """Search, or go on searching, in the folder `out`.

    Parameters
    ----------
    pictures
        Labelled pictures with a train and a val split.
    settings
        What to do.
    out
        Made when absent. Refused when it holds a search of other settings or pictures.
    report
        Called after every epoch.

    Raises
    ------
    InputError
        `out` holds something else, or no network of the space fits the limit.
    DatasetError
        A split is empty.
    GateFailedError
        No trial gave a usable network.
    """
    _check_limit(settings, len(pictures.scheme.labels))
    common = _common(pictures, settings)
    _claim(out, common)
    arrays = _arrays(pictures, settings.size, settings.crop_scale)
    with _stdout_to_stderr():
        tuner = _Tuner(settings, common, arrays, pictures, out, report)
        tuner.save()
        try:
            tuner.search()
        except keras_tuner.errors.FatalError as error:
            raise error.__cause__ or error from None
    trials = tuner.finished()
    best = best_trial(trials)
    if best is None:
        raise GateFailedError(
            f"none of {len(trials)} trials in {out} gave a usable network: "
            + ", ".join(sorted({t.status for t in trials})),
            "continue with a larger --trials, or search elsewhere with other settings",
        )
    return SearchResult(trials, best, out / _BEST)


def _check_limit(settings: SearchSettings, classes: int) -> None:
    if settings.max_parameters is None:
        return
    least = network_cost(space.network(space.smallest(), classes, settings.size)).parameters
    if least > settings.max_parameters:
        raise InputError(
            f"no network of the space has {settings.max_parameters:,} parameters or fewer",
            f"the smallest has {least:,} at {settings.size} pixels: raise --max-parameters or lower --size",
        )


def _common(pictures: PictureSet, settings: SearchSettings) -> dict[str, Any]:
    """What all trials of a folder must share to be comparable."""
    shared = asdict(settings)
    del shared["trials"]
    return {
        "data": pictures.name,
        "scheme": pictures.scheme.name,
        "data_sha256": pictures.digest(),
        "optimizer": "RMSprop",
        "objective": "val_loss",
        **shared,
    }


def _claim(out: Path, common: dict[str, Any]) -> None:
    """Make `out` the folder of this search, or check that it already is."""
    path = out / _SEARCH
    if path.is_file():
        try:
            before = json.loads(path.read_bytes())
        except ValueError as error:
            raise InputError(f"{path} is damaged: {error}", "give another --out") from error
        changed = [name for name in common if before.get(name) != common[name]]
        if changed:
            name = changed[0]
            raise InputError(
                f"{out} holds a search with {name} {before.get(name)}, not {common[name]}",
                "trials of different settings do not compare: give another --out",
            )
        return
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty and holds no search", "give another --out")
    out.mkdir(parents=True, exist_ok=True)
    _write_json(path, common)


def _write_json(path: Path, document: object) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(document, indent=1) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _arrays(pictures: PictureSet, size: int, crop_scale: float) -> _Arrays:
    parts: list[Any] = []
    for split in ("train", "val"):
        part = pictures.subset(split)
        if not len(part):
            raise DatasetError(
                f"{pictures.name} has no labelled pictures in its {split} split", f"assign some to the split {split}"
            )
        part, pixels = part.read()
        parts += [framed(pixels, crop_scale, size), part.labels]
    return _Arrays(*parts)


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Keras Tuner prints what it does; standard output belongs to the result."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


class _Oracle(keras_tuner.oracles.BayesianOptimizationOracle):  # type: ignore[misc]
    """The Bayesian oracle, with proposals that depend on its saved state alone and do not repeat themselves."""

    trials: dict[str, Any]

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        # Keras Tuner does not save this generator: drawn from the trial's number, a resumed search goes the same way.
        self._random_state = np.random.RandomState(self.seed + len(self.trials))
        proposal: dict[str, Any] = super().populate_space(trial_id)
        if proposal.get("values") and self._duplicate(proposal["values"]):
            # The process's optimum may be a point already tried, which teaches nothing.
            proposal = self._random_populate_space()
        return proposal

    def reload(self) -> None:
        super().reload()
        # Trials come back in the order of a directory listing; the process's arithmetic depends on theirs.
        self.trials = dict(sorted(self.trials.items(), key=lambda item: int(item[0])))


class _Tuner(keras_tuner.Tuner):  # type: ignore[misc]
    """Builds, costs, trains and keeps the networks the oracle proposes."""

    def __init__(
        self,
        settings: SearchSettings,
        common: dict[str, Any],
        arrays: _Arrays,
        pictures: PictureSet,
        out: Path,
        report: Callable[[Epoch], None],
    ) -> None:
        self._settings = settings
        self._common = common
        self._arrays = arrays
        self._pictures = pictures
        self._out = out
        self._report = report
        oracle = _Oracle(
            objective=keras_tuner.Objective("val_loss", "min"),
            max_trials=settings.trials,
            num_initial_points=settings.random_trials,
            # Keras Tuner takes 0 for "no seed".
            seed=settings.seed + 1,
            hyperparameters=space.hyperparameters(),
            allow_new_entries=False,
            tune_new_entries=False,
        )
        try:
            super().__init__(oracle, directory=str(out), project_name=_ORACLE, overwrite=False)
        except (ValueError, KeyError, RuntimeError) as error:
            raise InputError(f"{out / _ORACLE} is damaged: {error}", "give another --out") from error
        self.oracle.verbose = 0

    def _build(self, values: Any) -> keras.Model:
        return space.network(values, len(self._pictures.scheme.labels), self._settings.size)

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """One trial; what it returns is kept by the oracle as the trial's metrics."""
        try:
            return self._run(trial)
        except Exception as error:
            # Keras Tuner would note any defect as a failed trial and try the next.
            raise keras_tuner.errors.FatalRuntimeError(f"trial {trial.trial_id}: {error}") from error

    def _run(self, trial: Any) -> dict[str, float]:
        settings, started = self._settings, time.perf_counter()
        keras.backend.clear_session()
        keras.utils.set_random_seed(settings.seed + int(trial.trial_id))
        model = self._build(trial.hyperparameters)
        cost = network_cost(model)
        unusable = penalty(len(self._pictures.scheme.labels), cost.parameters, settings.max_parameters)
        if settings.max_parameters is not None and cost.parameters > settings.max_parameters:
            return kept_numbers("too large", unusable, 0.0, cost, time.perf_counter() - started, 0)
        history = self._fit(model, int(trial.trial_id))
        epochs = len(history["val_loss"])
        losses = history["val_loss"]
        if not np.isfinite(losses).any():
            return kept_numbers("diverged", unusable, 0.0, cost, time.perf_counter() - started, epochs)
        best = int(np.nanargmin(losses))
        self._keep(trial, model, history)
        seconds = time.perf_counter() - started
        return kept_numbers("trained", losses[best], history["val_accuracy"][best], cost, seconds, epochs)

    def _fit(self, model: keras.Model, number: int) -> dict[str, list[float]]:
        settings, arrays = self._settings, self._arrays
        model.compile(
            optimizer=keras.optimizers.RMSprop(settings.learning_rate),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )

        def told(epoch: int, logs: dict[str, float]) -> None:
            self._report(Epoch(number, epoch, float(logs["val_loss"]), float(logs["val_accuracy"])))

        history = model.fit(
            arrays.train_pictures,
            arrays.train_labels,
            validation_data=(arrays.val_pictures, arrays.val_labels),
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            verbose=0,
            callbacks=[
                keras.callbacks.TerminateOnNaN(),
                keras.callbacks.EarlyStopping("val_loss", patience=settings.patience, restore_best_weights=True),
                keras.callbacks.LambdaCallback(on_epoch_end=told),
            ],
        )
        return {name: [float(v) for v in column] for name, column in history.history.items()}

    def _keep(self, trial: Any, model: keras.Model, history: dict[str, list[float]]) -> None:
        folder = Path(self.get_trial_dir(trial.trial_id))
        # Keras decides by the ending.
        temporary = folder / f".{os.getpid()}.{_WEIGHTS}"
        try:
            model.save_weights(temporary)
            temporary.replace(folder / _WEIGHTS)
        finally:
            temporary.unlink(missing_ok=True)
        _write_json(folder / _HISTORY, history)

    def on_trial_end(self, trial: Any) -> None:
        """Save the oracle's state, then what users read: an interrupted search leaves both behind."""
        super().on_trial_end(trial)
        trials = self.finished()
        best = best_trial(trials)
        if best is not None and best.number == int(trial.trial_id):
            self._publish(trial, best)
        document = {
            "search": self._common,
            "best": best.number if best else None,
            "trials": [asdict(t) for t in trials],
        }
        _write_json(self._out / _TRIALS, document)

    def _publish(self, trial: Any, best: Trial) -> None:
        """Write the best network so far where `edgegal export` finds it."""
        folder = Path(self.get_trial_dir(trial.trial_id))
        model = self._build(trial.hyperparameters)
        model.load_weights(folder / _WEIGHTS)
        size = self._settings.size
        description = ClassifierDescription(
            labels=self._pictures.scheme.labels,
            scheme=self._pictures.scheme.name,
            preprocess=Preprocess(size, size, crop_scale=self._settings.crop_scale),
            temperature=fit_temperature(predict(model, self._arrays.val_pictures), self._arrays.val_labels),
            provenance=provenance(
                f"two-convolution CNN, {size} px, Bayesian search",
                model,
                [self._pictures],
                (f"{self._pictures.name} (train, n={len(self._arrays.train_labels)})",),
                self._settings.seed,
            ),
        )
        save_trained(model, description, self._out / _BEST, json.loads((folder / _HISTORY).read_bytes()))

    def finished(self) -> tuple[Trial, ...]:
        """Trials that came to an end, in order, the Pareto front marked."""
        done = [t for t in self.oracle.trials.values() if t.status == "COMPLETED"]
        return mark_front(trial_from(int(t.trial_id), t.hyperparameters.values, t.metrics.get_last_value) for t in done)
