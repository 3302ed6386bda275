"""Labels that say less than the network's classes."""

import pytest

pytest.importorskip("keras")

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgegal.errors import InputError
from edgegal.labels import SCHEMES, UNLABELLED
from edgegal.training.targets import candidate_crossentropy, candidate_hits, candidates

pytestmark = pytest.mark.host


def rows(labels: list[int], source: str, target: str) -> list[list[str]]:
    """Names of the classes that each label allows."""
    allowed = candidates(np.array(labels, np.int32), SCHEMES[source], SCHEMES[target])
    return [[SCHEMES[target].labels[i] for i in np.flatnonzero(row)] for row in allowed]


def test_a_label_of_the_networks_own_scheme_allows_one_class() -> None:
    assert rows([0, 5], "galaxy6", "galaxy6") == [["round"], ["merger"]]


def test_a_disk_is_a_spiral_or_seen_edge_on() -> None:
    assert rows([0], "gz1-disks", "galaxy6") == [["edge-on", "spiral"]]


def test_a_finer_label_is_mapped() -> None:
    assert rows([2, 4], "gz2-5class", "h4") == [["smooth"], ["spiral"]]


def test_a_coarser_label_allows_all_classes_it_may_be() -> None:
    found = rows([0, 1, 2, 3, 5], "gz1-6class", "galaxy6")
    assert found == [["round", "in-between", "cigar"], ["spiral"], ["spiral"], ["edge-on"], ["merger"]]


def test_what_nothing_is_known_of_allows_everything() -> None:
    everything = list(SCHEMES["galaxy6"].labels)
    assert rows([4, UNLABELLED], "gz1-6class", "galaxy6") == [everything, everything]


def test_schemes_that_nothing_connects_are_refused() -> None:
    with pytest.raises(InputError, match="say nothing about"):
        candidates(np.zeros(1, np.int32), SCHEMES["fashion-mnist"], SCHEMES["galaxy6"])


PROBABILITIES = np.array([[0.7, 0.2, 0.1]], np.float32)


@pytest.mark.parametrize(
    ("target", "loss"),
    [
        ([1, 0, 0], -np.log(0.7)),
        ([0, 1, 1], -np.log(0.3)),
        ([1, 1, 1], 0),
        ([0.5, 0.5, 0], -0.5 * (np.log(0.7) + np.log(0.2))),
    ],
)
def test_the_loss_by_hand(target: list[float], loss: float) -> None:
    found = np.asarray(candidate_crossentropy(np.array([target], np.float32), PROBABILITIES))
    np.testing.assert_allclose(found, [loss], atol=1e-5)


@given(st.integers(0, 2), st.lists(st.floats(0.01, 1), min_size=3, max_size=3))
def test_more_candidates_never_cost_more(known: int, odds: list[float]) -> None:
    p = np.array([odds], np.float32) / np.float32(sum(odds))
    one = np.eye(3, dtype=np.float32)[[known]]
    two = np.maximum(one, np.eye(3, dtype=np.float32)[[(known + 1) % 3]])
    assert float(candidate_crossentropy(two, p)[0]) <= float(candidate_crossentropy(one, p)[0]) + 1e-5


@pytest.mark.parametrize(("target", "hit"), [([1, 0, 0], 1), ([0, 1, 1], 0), ([1, 0, 1], 1), ([0.4, 0.5, 0.1], 0)])
def test_hits(target: list[float], hit: float) -> None:
    assert float(candidate_hits(np.array([target], np.float32), PROBABILITIES)[0]) == hit
