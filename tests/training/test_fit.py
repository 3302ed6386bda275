"""Training that is interrupted ends as if it had not been, on both backends; and what stops a training.

Run as a program, this file trains on the backend that ``KERAS_BACKEND`` names: see `main`.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.host

keras = pytest.importorskip("keras", reason="training needs the host environment")

from edgegal.errors import DatasetError, InputError  # noqa: E402
from edgegal.models.classifier import separable_network  # noqa: E402
from edgegal.training.augmentation import Augmentation  # noqa: E402
from edgegal.training.batches import PictureBatches  # noqa: E402
from edgegal.training.fit import fit  # noqa: E402
from edgegal.training.schedule import averaged_adamw  # noqa: E402

EPOCHS, STEPS, BATCH = 7, 4, 8


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with class indices: nothing to learn, so that scores go up and down and every patience runs out."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 24, 24, 3), np.uint8), rng.integers(0, 3, count).astype(np.int32)


def network(optimizer: Any) -> Any:
    """A compiled network with everything that has a state: batch norm, dropout, and whatever the optimizer keeps."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(4, 3, strides=2, use_bias=False)(layers.Rescaling(1 / 255)(image))
    x = layers.Dropout(0.4)(layers.ReLU()(layers.BatchNormalization()(x)))
    out = layers.Dense(3, activation="softmax", name="probabilities")(layers.Flatten()(x))
    model = keras.Model(image, {"probabilities": out})
    model.compile(optimizer, loss={"probabilities": "sparse_categorical_crossentropy"})
    return model


def averaged() -> Any:
    return network(averaged_adamw(0.03, 1e-3, EPOCHS * STEPS))


def fixed_rate() -> Any:
    return network(keras.optimizers.AdamW(0.03, use_ema=True, ema_momentum=0.8))


VARIED = Augmentation(rotation=180, shift=(0.1, 0.1), flip_horizontal=True, noise=6)
AVERAGED, PATIENT = "averaged weights", "best weights, early stopping, plateau"
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    AVERAGED: (averaged, {}),
    PATIENT: (
        fixed_rate,
        {"monitor": "loss", "best": True, "patience": 3, "reduce_patience": 1, "reduce_factor": 0.5},
    ),
}


def train(
    case: str, state: Path | None = None, callbacks: Sequence[Any] = (), seed: int = 3, **changed: Any
) -> tuple[list[Any], dict[str, list[float]]]:
    """Weights and log of a case, whether trained at once or gone on with."""
    build, settings = CASES[case]
    model = build()
    batches = PictureBatches(*pictures(BATCH * STEPS + 3, 0), 16, BATCH, seed, VARIED)
    held = PictureBatches(*pictures(20, 1), 16, BATCH, None)
    log = fit(model, batches, held, state=state, callbacks=callbacks, **{"epochs": EPOCHS, **settings, **changed})
    return [keras.ops.convert_to_numpy(v) for v in [*model.variables, *model.optimizer.variables]], log


class At(keras.callbacks.Callback):  # type: ignore[misc]
    """Does something in the middle of an epoch, or when it ends but for the writing of its state."""

    def __init__(self, epoch: int, deed: Callable[[Any], None], batch: int | None = 2) -> None:
        super().__init__()
        self._at, self._deed, self._batch = epoch, deed, batch
        self._epoch = -1

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if (self._epoch, batch) == (self._at, self._batch):
            self._deed(self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch, None) == (self._at, self._batch):
            self._deed(self.model)


def ctrl_c(model: Any) -> None:
    raise KeyboardInterrupt


