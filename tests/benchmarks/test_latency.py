import numpy as np
import pytest

from edgegal.benchmarks.latency import SingleStream
from edgegal.errors import InputError


class Clock:
    """Time that passes only when a call takes it."""

    def __init__(self, durations: list[float]) -> None:
        self.now = 0.0
        self.durations = iter(durations)

    def __call__(self) -> float:
        return self.now

    def work(self) -> None:
        self.now += next(self.durations)


def test_enough_samples_and_enough_seconds_are_both_needed() -> None:
    clock = Clock([1.0] * 100)
    by_count = SingleStream(samples=7, seconds=2.0, warm_up_calls=0, warm_up_seconds=0)(clock.work, clock)
    assert len(by_count) == 7
    clock = Clock([1.0] * 100)
    by_time = SingleStream(samples=2, seconds=5.0, warm_up_calls=0, warm_up_seconds=0)(clock.work, clock)
    assert len(by_time) == 5


def test_warm_up_is_not_sampled_and_slow_samples_stay() -> None:
    clock = Clock([9.0, 9.0, 1.0, 50.0, 1.0])
    samples = SingleStream(samples=3, seconds=0, warm_up_calls=2, warm_up_seconds=0)(clock.work, clock)
    np.testing.assert_allclose(samples, [1.0, 50.0, 1.0])


def test_a_benchmark_without_samples_is_refused() -> None:
    with pytest.raises(InputError, match="measures nothing"):
        SingleStream(samples=0)
