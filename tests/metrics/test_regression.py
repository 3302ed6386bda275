import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal import metrics


@pytest.mark.host
@given(st.integers(0, 1000), st.integers(1, 5), st.integers(2, 40))
def test_agrees_with_scikit_learn(seed: int, columns: int, n: int) -> None:
    from sklearn import metrics as sk

    rng = np.random.default_rng(seed)
    truth = rng.random((n, columns))
    predicted = truth + rng.normal(0, 0.3, truth.shape)
    assert metrics.mean_squared_error(truth, predicted) == pytest.approx(sk.mean_squared_error(truth, predicted))
    np.testing.assert_allclose(
        metrics.r2_score(truth, predicted),
        sk.r2_score(truth, predicted, multioutput="raw_values"),
        rtol=1e-6,
        atol=1e-9,
    )


def test_weights_are_repeats() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.random((2, 30, 3))
    weights = rng.integers(0, 3, (4, 30)).astype(float)
    for row, r2 in zip(weights, metrics.r2_score(truth, predicted, weights), strict=True):
        drawn = np.repeat(np.arange(30), row.astype(int))
        np.testing.assert_allclose(r2, metrics.r2_score(truth[drawn], predicted[drawn]))


def test_a_constant_column_explains_nothing_and_spoils_no_other() -> None:
    truth = np.stack([np.full(5, 0.3), np.arange(5) / 5], axis=1)
    r2 = metrics.r2_score(truth, truth)
    assert np.isnan(r2[0])
    assert r2[1] == 1


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="must be equal"):
        metrics.mean_squared_error(np.zeros((2, 3)), np.zeros((2, 4)))
