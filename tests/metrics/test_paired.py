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
