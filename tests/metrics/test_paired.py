import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegal import metrics


@pytest.mark.host
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
def test_agrees_with_scipys_binomial_test(answers: list[tuple[bool, bool]]) -> None:
    from scipy.stats import binomtest

    first, second = np.array(answers).T
    ours = metrics.mcnemar(first, second)
    discordant = ours.only_first + ours.only_second
    assert discordant == np.sum(first != second)
    expected = binomtest(ours.only_first, discordant).pvalue if discordant else 1.0
    assert ours.p == pytest.approx(expected)


def test_a_textbook_split() -> None:
    first = np.array([True] * 10 + [False] * 2)
    ours = metrics.mcnemar(first, ~first)
    assert (ours.only_first, ours.only_second) == (10, 2)
    assert ours.p == pytest.approx(2 * (1 + 12 + 66) / 4096)


def test_thousands_of_pairs_do_not_overflow() -> None:
    first = np.arange(5000) % 2 == 0
    assert metrics.mcnemar(first, ~first).p == pytest.approx(1.0)


@pytest.mark.host
@pytest.mark.parametrize("seed", range(4))
def test_sign_flips_agree_with_scipys_permutation_test(seed: int) -> None:
    from scipy.stats import permutation_test

    values = np.random.default_rng(seed).normal(0.3, 1, 10)
    # Ten pairs: scipy tries all 1,024 patterns.
    expected = permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert metrics.sign_flip_p(values, seed=0, flips=40_000) == pytest.approx(expected, abs=0.01)


def test_sign_flips_of_hits_are_mcnemars_test() -> None:
    first = np.array([True] * 10 + [False] * 2 + [True] * 30)
    second = np.array([False] * 10 + [True] * 2 + [True] * 30)
    flipped = metrics.sign_flip_p(first.astype(float) - second, seed=0, flips=40_000)
    assert flipped == pytest.approx(metrics.mcnemar(first, second).p, abs=0.005)


def test_no_difference_is_no_evidence() -> None:
    assert metrics.sign_flip_p(np.zeros(5), seed=0) == 1
