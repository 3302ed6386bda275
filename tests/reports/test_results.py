from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgegal.errors import InputError
from edgegal.reports import ClassificationResult, RegressionResult

Drawn = Callable[..., ClassificationResult]


def test_a_probability_that_is_no_number_names_its_picture(drawn: Drawn) -> None:
    probabilities = np.full((60, 3), 1 / 3)
    probabilities[[7, 9]] = np.nan
    with pytest.raises(InputError, match=r"2 of 60 pictures are not numbers, the first is p7") as caught:
        drawn(probabilities=probabilities)
    assert "learning rate" in caught.value.mend


def test_an_empty_split_is_named(drawn: Drawn) -> None:
    with pytest.raises(InputError, match="no pictures in the test split of drawn"):
        drawn(n=1, ids=(), truth=np.zeros(0, int), probabilities=np.zeros((0, 3)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("truth", np.zeros(59, int)),
        ("truth", np.full(60, -1)),
        ("truth", np.full(60, 3)),
        ("probabilities", np.full((60, 4), 0.25)),
        ("probabilities", np.full((60, 3), 0.4)),
        ("probabilities", np.tile([1.5, -0.5, 0.0], (60, 1))),
        ("ids", ("twice",) * 60),
    ],
    ids=["short", "unlabelled", "no such class", "a class too many", "no sum of 1", "negative", "named twice"],
)
def test_what_does_not_fit_is_refused(drawn: Drawn, field: str, value: Any) -> None:
    with pytest.raises(ValueError, match="net: "):
        drawn(**{field: value})


def test_a_regression_is_checked_likewise() -> None:
    fields: dict[str, Any] = {"name": "v", "ids": ("a", "b"), "seed": 0, "dataset": "d", "split": "test"}
    good = np.array([[0.1, 0.9], [0.4, 0.6]])
    RegressionResult(**fields, outputs=("x", "y"), truth=good, predicted=good)
    with pytest.raises(ValueError, match=r"not \(2, 2\)"):
        RegressionResult(**fields, outputs=("x", "y"), truth=good, predicted=good[:, :1])
    with pytest.raises(InputError, match=r"predictions of 1 of 2 pictures .* first is b"):
        RegressionResult(**fields, outputs=("x", "y"), truth=good, predicted=np.array([[0, 1], [0, np.inf]]))
