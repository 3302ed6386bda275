import numpy as np
import pytest

from edgegal.benchmarks import gate
from edgegal.benchmarks.statistics import Statistics
from edgegal.errors import GateFailedError, InputError


def around(median_ms: float, scatter_ms: float = 0.05, n: int = 101) -> Statistics:
    return Statistics(np.random.default_rng(0).normal(median_ms, scatter_ms, n) / 1e3)


def test_names_what_got_slower_beyond_the_margin_and_only_that() -> None:
    baseline = {"a": around(10), "b": around(10)}
    now = {"a": around(12), "b": around(10.5), "new": around(99)}
    with pytest.raises(GateFailedError, match=r"a 10 -> 12 ms \(\+20%\)") as caught:
        gate.check(now, baseline, max_slowdown=0.10)
    assert "b 10" not in str(caught.value)
    assert caught.value.exit_code == 1
    gate.check(now, baseline, max_slowdown=0.30)


def test_intervals_that_overlap_pass_whatever_the_medians() -> None:
    assert gate.slower({"a": around(13, scatter_ms=8, n=9)}, {"a": around(10)}, max_slowdown=0.1) == ()


def test_runs_without_anything_in_common_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="nothing that this run did"):
        gate.check({"a": around(1)}, {"b": around(1)}, 0.1)
