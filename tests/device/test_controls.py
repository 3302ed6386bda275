import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.device.controls import RANGES, Controls, Dials, Thresholds
from edgegal.errors import InputError
from edgegal.preprocess import Stretch

any_value = st.floats(allow_nan=True, allow_infinity=True)


def test_dials_are_turned_together_and_back() -> None:
    controls = Controls(Stretch(), Thresholds(0.3, 0.5))
    turned = controls.turn(black_sigma=-2, score=0.6)
    assert turned == controls.now == Dials(Stretch(black_sigma=-2), Thresholds(0.6, 0.5))
    assert controls.reset() == controls.now == Dials(Stretch(), Thresholds(0.3, 0.5))


@given(st.dictionaries(st.sampled_from(sorted(RANGES)), any_value, min_size=1))
def test_whatever_is_asked_for_the_dials_stay_within_their_ranges(values: dict[str, float]) -> None:
    controls = Controls(thresholds=Thresholds(0.3))
    fit = all(RANGES[name][0] <= value <= RANGES[name][1] for name, value in values.items())
    if fit:
        controls.turn(**values)
    else:
        # Not even those that would have fitted are turned.
        with pytest.raises(InputError, match="lies within"):
            controls.turn(**values)
        assert controls.now == controls.initial
    now = {**vars(controls.now.stretch), **vars(controls.now.thresholds)}
    assert all(RANGES[name][0] <= value <= RANGES[name][1] for name, value in now.items())


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="not at nan"):
        Controls().turn(black_sigma=math.nan)


def test_a_run_without_thresholds_says_so() -> None:
    controls = Controls()
    with pytest.raises(InputError, match="thresholds of this run"):
        controls.turn(black_sigma=2, score=0.5)
    assert controls.now == controls.initial


def test_an_unknown_dial_is_named() -> None:
    with pytest.raises(InputError, match="no dial 'gamma'") as caught:
        Controls().turn(gamma=2)
    assert "white_sigma" in caught.value.mend


def test_nobody_sees_dials_that_do_not_belong_together() -> None:
    controls = Controls(thresholds=Thresholds(0.0, 0.0))
    torn, done = [], threading.Event()

    def read() -> None:
        while not done.is_set():
            thresholds = controls.now.thresholds
            assert thresholds is not None
            if thresholds.score != thresholds.abstain_below:
                torn.append(thresholds)

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(2000):
        controls.turn(score=i / 2000, abstain_below=i / 2000)
    done.set()
    reader.join(30)
    assert torn == []
