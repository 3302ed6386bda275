"""Training of a compiled model that can be interrupted anywhere and ends as if it had not been."""

import hashlib
import io
import json
import logging
import math
import os
import sys
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, product
from pathlib import Path
from typing import Any, Literal, NoReturn

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from edgegal.errors import DatasetError, InputError
from edgegal.models.artefact import versions
from edgegal.training.batches import EpochBatches, digest

__all__ = ["fit"]

_LOG = logging.getLogger(__name__)

_STATE = "state.npz"
_PREPARED = 2
"""Batches made ahead while a step runs: the machine is kept busy, and little is thrown away at an interruption."""

_EVALUATED = 128
"""Pictures a batch in validation, where nothing has to be kept for gradients."""


def fit(
    model: Any,
    batches: EpochBatches,
    validation: Any = None,
    *,
    epochs: int,
    state: Path | None = None,
    monitor: str = "val_loss",
    mode: Literal["auto", "min", "max"] = "auto",
    best: bool = False,
    patience: int | None = None,
    reduce_patience: int | None = None,
    reduce_factor: float = 0.1,
    callbacks: Sequence[Any] = (),
) -> dict[str, list[float]]:
    """Train a compiled model in place.

    An averaging optimizer (`edgegal.training.schedule.averaged_adamw`) leaves its averages in the model, unless the
    best weights are asked for: those are the weights that were scored, which are not averages.

    Parameters
    ----------
    model
        A built and freshly compiled Keras model.
    batches
        What it is trained on.
    validation
        What it is scored on after each epoch: arrays ``(pictures, targets)``, a Keras dataset, or nothing.
    epochs
        Passes over the batches.
    state
        Folder in which everything that training depends on is kept after each epoch, through a temporary name. When it
        holds a state, training goes on from there and ends with the same weights and log, bit by bit, as if it had not
        been interrupted. It is left in place at the end. Further `callbacks` keep no state.
    monitor
        Column of the training log that `best`, `patience` and `reduce_patience` look at.
    mode
        Whether small or great values of it are better; ``auto`` knows the usual ones.
    best
        Leave the weights of the best epoch in the model.
    patience
        Epochs without improvement after which training stops.
    reduce_patience
        Epochs without improvement after which the learning rate is multiplied by `reduce_factor`; for optimizers
        with a fixed learning rate.
    reduce_factor
        See there.
    callbacks
        Further Keras callbacks.

    Returns
    -------
    dict
        Columns of the training log, one value an epoch, from the first on.

    Raises
    ------
    InputError
        The loss is no number, `state` belongs to another training or is damaged, or it cannot be written; in the last
        case, and when the loss is no number, it holds the last good epoch.
    DatasetError
        Validation arrays are empty or not finite.
    """
    _check_validation(validation)
    if reduce_patience is not None and not _settable(model.optimizer):
        raise InputError(
            "the learning rate follows a schedule and cannot be reduced on a plateau",
            "give the optimizer a number, or leave reduce_patience out",
        )
    kept = []
    if best or patience is not None:
        patience = sys.maxsize if patience is None else patience
        kept.append(keras.callbacks.EarlyStopping(monitor, patience=patience, mode=mode, restore_best_weights=best))
    if reduce_patience is not None:
        kept.append(keras.callbacks.ReduceLROnPlateau(monitor, reduce_factor, reduce_patience, mode=mode, min_delta=0))
    checkpoint = None if state is None else _Checkpoint(state, _fingerprint(model, batches, validation, monitor, kept))
    log = _Log(kept, monitor if kept else None, checkpoint)
    first = log.resume(model, epochs)
    model.fit(
        _stream(batches, first, epochs),
        validation_data=validation,
        validation_batch_size=None if isinstance(validation, keras.utils.PyDataset) else _EVALUATED,
        steps_per_epoch=len(batches),
        initial_epoch=first,
        epochs=epochs,
        verbose=2,
        shuffle=False,  # The batches are shuffled already.
        # The order matters: a loss that is no number stops everything, and the state is written when all have seen it.
        callbacks=[_Divergence(state), *kept, *callbacks, log],
    )
    _part_from_averages(model)
    return log.history


def _part_from_averages(model: Any) -> None:
    """Give the weights memory of their own.

    On JAX they share that of the optimizer's averages after training, and the first prediction gives it away: the model
    could then predict, but not be saved.
    """
    for variable in model.trainable_variables:
        variable.assign(ops.copy(variable))


