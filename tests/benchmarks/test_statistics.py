import statistics as standard

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegal.benchmarks.statistics import Statistics

SAMPLES = st.lists(st.floats(1e-6, 10), min_size=2, max_size=50)


@settings(max_examples=60, deadline=None)
@given(SAMPLES)
def test_agrees_with_the_standard_library(values: list[float]) -> None:
    ours = Statistics(np.array(values))
    assert ours.median == pytest.approx(standard.median(values))
    assert ours.mean == pytest.approx(standard.fmean(values))
    assert ours.stddev == pytest.approx(standard.stdev(values), abs=1e-12)
    deciles = standard.quantiles(values, n=10, method="inclusive")
    quartiles = standard.quantiles(values, n=4, method="inclusive")
    assert ours.p90 == pytest.approx(deciles[8])
    assert ours.iqr == pytest.approx(quartiles[2] - quartiles[0], abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(SAMPLES)
def test_statistics_are_ordered(values: list[float]) -> None:
    ours = Statistics(np.array(values))
    interval = ours.median_interval
    assert ours.min <= interval.low <= interval.value <= interval.high <= ours.max
    assert ours.q1 <= ours.median <= ours.q3 <= ours.p90 <= ours.p99 <= ours.max


def test_no_samples_are_no_statistics() -> None:
    with pytest.raises(ValueError, match="flat array"):
        Statistics(np.zeros(0))
