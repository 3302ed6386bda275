"""The integers at the edges of a TFLite file."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from edgegal.runtimes import TensorInfo
from edgegal.runtimes.tflite import _dequantise, _quantise


@st.composite
def tensors(draw):
    dtype = draw(st.sampled_from(["int8", "uint8", "int16"]))
    limits = np.iinfo(dtype)
    zero = draw(st.integers(limits.min, limits.max)) if dtype != "int16" else 0
    return TensorInfo("t", (1,), dtype, draw(st.floats(1e-6, 100)), zero)


@given(tensors(), st.data())
def test_a_value_in_range_comes_back_within_half_a_step(info, data):
    limits = np.iinfo(info.dtype)
    low, high = (limits.min - info.zero_point) * info.scale, (limits.max - info.zero_point) * info.scale
    values = data.draw(hnp.arrays(np.float64, 10, elements=st.floats(low, high))).astype(np.float32)
    stored = _quantise(values, info)
    assert stored.dtype == info.dtype
    again = _dequantise(stored, info)
    assert again.dtype == np.float32
    rounding = 1e-6 * max(abs(low), abs(high))
    assert np.abs(again - np.clip(values, low, high)).max() <= info.scale / 2 + rounding


@given(tensors())
def test_a_value_out_of_range_takes_the_nearest_end(info):
    limits = np.iinfo(info.dtype)
    assert_array_equal(_quantise(np.array([-1e9, 1e9], np.float32), info), [limits.min, limits.max])


@given(tensors(), st.data())
def test_every_stored_value_survives(info, data):
    limits = np.iinfo(info.dtype)
    stored = data.draw(hnp.arrays(info.dtype, 10, elements=st.integers(limits.min, limits.max)))
    assert_array_equal(_quantise(_dequantise(stored, info), info), stored)


def test_zero_is_exact():
    info = TensorInfo("t", (1,), "int8", 0.3, -5)
    assert _quantise(np.zeros(1, np.float32), info) == -5
    assert _dequantise(np.array([-5], np.int8), info) == 0


def test_floats_pass_as_they_are():
    values = np.array([1.5, -2.25], np.float32)
    info = TensorInfo("t", (2,), "float32")
    assert_array_equal(_quantise(values, info), values)
    assert_array_equal(_dequantise(values, info), values)
