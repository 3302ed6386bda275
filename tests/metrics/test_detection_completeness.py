import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal import metrics
from edgegal.metrics.completeness import isotonic

SHARES = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), min_size=1, max_size=20)


@pytest.mark.host
@given(SHARES)
def test_isotonic_regression_is_that_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    from sklearn.isotonic import isotonic_regression

    values, weights = np.array(rows, np.float64).T
    np.testing.assert_allclose(isotonic(values, weights), isotonic_regression(values, sample_weight=weights))


@given(st.lists(st.tuples(st.floats(0, 120), st.booleans()), max_size=60))
def test_every_galaxy_inside_the_edges_is_in_one_bin(rows: list[tuple[float, bool]]) -> None:
    values, found = np.array([r[0] for r in rows], float), np.array([r[1] for r in rows], bool)
    ours = metrics.measure_completeness(values, found, (10, 20, 40, 100))
    for low, high, last, truths, hits in zip(
        ours.edges, ours.edges[1:], (False, False, True), ours.truths, ours.found, strict=False
    ):
        inside = (values >= low) & ((values <= high) if last else (values < high))
        assert (truths, hits) == (inside.sum(), found[inside].sum())
    known = ours.truths > 0
    np.testing.assert_array_equal(ours.share.value[known], ours.found[known] / ours.truths[known])
    assert np.isnan(ours.share.low[~known]).all()


def test_intervals_are_wilsons_and_unknown_values_are_left_out() -> None:
    values = np.array([1.0] * 10 + [np.nan] * 5)
    found = np.array([True] * 7 + [False] * 3 + [True] * 5)
    ours = metrics.measure_completeness(values, found, (0, 2))
    assert ours.share.interval(0) == metrics.wilson(7, 10)
    assert ours.means[0] == 1


@pytest.mark.parametrize("falling", [False, True])
def test_the_limits_of_a_known_curve_are_found_again(falling: bool) -> None:
    rng = np.random.default_rng(0)
    magnitudes = rng.uniform(10, 20, 40_000)
    slope = -1 if falling else 1
    found = rng.random(len(magnitudes)) < 1 / (1 + np.exp(-slope * 2 * (magnitudes - 15)))
    ours = metrics.measure_completeness(magnitudes, found, np.arange(10, 20.1, 0.25))
    assert ours.limit(0.5, falling) == pytest.approx(15, abs=0.05)
    assert ours.limit(0.9, falling) == pytest.approx(15 + slope * np.log(9) / 2, abs=0.08)


def test_a_level_that_is_never_passed_has_no_limit() -> None:
    values = np.repeat([1.5, 2.5, 3.5], 10)
    found = np.concatenate([np.arange(10) < n for n in (6, 7, 8)])
    ours = metrics.measure_completeness(values, found, (1, 2, 3, 4))
    assert ours.limit(0.9) is None
    assert ours.limit(0.5) is None
    assert ours.limit(0.6) == 1.5
    assert ours.limit(0.75) == pytest.approx(3.0)
    assert metrics.measure_completeness(values[:0], found[:0], (1, 2)).limit(0.5) is None


@given(SHARES, st.floats(0.05, 0.95))
def test_a_limit_lies_where_the_smoothed_shares_pass_the_level(rows: list[tuple[int, int]], level: float) -> None:
    values = np.concatenate([np.full(n, i + 0.5) for i, (_, n) in enumerate(rows)])
    found = np.concatenate([np.arange(n) < hits for hits, n in rows])
    ours = metrics.measure_completeness(values, found, np.arange(len(rows) + 1))
    shares = isotonic(ours.share.value, ours.truths.astype(float))
    limit = ours.limit(level)
    if limit is None:
        assert shares[0] > level or shares[-1] < level
    else:
        assert np.interp(limit, ours.means, shares) == pytest.approx(level)


@pytest.mark.parametrize(
    ("values", "edges", "words"), [([1.0, 2.0], (0, 3), "as many"), ([1.0], (3, 0), "rise"), ([1.0], (3,), "rise")]
)
def test_what_cannot_be_binned_is_refused(values: list[float], edges: tuple[float, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        metrics.measure_completeness(np.array(values), np.array([True]), edges)
