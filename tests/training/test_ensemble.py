"""The search for an ensemble's weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.training.ensemble import averaged, search_weights

pytestmark = pytest.mark.host

TRUTH = np.array([0, 1, 0, 1])
SURE = np.eye(2)[TRUTH]
WRONG = 1 - SURE


def test_the_better_member_takes_all_when_the_other_only_harms() -> None:
    assert search_weights([WRONG, SURE], TRUTH) == (0.0, 1.0)


def test_members_that_are_right_in_turn_share() -> None:
    left, right = np.array([[0.9, 0.1], [0.7, 0.3]]), np.array([[0.4, 0.6], [0.2, 0.8]])
    found = search_weights([left, right], np.array([0, 1]), step=0.1)
    mixed = averaged([left, right], found)
    assert mixed.argmax(axis=1).tolist() == [0, 1]
    assert 0 < found[0] < 1


@pytest.mark.parametrize(("members", "step", "points"), [(2, 0.1, 11), (3, 0.5, 6), (3, 0.25, 15)])
def test_weights_lie_on_the_grid(members: int, step: float, points: int) -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(400):
        answers = rng.dirichlet([0.3, 0.3], (members, 4))
        weights = search_weights(list(answers), TRUTH, step)
        assert sum(weights) == pytest.approx(1)
        assert all(abs(w / step - round(w / step)) < 1e-9 for w in weights)
        seen.add(weights)
    assert 1 < len(seen) <= points


@given(st.integers(0, 10_000))
def test_no_single_member_beats_the_weights_on_what_they_were_found_on(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, 30)
    answers = list(rng.dirichlet([1, 1, 1], (2, 30)))
    mixed = averaged(answers, search_weights(answers, truth))
    assert (mixed.argmax(axis=1) == truth).mean() >= max((a.argmax(axis=1) == truth).mean() for a in answers)
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-5)
