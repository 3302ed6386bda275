"""The Pareto front, against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgegal.tuner.pareto import pareto_front

pytestmark = pytest.mark.host

# Few distinct values, so that ties happen.
COSTS = st.integers(1, 3).flatmap(
    lambda k: st.lists(st.tuples(*[st.integers(0, 5)] * k), min_size=1, max_size=12).map(np.array)
)


def _dominates(a: NDArray[np.int_], b: NDArray[np.int_]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


@given(COSTS)
def test_front_is_what_nothing_dominates(costs: NDArray[np.int_]) -> None:
    expected = [not any(_dominates(other, row) for other in costs) for row in costs]
    assert pareto_front(costs).tolist() == expected


@given(COSTS, st.randoms())
def test_front_does_not_depend_on_the_order(costs: NDArray[np.int_], random: "np.random.Generator") -> None:
    order = list(range(len(costs)))
    random.shuffle(order)
    assert pareto_front(costs[order]).tolist() == pareto_front(costs)[order].tolist()


@given(COSTS)
def test_the_least_of_each_column_is_reached_on_the_front(costs: NDArray[np.int_]) -> None:
    front = costs[pareto_front(costs)]
    assert front.min(axis=0).tolist() == costs.min(axis=0).tolist()


def test_nothing_has_an_empty_front() -> None:
    assert pareto_front([]).tolist() == []
