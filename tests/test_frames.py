from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from edgegal.errors import FrameError
from edgegal.frames import Frame


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64, ">i2"])
@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3), (1, 1)])
def test_a_frame_takes_mono_and_colour_of_any_real_type(shape, dtype):
    frame = Frame(np.zeros(shape, dtype), "camera")
    assert frame.size == (shape[1], shape[0])


@pytest.mark.parametrize("shape", [(4,), (4, 6, 4), (4, 6, 1), (2, 4, 6, 3), (0, 6), (4, 0), (0, 0, 3)])
def test_other_shapes_are_refused_by_name(shape):
    with pytest.raises(FrameError, match=r"m51\.fits: a frame is \(h, w\) or \(h, w, 3\) pixels"):
        Frame(np.zeros(shape), "m51.fits")


@pytest.mark.parametrize("dtype", [bool, complex, "U3", object])
def test_pixels_that_are_not_numbers_are_refused(dtype):
    with pytest.raises(FrameError, match="are not numbers"):
        Frame(np.zeros((4, 6), dtype), "m51.fits")


def test_a_time_without_a_zone_is_refused():
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - the mistake under test
    with pytest.raises(FrameError, match="needs a time zone"):
        Frame(np.zeros((4, 6)), "m51.fits", time=naive)
    zoned = naive.replace(tzinfo=timezone(timedelta(hours=2)))
    assert Frame(np.zeros((4, 6)), "m51.fits", time=zoned).time == zoned


def test_a_frame_cannot_be_changed():
    with pytest.raises(AttributeError):
        Frame(np.zeros((4, 6)), "m51.fits").index = 2