def kill(model: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def assert_same(one: tuple[list[Any], Any], other: tuple[list[Any], Any]) -> None:
    assert one[1] == other[1]
    for a, b in zip(one[0], other[0], strict=True):
        np.testing.assert_array_equal(a, b)


def assert_epochs_kept(count: int, folder: Path, whole: Any) -> None:
    """The state in `folder` is that of the averaged case after so many epochs."""
    weights, log = train(AVERAGED, folder, epochs=count)
    assert log == {name: values[:count] for name, values in whole[AVERAGED][1].items()}
    assert all(np.isfinite(w).all() for w in weights)


def trained_plainly() -> list[float]:
    """Losses of a small network of the models' room, from weights and batches that every backend has alike."""
    model = separable_network(3, 32, widths=(8, 16), repeats=1, dropout=0.0)
    rng = np.random.default_rng(8)
    model.set_weights(
        [w + rng.normal(0, 0.05, w.shape) * (w.ndim > 1) for w in map(np.zeros_like, model.get_weights())]
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([np.ones_like(w) if i in (0, 3) else w for i, w in enumerate(layer.get_weights())])
    model.compile(keras.optimizers.SGD(0.05), loss={"probabilities": "sparse_categorical_crossentropy"})
    log = fit(model, PictureBatches(*pictures(BATCH * STEPS, 2), 32, BATCH, 5, VARIED), epochs=2)
    return log["loss"]


def run(how: str, folder: Path, backend: str) -> subprocess.CompletedProcess[str]:
    # Compiling takes longest, so the programs of one test share what they compile.
    compiled = {"JAX_COMPILATION_CACHE_DIR": str(folder / "jax"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    environment = {**os.environ, **compiled, "KERAS_BACKEND": backend}
    return subprocess.run(
        [sys.executable, __file__, how, str(folder)], env=environment, capture_output=True, text=True, check=False
    )


def main(how: str, folder: Path) -> None:
    """``killed``: train with a state in `folder` and die. ``checked``: go on there and compare with a training
    at once; the last line is the backend and the losses of `trained_plainly`."""
    if how == "killed":
        train(PATIENT, folder, [At(2, kill)])
    assert_same(train(PATIENT, folder), train(PATIENT))
    sys.stdout.write(json.dumps([keras.backend.backend(), trained_plainly()]) + "\n")


@pytest.fixture(scope="module")
def whole() -> dict[str, tuple[list[Any], dict[str, list[float]]]]:
    """Each case trained without interruption, and without keeping a state."""
    return {case: train(case) for case in CASES}


def test_a_training_interrupted_twice_ends_like_an_uninterrupted_one(whole: Any, tmp_path: Path) -> None:
    for epoch in (0, 3):
        with pytest.raises(KeyboardInterrupt):
            train(AVERAGED, tmp_path, [At(epoch, ctrl_c)])
    assert_same(train(AVERAGED, tmp_path), whole[AVERAGED])


def test_the_case_with_patience_runs_out_of_it(whole: Any) -> None:
    """Else the test above would not see what it is to see."""
    log = whole[PATIENT][1]
    assert len(log["loss"]) < EPOCHS
    assert log["learning_rate"][-1] < log["learning_rate"][0]


def test_a_killed_training_ends_like_an_uninterrupted_one(whole: Any, tmp_path: Path) -> None:
    killed = run("killed", tmp_path, "tensorflow")
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    log: dict[str, Any] = {}
    last = train(PATIENT, tmp_path, [At(2, lambda model: log.update(gone_on=True))])
    assert log == {"gone_on": True}
    assert_same(last, whole[PATIENT])
    # What is finished stays so.
    assert_same(train(PATIENT, tmp_path), whole[PATIENT])


@pytest.mark.slow
def test_on_jax_all_is_the_same(tmp_path: Path) -> None:
    """A training that was killed, and the losses of a network trained on both backends."""
    killed = run("killed", tmp_path, "jax")
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    done = run("checked", tmp_path, "jax")
    assert done.returncode == 0, done.stderr[-2000:]
    backend, losses = json.loads(done.stdout.splitlines()[-1])
    assert backend == "jax"
    assert len(losses) == 2
    np.testing.assert_allclose(losses, trained_plainly(), rtol=1e-3)


def test_on_a_full_disk_the_last_good_state_survives(whole: Any, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(model: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))

    try:
        with pytest.raises(InputError, match=r"state\.npz cannot be written after epoch 3") as raised:
            train(AVERAGED, tmp_path, [At(2, fill, batch=None)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "holds epoch 2" in raised.value.mend
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]
    assert_epochs_kept(2, tmp_path, whole)


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file/state\.npz cannot be written at all") as raised:
        train(AVERAGED, tmp_path / "file", epochs=1)
    assert "holds epoch" not in raised.value.mend


@pytest.mark.parametrize(("batch", "what"), [(2, "the loss is nan"), (3, "weights are no numbers")])
def test_a_training_that_diverges_stops_and_the_last_good_state_survives(
    batch: int, what: str, whole: Any, tmp_path: Path
) -> None:
    def spoil(model: Any) -> None:
        model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])

    # After the last step of an epoch its loss is a number still, but what was learned is not.
    with pytest.raises(InputError, match=f"{what} in epoch 3: training has diverged") as raised:
        train(AVERAGED, tmp_path, [At(2, spoil, batch)])
    assert "learning rate" in raised.value.mend
    assert_epochs_kept(2, tmp_path, whole)


def test_too_high_a_rate_is_an_error_at_once() -> None:
    image = keras.Input((16, 16, 3), name="image")
    model = keras.Model(image, {"votes": keras.layers.Dense(2, name="votes")(keras.layers.Flatten()(image))})
    model.compile(keras.optimizers.SGD(1e6), loss={"votes": "mean_squared_error"})
    batches = PictureBatches(pictures(64, 0)[0], np.zeros((64, 2), np.float32), 16, BATCH, 1, output="votes")
    with pytest.raises(InputError, match=r"the loss is (inf|nan) in epoch 1: training has diverged"):
        fit(model, batches, epochs=5)


def test_only_the_same_training_goes_on(tmp_path: Path) -> None:
    train(AVERAGED, tmp_path, epochs=1)
    with pytest.raises(InputError, match="state of another training: pictures differ") as raised:
        train(AVERAGED, tmp_path, seed=6)
    assert f"delete {tmp_path}" in raised.value.mend
    with pytest.raises(InputError, match="optimizer and loss, watching differ"):
        train(PATIENT, tmp_path)
    (tmp_path / "state.npz").write_bytes((tmp_path / "state.npz").read_bytes()[:-500])
    with pytest.raises(InputError, match="damaged"):
        train(AVERAGED, tmp_path)


def test_a_longer_training_goes_on_from_a_shorter_one(tmp_path: Path) -> None:
    plain = {"best": False, "patience": None, "reduce_patience": None}
    train(PATIENT, tmp_path, epochs=2, **plain)
    assert_same(train(PATIENT, tmp_path, epochs=4, **plain), train(PATIENT, epochs=4, **plain))
    with pytest.raises(InputError, match="after epoch 4"):
        train(PATIENT, tmp_path, epochs=3, **plain)


def test_best_weights_are_those_of_the_best_epoch(whole: Any) -> None:
    """Training again to just the best epoch, without looking back, ends where looking back ended."""
    weights, log = whole[PATIENT]
    best = int(np.argmin(log["loss"]))
    model = fixed_rate()
    held_back: list[Any] = []
    batches = PictureBatches(*pictures(BATCH * STEPS + 3, 0), 16, BATCH, 3, VARIED)
    keep = At(best, lambda m: held_back.extend(m.get_weights()), batch=None)
    fit(model, batches, epochs=best + 1, reduce_patience=1, reduce_factor=0.5, monitor="loss", callbacks=[keep])
    model.set_weights(held_back)
    for kept, variable in zip(weights, model.variables, strict=False):
        if "seed" not in variable.path:
            np.testing.assert_array_equal(kept, keras.ops.convert_to_numpy(variable))


def test_what_cannot_work_is_refused_before_training() -> None:
    batches = PictureBatches(*pictures(16, 0), 16, BATCH, 1)
    with pytest.raises(InputError, match="follows a schedule"):
        fit(averaged(), batches, epochs=1, reduce_patience=1)
    with pytest.raises(InputError, match=r"no column 'val_loss' to watch"):
        fit(fixed_rate(), batches, epochs=1, best=True)
    held = (np.full((4, 16, 16, 3), np.nan, np.float32), {"probabilities": np.zeros(4, np.int32)})
    with pytest.raises(DatasetError, match="4 of 4 rows for validation are not finite"):
        fit(fixed_rate(), batches, held, epochs=1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
