import threading

import numpy as np
import pytest

from edgegal.device.sources import open_source
from edgegal.errors import FrameError
from edgegal.frames import Frame

SMALL = "sim:width=256,height=256"


def taken(options: str, count: int) -> list[Frame | FrameError]:
    found: list[Frame | FrameError] = []
    with open_source(f"{SMALL},frames={count},{options}") as source:
        for _ in range(count):
            try:
                found.append(next(source))
            except FrameError as error:
                found.append(error)
        with pytest.raises(StopIteration):
            next(source)
    return found


def test_a_share_of_frames_arrives_damaged_and_always_the_same() -> None:
    first, again = (taken("drop=0.3", 40) for _ in range(2))
    damaged = [isinstance(f, FrameError) for f in first]
    assert 4 <= sum(damaged) <= 20
    assert damaged == [isinstance(f, FrameError) for f in again]
    assert [f.index for f in first if isinstance(f, Frame)] == [i for i, bad in enumerate(damaged) if not bad]


def test_clouds_hide_stars_and_brighten_the_sky() -> None:
    (clear,), (cloudy,) = taken("cloud=0", 1), taken("cloud=1", 1)
    assert isinstance(clear, Frame)
    assert isinstance(cloudy, Frame)
    assert np.median(cloudy.pixels) > np.median(clear.pixels) + 300

    def light(frame: Frame) -> float:
        return float(np.percentile(frame.pixels, 99.9) - np.median(frame.pixels))

    assert light(cloudy) < 0.3 * light(clear)


def test_a_turned_field_is_the_field_turned() -> None:
    frames = taken("rotate=90,drift=0,seed=3", 2)
    assert isinstance(frames[0], Frame)
    assert isinstance(frames[1], Frame)
    upright = np.rot90(frames[0].pixels.astype(float).mean(axis=2))
    turned = frames[1].pixels.astype(float).mean(axis=2)
    assert np.corrcoef(upright.ravel(), turned.ravel())[0, 1] > 0.8
    assert np.corrcoef(upright.ravel(), frames[0].pixels.astype(float).mean(axis=2).ravel())[0, 1] < 0.5


def test_a_paced_night_is_live_and_ends_when_closed() -> None:
    source = open_source(f"{SMALL},frames=100,fps=0.01")
    assert source.live
    assert not open_source(SMALL).live
    next(source)
    ended: list[object] = []
    waiting = threading.Thread(target=lambda: ended.append(list(source)), daemon=True)
    waiting.start()
    source.close()
    waiting.join(20)
    assert ended == [[]]


def test_the_wait_of_a_paced_night_ends_when_the_frame_is_due() -> None:
    with open_source(f"{SMALL},frames=2,fps=5") as source:
        next(source)
        first = source.arrived
        next(source)
        assert source.arrived - first >= 0.15
    with open_source(f"{SMALL},frames=1") as source:
        next(source)
        assert source.arrived == 0
