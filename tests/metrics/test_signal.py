"""Errors between signals, on cases whose answer is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.errors import GateFailedError
from edgegal.metrics.signal import compare, sqnr_db


def test_no_noise_has_no_ratio() -> None:
    assert sqnr_db(3.0, 0.0) is None


def test_noise_without_signal_is_minus_infinity() -> None:
    assert sqnr_db(0.0, 2.0) == -math.inf


@given(signal=st.floats(1e-3, 1e6), share=st.floats(1e-9, 10))
def test_ten_times_less_noise_is_ten_decibels_more(signal: float, share: float) -> None:
    coarse, fine = sqnr_db(signal, signal * share), sqnr_db(signal, signal * share / 10)
    assert coarse is not None
    assert fine == pytest.approx(coarse + 10, abs=1e-6)


def test_rounding_to_a_bit_more_wins_six_decibels() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 100_000)
    eight, nine = (compare(values, np.rint(values * 2**bits) / 2**bits).sqnr_db for bits in (7, 8))
    assert eight is not None
    assert nine == pytest.approx(eight + 20 * math.log10(2), abs=0.05)


def test_the_ratio_of_an_array_is_that_of_its_sums() -> None:
    reference, found = np.array([3.0, 4.0]), np.array([3.0, 4.5])
    assert compare(reference, found).sqnr_db == sqnr_db(25.0, 0.25)


def test_values_that_are_not_finite_fail_the_gate() -> None:
    with pytest.raises(GateFailedError, match="not all finite"):
        compare(np.ones(2), np.array([1.0, np.nan]))