def _stream(batches: EpochBatches, first: int, epochs: int) -> Iterator[tuple[Any, ...]]:
    """All batches from epoch `first` to the last, prepared by one thread while the network trains."""
    # Keras looks at a batch even when nothing is left to train.
    places = iter(product(range(first, max(epochs, first + 1)), range(len(batches))))
    with ThreadPoolExecutor(1) as thread:
        prepared = deque(thread.submit(batches.batch, *place) for place in islice(places, _PREPARED))
        while prepared:
            ready = prepared.popleft().result()
            prepared.extend(thread.submit(batches.batch, *place) for place in islice(places, 1))
            yield ready


class _Divergence(keras.callbacks.Callback):  # type: ignore[misc]
    """Stops at the first step after which the loss is no number, or the epoch after which a weight is none."""

    async_safe = True  # A step only reads, so that the next one need not wait for it.

    def __init__(self, state: Path | None) -> None:
        super().__init__()
        self._epoch, self._state = 0, state

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            self._stop(f"the loss is {loss}")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.on_train_batch_end(-1, logs)
        if not all(np.isfinite(weights).all() for weights in self.model.get_weights()):
            self._stop("weights are no numbers")

    def _stop(self, what: str) -> NoReturn:
        mend = "try a learning rate a third as high, and look for pictures or targets that are no numbers"
        if self._state is not None and self._epoch:
            mend += f"; {self._state} holds the state after epoch {self._epoch}"
        raise InputError(f"{what} in epoch {self._epoch + 1}: training has diverged", mend)


class _Log(keras.callbacks.Callback):  # type: ignore[misc]
    """The history from the first epoch on, interruptions or not, and what is needed to go on after each epoch."""

    def __init__(self, kept: Sequence[Any], monitor: str | None, checkpoint: "_Checkpoint | None") -> None:
        super().__init__()
        self.history: dict[str, list[float]] = {}
        self._kept, self._monitor, self._checkpoint = kept, monitor, checkpoint
        self._read: dict[str, Any] = {}
        self._best_weights: list[list[NDArray[Any]]] = []

    def resume(self, model: Any, epochs: int) -> int:
        """Put the state that was kept into the model; the epoch to go on with."""
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        found = None if self._checkpoint is None else self._checkpoint.read()
        if found is None:
            return 0
        self._read, arrays = found
        variables = [*model.variables, *model.optimizer.variables]
        for variable, value in zip(variables, arrays, strict=False):
            variable.assign(value)
        rest = iter(arrays[len(variables) :])
        self._best_weights = [[next(rest) for _ in range(count)] for count in self._read["best_weights"]]
        self.history = self._read["history"]
        epoch = int(self._read["epoch"])
        if epoch > epochs:
            raise InputError(f"{self._checkpoint} is after epoch {epoch}, past the last", f"train {epoch} epochs")
        _LOG.warning("going on after epoch %d of %d", epoch, epochs)
        return epochs if self._read["stopped"] else epoch

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Give the callbacks back what they knew; they have just forgotten it."""
        for callback, values in zip(self._kept, self._read.get("callbacks", ()), strict=False):
            vars(callback).update(values)
        for callback, weights in zip(self._kept, self._best_weights, strict=False):
            if weights:
                callback.best_weights = weights
        if self._checkpoint is not None and not self._read:
            # What cannot be written shows before the work.
            self._checkpoint.write(*self._state(0))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Write the row of the log, then the state."""
        logs = logs or {}
        if self._monitor is not None and self._monitor not in logs:
            raise InputError(
                f"the training log has no column {self._monitor!r} to watch", f"use one of: {', '.join(logs)}"
            )
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        if self._checkpoint is not None:
            self._checkpoint.write(*self._state(epoch + 1))

    def _state(self, epoch: int) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        best_weights = [list(getattr(c, "best_weights", None) or ()) for c in self._kept]
        values = {
            "epoch": epoch,
            "stopped": bool(self.model.stop_training),
            "history": self.history,
            "callbacks": [_known(callback) for callback in self._kept],
            "best_weights": [len(weights) for weights in best_weights],
        }
        variables = [*self.model.variables, *self.model.optimizer.variables]
        return values, [*map(ops.convert_to_numpy, variables), *(w for weights in best_weights for w in weights)]


