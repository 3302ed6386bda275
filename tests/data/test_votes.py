"""Labels from votes and T-types."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgegal.data.t_types import hubble_labels
from edgegal.data.votes import (
    ANSWERS,
    SECOND_LEVEL,
    LabelRules,
    labels_from_votes,
    second_level_targets,
    shares_of_all,
    vote_schemes,
)
from edgegal.errors import InputError
from edgegal.labels import UNLABELLED, relabel, scheme

pytestmark = pytest.mark.host


def votes(*rows: dict[str, float]) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """Columns of all 37 answers, 0 unless given; ``1.1`` for ``Class1.1``."""
    return {a: np.array([row.get(a.removeprefix("Class"), 0) for row in rows], np.float32) for a in ANSWERS}


def named(found: np.ndarray, name: str) -> list[str | None]:  # type: ignore[type-arg]
    return [None if i == UNLABELLED else scheme(name).labels[i] for i in found]


def test_the_answers_are_the_columns_of_the_challenge() -> None:
    assert len(ANSWERS) == 37
    assert ANSWERS[:5] == ("Class1.1", "Class1.2", "Class1.3", "Class2.1", "Class2.2")
    assert ANSWERS[-7:] == ("Class10.3", *(f"Class11.{i}" for i in range(1, 7)))


def test_smooth_or_featured_at_a_confidence() -> None:
    rows = votes({"1.1": 0.8, "1.2": 0.2}, {"1.1": 0.3, "1.2": 0.7}, {"1.2": 0.1, "1.3": 0.9}, {"1.1": np.nan})
    for confidence, wanted in ((0.8, ["smooth", None, None, None]), (0.5, ["smooth", "featured", None, None])):
        found = labels_from_votes(rows, "gz-smooth-featured", LabelRules(confidence=confidence))
        assert named(found, "gz-smooth-featured") == wanted


def test_the_clean_sample_cuts() -> None:
    edge = {"1.2": 0.8, "2.1": 0.602}
    spiral = {"1.2": 0.9, "2.2": 0.8, "4.1": 0.7}
    rows = votes(
        {"1.1": 0.469, "7.1": 0.5},
        {"1.1": 0.9, "7.2": 0.6, "7.3": 0.3},
        {"1.1": 0.9, "7.3": 0.8},
        edge,
        spiral,
        {**edge, "2.1": 0.6},
        {**spiral, "4.1": 0.68},
        {"1.1": 0.46, "7.1": 0.9},
        {**edge, "1.1": 0.5, "7.1": 0.6, "1.2": 0.5},
        {**spiral, "4.1": np.nan},
        {**spiral, "6.1": 0.8, "8.6": 0.6},
    )
    five = ["round", "in-between", "cigar", "edge-on", "spiral", None, None, None, None, None, "spiral"]
    assert named(labels_from_votes(rows, "gz2-5class"), "gz2-5class") == five
    six = [*five[:-1], "merger"]
    assert named(labels_from_votes(rows, "galaxy6"), "galaxy6") == six
    h4 = relabel(labels_from_votes(rows, "galaxy6"), scheme("galaxy6"), scheme("h4"))
    assert labels_from_votes(rows, "h4").tolist() == h4.tolist()


def test_the_second_level() -> None:
    rows = votes(
        {"2.2": 0.7, "2.1": 0.1, "7.1": 0.1, "1.3": 0.1},
        {"7.3": 0.9, "7.2": 0.1},
        {"7.2": 0.4, "7.1": 0.4, "2.1": 0.2},
        {"1.3": 1.0},
    )
    rules = LabelRules(confidence=0.7)
    assert named(labels_from_votes(rows, "gz-second-level", rules), "gz-second-level") == [
        *("not-edge-on", "cigar", None, "artifact")
    ]
    assert named(labels_from_votes(rows, "gz-second-level-4", rules), "gz-second-level-4") == [
        *("not-edge-on", None, None, None)
    ]
    four = second_level_targets(rows, four=True)
    np.testing.assert_allclose(four[0], [1 / 9, 7 / 9, 1 / 9, 0], rtol=1e-5)
    np.testing.assert_allclose(four[1], [0, 0, 0, 1])
    assert np.isnan(four[3]).all()
    np.testing.assert_allclose(second_level_targets(rows, four=False)[0], [0.1, 0.1, 0.7, 0.1, 0, 0], rtol=1e-6)


def test_shares_of_those_asked_become_shares_of_all() -> None:
    asked = dict.fromkeys(ANSWERS, 0.5) | {"Class1.1": 0.0, "Class7.1": np.nan, "Class6.1": 0.25}
    found = dict(zip(ANSWERS, shares_of_all(np.array([list(asked.values())], np.float32))[0].tolist(), strict=True))
    wanted = {"1.2": 0.5, "2.1": 0.25, "3.1": 0.125, "4.2": 0.125, "5.4": 0.125, "6.1": 0.25, "6.2": 0.5}
    wanted |= {"7.1": 0, "7.2": 0, "8.7": 0.125, "9.3": 0.125, "10.1": 0.0625, "11.6": 0.0625}
    assert {answer: found[f"Class{answer}"] for answer in wanted} == wanted


fractions = hnp.arrays(np.float32, st.tuples(st.integers(0, 6), st.just(6)), elements=st.floats(0, 1, width=32))


@given(fractions, st.floats(0, 1))
def test_targets_and_labels_of_the_second_level_agree(table, confidence):  # type: ignore[no-untyped-def]
    columns = dict(zip(SECOND_LEVEL, table.T, strict=True))
    labels = labels_from_votes(columns, "gz-second-level-4", LabelRules(confidence=confidence))
    targets = second_level_targets(columns, four=True)
    for row, label, target in zip(table, labels, targets, strict=True):
        if label != UNLABELLED:
            assert row[1 + label] == row.max() >= np.float32(confidence)
            if row.max() > 0:
                np.testing.assert_allclose(target.sum(), 1, rtol=1e-5)
                assert target[label] == target.max()


@pytest.mark.parametrize("name", vote_schemes())
def test_nan_everywhere_is_no_label(name: str) -> None:
    nowhere = {answer: np.full(3, np.nan, np.float32) for answer in ANSWERS}
    assert labels_from_votes(nowhere, name).tolist() == [UNLABELLED] * 3


def test_what_votes_cannot_say_and_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="no labels of scheme 'hubble3'"):
        labels_from_votes(votes({}), "hubble3")
    with pytest.raises(InputError, match=r"confidence 1\.5"):
        LabelRules(confidence=1.5)
    with pytest.raises(InputError, match="T-type 4"):
        LabelRules(spiral_from=4)


@pytest.mark.parametrize(("spiral_from", "lenticular_spiral"), [(0, "S"), (1, None)])
def test_hubble_stages(spiral_from: int, lenticular_spiral: str | None) -> None:
    stages = np.array([-7, -6, -5, -4, -3, -2, -1, 0, 1, 9, 10, 11, 99, np.nan, np.inf], np.float32)
    wanted = [None, "E", "E", "E", "S0", "S0", "S0", lenticular_spiral, "S", "S", "S", None, None, None, None]
    assert named(hubble_labels(stages, spiral_from), "hubble3") == wanted
