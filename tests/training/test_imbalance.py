"""Class weights and re-balancing."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from edgegal.errors import DatasetError
from edgegal.training.imbalance import balanced_counts, class_weights, rebalanced

pytestmark = pytest.mark.host

UNEVEN = np.array([0] * 60 + [1] * 30 + [2] * 10, np.int32)


def test_class_weights_follow_the_published_formula() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2], np.int32)
    np.testing.assert_allclose(class_weights(labels, 3, 1.0), np.array([10 / 18, 10 / 9, 10 / 3]), rtol=1e-6)
    np.testing.assert_allclose(class_weights(labels, 3, 0.0), 1)


def test_class_weights_agree_with_scikit_learn() -> None:
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=UNEVEN)
    np.testing.assert_allclose(class_weights(UNEVEN, 3, 1.0), theirs, rtol=1e-6)


def test_an_empty_class_is_an_error_that_names_it() -> None:
    gap = np.array([0, 0, 2], np.int32)
    for attempt in (
        lambda: class_weights(gap, 3, 0.5),
        lambda: balanced_counts(gap, 3, 1.0),
        lambda: rebalanced(gap, [1, 1, 1], 0),
        lambda: rebalanced(gap, "equal", 0),
    ):
        with pytest.raises(DatasetError, match="class 1"):
            attempt()
    assert rebalanced(gap, [1, 0, 1], 0).tolist()[1:] == [2]


@given(st.lists(st.integers(0, 200), min_size=3, max_size=3), st.integers(0, 2**32))
def test_rebalancing_gives_what_was_asked_for(counts: list[int], seed: int) -> None:
    chosen = rebalanced(UNEVEN, counts, seed)
    assert [Counter(UNEVEN[chosen].tolist())[c] for c in range(3)] == counts
    for c in range(3):
        times = Counter(i for i in chosen.tolist() if UNEVEN[i] == c)
        uses = [times[i] for i in np.nonzero(np.equal(UNEVEN, c))[0].tolist()]
        assert max(uses) - min(uses) <= 1


def test_rebalancing_is_by_seed() -> None:
    again = [rebalanced(UNEVEN, 20, seed).tolist() for seed in (1, 1, 2)]
    assert again[0] == again[1] != again[2]


def test_equal_means_as_many_as_before_in_all() -> None:
    chosen = rebalanced(UNEVEN, "equal", 0)
    assert Counter(UNEVEN[chosen].tolist()) == {0: 33, 1: 33, 2: 33}


def test_both_in_part_make_classes_equal_together() -> None:
    """Half by pictures, the rest by weights: what each class weighs in all is the same."""
    counts = balanced_counts(UNEVEN, 3, 0.5)
    assert (np.diff(counts) < 0).all()
    chosen = UNEVEN[rebalanced(UNEVEN, counts, 0)]
    total = class_weights(chosen, 3, 1.0) * np.bincount(chosen)
    np.testing.assert_allclose(total, total.mean(), rtol=1e-5)
    assert balanced_counts(UNEVEN, 3, 0.0).tolist() == [60, 30, 10]
