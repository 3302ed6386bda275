"""What networks cost, and the loss of those that cost too much."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.models.classifier import separable_network
from edgegal.tuner import space
from edgegal.tuner.objective import network_cost, penalty

pytestmark = pytest.mark.host


def test_cost_of_the_smallest_network_by_hand() -> None:
    # 64 -> conv 3 -> 62 -> pool -> 31 -> conv 3 -> 29 -> pool -> 14.
    macs = 62 * 62 * 32 * 27 + 29 * 29 * 32 * 9 * 32 + 14 * 14 * 32 * 32 + 32 * 5
    weights = (27 + 1) * 32 + 4 * 32 + (9 * 32 + 1) * 32 + 4 * 32 + (14 * 14 * 32 + 1) * 32 + (32 + 1) * 5
    cost = network_cost(space.network(space.smallest(), classes=5, size=64))
    assert (cost.macs, cost.parameters) == (macs, weights)


def test_cost_counts_a_depthwise_convolution_once_a_channel() -> None:
    # Stem 16 -> 8 px, where the first level stays: one depthwise and one pointwise convolution.
    model = separable_network(classes=2, size=16, widths=(4, 8), repeats=1)
    assert network_cost(model).macs == 8 * 8 * 4 * 27 + 8 * 8 * 4 * 9 + 8 * 8 * 4 * 8 + 8 * 2


@given(st.integers(2, 50), st.integers(1, 10**7), st.integers(1, 10**7), st.integers(1, 10**6))
def test_penalty_is_finite_above_chance_and_grows_with_the_excess(
    classes: int, parameters: int, limit: int, more: int
) -> None:
    loss = penalty(classes, parameters, limit)
    assert math.isfinite(loss)
    assert loss >= 2 * math.log(classes)
    assert penalty(classes, parameters + more, limit) >= loss
    assert penalty(classes, parameters, None) == 2 * math.log(classes)
