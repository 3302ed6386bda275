import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.metrics import Interval, answered
from edgegal.training.abstention import SideAnswers, answers_by_side, choose_abstention, smallest_side

pytestmark = pytest.mark.host


def honest(n: int, rng: np.random.Generator, sharpness: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are true: each label is drawn from its own row."""
    logits = sharpness * rng.standard_normal((n, 4))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return p, (rng.random((n, 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1)


def test_what_is_always_right_is_always_answered() -> None:
    choice = choose_abstention(np.tile([0.6, 0.4], (200, 1)), np.zeros(200, int), target=0.95)
    assert (choice.abstain_below, choice.coverage, choice.accuracy.value) == (0, 1, 1)


def test_a_target_out_of_reach_is_said_so_with_the_nearest() -> None:
    probabilities = np.concatenate([np.tile([0.9, 0.1], (100, 1)), np.tile([0.6, 0.4], (100, 1))])
    labels = np.concatenate([np.arange(100) < 20, np.arange(100) < 40]).astype(int)
    choice = choose_abstention(probabilities, labels, target=0.95)
    assert choice.abstain_below is None
    assert (choice.coverage, choice.accuracy.value) == (0.5, 0.8)
    assert "no threshold" in str(choice)
    assert "0.800" in str(choice)


def test_a_handful_of_sure_answers_is_no_ground_to_withhold_the_rest() -> None:
    probabilities = np.concatenate([np.tile([0.99, 0.01], (5, 1)), np.tile([0.6, 0.4], (300, 1))])
    labels = np.concatenate([np.zeros(5), np.arange(300) % 2]).astype(int)
    # Five of five right has its low end at .566: enough for the target, but it stands on five pictures.
    assert choose_abstention(probabilities, labels, target=0.56).abstain_below is None


@given(st.integers(0, 2**32 - 1), st.integers(30, 400), st.floats(0.3, 0.95))
def test_the_threshold_is_the_smallest_that_surely_reaches_the_target(seed: int, n: int, target: float) -> None:
    probabilities, labels = honest(n, np.random.default_rng(seed))
    choice = choose_abstention(probabilities, labels, target)
    if choice.abstain_below is None:
        assert choice.accuracy.low < target
        return
    kept = answered(probabilities, choice.abstain_below)
    assert kept.mean() == pytest.approx(choice.coverage)
    right = probabilities.argmax(axis=1) == labels
    assert right[kept].mean() == pytest.approx(choice.accuracy.value)
    assert choice.accuracy.low >= target
    # Asking for more never answers more.
    more = choose_abstention(probabilities, labels, (target + 1) / 2)
    if more.abstain_below is not None:
        assert more.abstain_below >= choice.abstain_below
        assert more.coverage <= choice.coverage


def test_the_target_is_kept_on_new_pictures() -> None:
    rng = np.random.default_rng(5)
    new, truth = honest(100_000, rng)
    right = new.argmax(axis=1) == truth
    kept = []
    for _ in range(60):
        choice = choose_abstention(*honest(400, rng), target=0.85)
        if choice.abstain_below is not None:
            kept.append(right[answered(new, choice.abstain_below)].mean() >= 0.85)
    assert len(kept) > 50
    assert np.mean(kept) >= 0.9


@pytest.mark.parametrize("target", [0.0, 1.0, 1.2, -1])
def test_a_target_that_is_none_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="target"):
        choose_abstention(np.ones((1, 1)), np.zeros(1, int), target)


def stripes(n: int, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Squares with fine stripes (class 1) and grey ones (class 0)."""
    lines = np.where(np.arange(size) % 3 < 1.5, 250, 10).astype(np.uint8)
    striped = np.broadcast_to(lines[None, :, None], (size, size, 3))
    grey = np.full((size, size, 3), 130, np.uint8)
    return np.stack([striped, grey] * (n // 2)), np.array([1, 0] * (n // 2))


def by_contrast(crops: np.ndarray) -> np.ndarray:
    """Calls striped what has contrast: sure of it either way."""
    striped = crops.std(axis=(1, 2, 3)) > 60
    return np.where(striped[:, None], [0.05, 0.95], [0.95, 0.05])


def test_small_galaxies_lose_what_tells_them_apart_and_the_network_stays_sure() -> None:
    crops, labels = stripes(40)
    found = answers_by_side(by_contrast, crops, labels, crop_scale=2.0, abstain_below=0.9, sides=(4, 8, 32))
    assert [s.side for s in found] == [4, 8, 32]
    assert [s.coverage for s in found] == [1, 1, 1]
    assert [s.accuracy and s.accuracy.value for s in found] == [0.5, 0.5, 1.0]
    assert smallest_side(found, 0.95) == 32


def test_where_nothing_is_answered_nothing_is_wrong() -> None:
    crops, labels = stripes(4)
    (found,) = answers_by_side(by_contrast, crops, labels, 2.0, abstain_below=0.99, sides=(4,))
    assert (found.coverage, found.accuracy) == (0, None)
    assert smallest_side([found], 0.95) == 4


@pytest.mark.parametrize(
    ("shares", "smallest"),
    [
        ((0.5, 0.9, 0.96, 0.97), 16),
        # A size that does well below one that does not is luck.
        ((0.99, 0.9, 0.96, 0.97), 16),
        ((0.96, 0.96, 0.96, 0.97), 4),
        ((0.96, 0.96, 0.96, 0.9), None),
    ],
)
def test_all_larger_galaxies_must_reach_the_target(shares: tuple[float, ...], smallest: int | None) -> None:
    sides = zip((4, 8, 16, 32), shares, strict=True)
    assert smallest_side([SideAnswers(s, 1.0, Interval(p, p, p)) for s, p in sides], 0.95) == smallest
