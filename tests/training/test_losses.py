"""Detector losses: by hand, against Keras's own, and on both backends."""

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.host

keras = pytest.importorskip("keras", reason="training needs the host environment")

from edgegal.training.losses import FocalLoss, HardNegativeLoss, box_loss, focal_loss  # noqa: E402


def _value(loss: Any, target: Any, predicted: Any) -> np.ndarray:
    """One loss a picture."""
    call = loss.call if isinstance(loss, keras.losses.Loss) else loss
    return keras.ops.convert_to_numpy(call(np.asarray(target, np.float32), np.asarray(predicted, np.float32)))


def _random(seed: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures of 40 anchors, some of them ignored, and scores."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes * 3, (2, 40))
    target = np.zeros((2, 40, classes + 1), np.float32)
    target[..., :-1] = truth[..., None] == np.arange(classes)
    target[..., -1] = rng.choice([0.0, 0.25], (2, 40))
    return target, rng.uniform(0.02, 0.98, (2, 40, classes)).astype(np.float32)


def test_focal_loss_of_two_classes_by_hand() -> None:
    target = [[[1, 0, 0.5], [0, 0, 0.5], [0, 1, 0.0]]]
    score = [[[0.8, 0.1], [0.3, 0.6], [0.9, 0.9]]]
    found = -0.75 * 0.2**2 * np.log(0.8) - 0.25 * 0.1**2 * np.log(0.9)
    empty = -0.25 * 0.3**2 * np.log(0.7) - 0.25 * 0.6**2 * np.log(0.4)
    np.testing.assert_allclose(_value(focal_loss, target, score), [0.5 * (found + empty)], rtol=1e-5)


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize(("alpha", "gamma"), [(0.75, 2.0), (0.25, 1.5), (0.5, 0.0)])
def test_focal_loss_is_that_of_keras(classes: int, alpha: float, gamma: float) -> None:
    target, score = _random(1, classes)
    theirs = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True, alpha=alpha, gamma=gamma, reduction="none"
    )
    # Keras averages the last axis: give it one class at a time.
    each = keras.ops.convert_to_numpy(theirs(target[..., :-1, None], score[..., None]))
    expected = (each.sum(axis=-1) * target[..., -1]).sum(axis=-1)
    np.testing.assert_allclose(_value(FocalLoss(alpha, gamma), target, score), expected, rtol=2e-5)


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_box_loss_is_the_huber_loss_of_keras(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = rng.normal(0, 2, (2, 7, 5)).astype(np.float32)
    target[..., 4] = rng.choice([0, 0.5], (2, 7))
    codes = rng.normal(0, 2, (2, 7, 4)).astype(np.float32)
    theirs = keras.losses.Huber(delta=1.0, reduction="none")
    expected = (keras.ops.convert_to_numpy(theirs(target[..., :4], codes)) * target[..., 4]).sum(axis=-1)
    np.testing.assert_allclose(_value(box_loss, target, codes), expected, rtol=1e-4, atol=1e-6)


def test_hardest_negatives_by_hand() -> None:
    """One positive and the two hardest of four negatives; the hardest of all is ignored."""
    target = [[[1, 1.0], [0, 1.0], [0, 1.0], [0, 1.0], [0, 1.0], [0, 0.0]]]
    score = [[[0.4], [0.1], [0.7], [0.2], [0.5], [0.99]]]
    expected = -np.log(0.4) - np.log(0.3) - np.log(0.5)
    np.testing.assert_allclose(_value(HardNegativeLoss(2.0, 1), target, score), [expected], rtol=1e-5)
    np.testing.assert_allclose(
        _value(HardNegativeLoss(9.0, 1), target, score), [expected - np.log(0.9) - np.log(0.8)], rtol=1e-5
    )


def test_an_empty_picture_teaches_its_hardest_negatives() -> None:
    target = np.tile([0.0, 1.0], (1, 5, 1))
    score = np.array([[[0.1], [0.8], [0.3], [0.6], [0.2]]])
    expected = -np.log(0.2) - np.log(0.4)
    np.testing.assert_allclose(_value(HardNegativeLoss(minimum=2), target, score), [expected], rtol=1e-5)


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_hard_negatives_are_those_a_loop_picks(seed: int, classes: int) -> None:
    target, score = _random(seed, classes)
    expected = []
    for truths, scores in zip(target, score, strict=True):
        positives, negatives = [], []
        for row, given_scores in zip(truths, scores, strict=True):
            *wanted, weight = row
            entropy = -sum(np.log(s if w else 1 - s) for w, s in zip(wanted, given_scores, strict=True))
            (positives if any(wanted) else negatives).append(entropy * weight)
        kept = max(3 * len(positives), 3)
        expected.append(sum(positives) + sum(sorted(negatives, reverse=True)[:kept]))
    np.testing.assert_allclose(_value(HardNegativeLoss(), target, score), expected, rtol=1e-4)


@pytest.mark.parametrize("score", [0.0, 1.0])
@pytest.mark.parametrize("loss", [FocalLoss(), HardNegativeLoss()])
def test_a_saturated_score_is_a_finite_loss(loss: Any, score: float) -> None:
    target = np.tile([[1.0, 1.0], [0.0, 1.0]], (1, 1, 1))
    assert np.isfinite(_value(loss, target, np.full((1, 2, 1), score))).all()


@pytest.mark.parametrize("loss", [FocalLoss(0.25, 1.5), HardNegativeLoss(2.0, 7)])
def test_a_loss_is_told_apart_by_its_parameters(loss: Any) -> None:
    """An interrupted training goes on only with the same loss."""
    config = keras.saving.serialize_keras_object(loss)
    assert config != keras.saving.serialize_keras_object(type(loss)())
    again = keras.saving.deserialize_keras_object(config)
    target, score = _random(2, 1)
    np.testing.assert_array_equal(_value(again, target, score), _value(loss, target, score))


_CASES = """
import numpy as np
from edgegal.training.losses import FocalLoss, HardNegativeLoss, box_loss
rng = np.random.default_rng(3)
target = np.concatenate([rng.integers(0, 2, (2, 9, 2)), np.full((2, 9, 1), 0.5)], axis=-1).astype("float32")
score = rng.uniform(0.1, 0.9, (2, 9, 2)).astype("float32")
codes, wanted = (rng.normal(size=(2, 9, n)).astype("float32") for n in (4, 5))
CASES = [(FocalLoss(), target, score), (HardNegativeLoss(), target, score), (box_loss, wanted, codes)]
"""

_ON_JAX = """
import json, jax
def gradient(loss, target, predicted):
    return jax.grad(lambda x: loss(target, x).sum())(predicted)
print(json.dumps([np.asarray(gradient(*case)).tolist() for case in CASES]))
"""


@pytest.mark.slow
def test_gradients_are_the_same_on_both_backends() -> None:
    pytest.importorskip("jax")
    tensorflow = pytest.importorskip("tensorflow")
    done = subprocess.run(
        [sys.executable, "-c", _CASES + _ON_JAX],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    here: dict[str, Any] = {}
    exec(_CASES, here)
    for (loss, target, predicted), theirs in zip(here["CASES"], json.loads(done.stdout), strict=True):
        variable = tensorflow.Variable(predicted)
        with tensorflow.GradientTape() as tape:
            total = tensorflow.reduce_sum(loss(target, variable))
        ours = tape.gradient(total, variable).numpy()
        assert np.abs(ours).max() > 0
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
