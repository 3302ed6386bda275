import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgegal import metrics


@pytest.mark.host
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(trial: tuple[int, int]) -> None:
    from scipy.stats import binomtest

    successes, n = trial
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    ours = metrics.wilson(successes, n)
    assert (ours.low, ours.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= ours.low <= ours.value <= ours.high <= 1


def test_wilson_refuses_more_successes_than_trials() -> None:
    with pytest.raises(ValueError, match="no proportion"):
        metrics.wilson(3, 2)


@pytest.mark.parametrize("n", [1, 2, 9, 40, 41])
def test_bootstrap_of_the_median_is_that_of_plain_resampling(n: int) -> None:
    rng = np.random.default_rng(n)
    samples = rng.lognormal(size=n)
    plain = metrics.bootstrap(n, lambda drawn: float(np.median(samples[drawn])), seed=1, resamples=20_000)
    quick = metrics.bootstrap_median(samples, seed=2, resamples=20_000)
    assert quick.value == np.median(samples) == plain.value
    # Two draws of 20,000 differ by a rank at most where ranks are few.
    ordered = np.sort(samples)
    step = np.diff(ordered).max() if n > 1 else 0.0
    assert quick.low == pytest.approx(plain.low, abs=step)
    assert quick.high == pytest.approx(plain.high, abs=step)


def test_bootstrap_agrees_with_theory_for_a_mean() -> None:
    samples = np.random.default_rng(0).normal(5, 2, 400)
    ours = metrics.bootstrap(400, lambda drawn: float(samples[drawn].mean()), seed=0)
    half = 1.96 * samples.std() / 20
    assert ours.low == pytest.approx(samples.mean() - half, abs=0.1 * half)
    assert ours.high == pytest.approx(samples.mean() + half, abs=0.1 * half)


def test_pairing_removes_what_two_systems_share() -> None:
    rng = np.random.default_rng(1)
    shared = rng.normal(0, 10, 200)
    ours = metrics.bootstrap_mean_difference(shared + 1, shared, seed=0)
    assert (ours.value, ours.low, ours.high) == pytest.approx((1, 1, 1))


def test_equal_seeds_give_equal_intervals_and_other_seeds_others() -> None:
    samples = np.random.default_rng(1).normal(size=50)
    assert metrics.bootstrap_median(samples, seed=4) == metrics.bootstrap_median(samples, seed=4)
    mean = metrics.bootstrap_mean_difference
    zeros = np.zeros(50)
    assert mean(samples, zeros, seed=4) == mean(samples, zeros, seed=4) != mean(samples, zeros, seed=5)


def test_resamples_without_a_figure_are_left_out() -> None:
    values = np.array([np.nan, 1.0, 2.0])
    ours = metrics.bootstrap(3, lambda drawn: float(values[drawn].mean()), seed=0)
    assert 1 <= ours.low <= ours.high <= 2


def test_bands_are_the_intervals_of_plain_resampling() -> None:
    rng = np.random.default_rng(2)
    samples = rng.normal(size=(60, 3))
    bands = metrics.bootstrap_bands(60, lambda counts: {"mean": counts @ samples / 60}, seed=1, resamples=20_000)
    for column in range(3):
        values = samples[:, column]
        plain = metrics.bootstrap(60, lambda d, v=values: float(v[d].mean()), seed=2, resamples=20_000)  # type: ignore[misc]
        assert bands["mean"].value[column] == pytest.approx(plain.value)
        assert bands["mean"].low[column] == pytest.approx(plain.low, abs=0.01)
        assert bands["mean"].high[column] == pytest.approx(plain.high, abs=0.01)


def test_bands_do_not_depend_on_how_resamples_are_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgegal.metrics import intervals

    values = np.random.default_rng(3).random(50)
    bands = []
    for items in (50 * 7, 2_000_000):
        monkeypatch.setattr(intervals, "_BLOCK_ITEMS", items)
        bands.append(metrics.bootstrap_bands(50, lambda counts: {"mean": counts @ values / 50}, 0, resamples=100))
    assert bands[0]["mean"].interval() == bands[1]["mean"].interval()


def test_a_figure_without_value_has_no_interval_and_resamples_without_one_are_left_out() -> None:
    values = np.array([np.nan, 1.0, 2.0])
    draws = np.array([[np.nan, 1.0, 2.0], [np.nan, 3.0, np.nan]])
    band = metrics.percentile_band(values, draws)
    np.testing.assert_allclose(band.low, [np.nan, 1.05, 2])
    np.testing.assert_allclose(band.high, [np.nan, 2.95, 2])