def _known(callback: Any) -> dict[str, Any]:
    """What a callback of Keras has learnt so far."""
    names = ("best", "best_epoch", "wait", "stopped_epoch", "cooldown_counter")
    known = {name: getattr(callback, name) for name in names if hasattr(callback, name)}
    return {
        name: None if value is None else float(value) if name == "best" else int(value) for name, value in known.items()
    }


class _Checkpoint:
    """One file in a folder: numbers and arrays after the last whole epoch."""

    def __init__(self, folder: Path, fingerprint: Mapping[str, str]) -> None:
        self._folder, self._path, self._fingerprint = folder, folder / _STATE, dict(fingerprint)

    def __str__(self) -> str:
        return str(self._path)

    def read(self) -> tuple[dict[str, Any], list[NDArray[Any]]] | None:
        """What was written last, None when nothing was."""
        try:
            with np.load(self._path, allow_pickle=False) as file:
                text, *arrays = (file[name] for name in file.files)
            values = json.loads(str(text))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{self._path} is damaged: {error}", "delete it to train from the start") from error
        theirs = values.pop("fingerprint")
        other = [name for name, value in self._fingerprint.items() if theirs.get(name) != value]
        if other:
            raise InputError(
                f"{self._path} is the state of another training: {', '.join(other)} differ",
                f"train as before to go on with it, or delete {self._folder} to train from the start",
            )
        return values, arrays

    def write(self, values: Mapping[str, Any], arrays: Sequence[NDArray[Any]]) -> None:
        """Replace what was written last; when that fails, on a full disk say, it stays."""
        temporary = self._folder / f".{_STATE}"
        text = json.dumps({**values, "fingerprint": self._fingerprint})
        content = io.BytesIO()
        np.savez(content, np.array(text), *arrays)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    file.write(content.getbuffer())
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self._path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            epoch = values["epoch"]
            raise InputError(
                f"{self._path} cannot be written {f'after epoch {epoch}' if epoch else 'at all'}: "
                f"{error.strerror or error}",
                f"it holds epoch {epoch - 1}: free space there and train again to go on"
                if epoch
                else "free space there, or choose another folder",
            ) from error


def _fingerprint(
    model: Any, batches: EpochBatches, validation: Any, monitor: str, kept: Sequence[Any]
) -> dict[str, str]:
    """What a training depends on, by name: a state goes on only where all of it is the same."""
    watched = [(type(c).__name__, monitor, c.mode, c.patience, getattr(c, "factor", None)) for c in kept]
    parts = {
        "pictures": batches.fingerprint(),
        "validation": _data_digest(validation),
        "network": _nameless(model.get_config()),
        "first weights": digest(map(ops.convert_to_numpy, model.variables)),
        "optimizer and loss": _nameless(model.get_compile_config()),
        "watching": repr(watched),
        "versions": repr(versions()),
    }
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in parts.items()}


def _data_digest(data: Any) -> str:
    return data.fingerprint() if isinstance(data, EpochBatches) else digest(map(np.asarray, keras.tree.flatten(data)))


def _nameless(config: Any) -> str:
    """A Keras configuration as text, without the names that Keras numbers by what else the process has built."""
    order: dict[str, str] = {}

    def collect(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("name"), str):
                order.setdefault(node["name"], f"#{len(order)}")
            for value in node.values():
                collect(value)
        elif isinstance(node, (list, tuple)):
            for value in node:
                collect(value)

    def renamed(node: Any) -> Any:
        if isinstance(node, dict):
            return {str(k): renamed(v) for k, v in node.items()}
        if isinstance(node, (list, tuple)):
            return [renamed(v) for v in node]
        return order.get(node, node) if isinstance(node, str) else node

    collect(config)
    return json.dumps(renamed(config), sort_keys=True, default=lambda value: type(value).__qualname__)


def _check_validation(validation: Any) -> None:
    if validation is None or isinstance(validation, keras.utils.PyDataset):
        return
    for array in map(np.asarray, keras.tree.flatten(validation)):
        if not len(array):
            raise DatasetError("no pictures to validate with")
        bad = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
        if len(bad):
            raise DatasetError(
                f"{len(bad)} of {len(array)} rows for validation are not finite, first row {bad[0]}",
                "leave those pictures out",
            )


def _settable(optimizer: Any) -> bool:
    """Whether the learning rate is a number that can be changed, not a schedule."""
    return not isinstance(optimizer.get_config()["learning_rate"], dict)
