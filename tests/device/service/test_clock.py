"""A clock that is not set, that is set later, and that jumps."""

import json
import logging
import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.device.service import ClockState, ClockWatch, read_clock, stamped
from edgegal.device.service.clock import kernel_error_s
from edgegal.frames import Frame

NOW = datetime(2027, 3, 1, 22, 0, tzinfo=timezone.utc).timestamp()


def bound(seconds: float) -> Callable[[], float]:
    return lambda: seconds


def refused() -> float:
    raise PermissionError(1, "adjtimex: Operation not permitted")


def test_a_clock_older_than_the_software_was_not_set(tmp_path: Path) -> None:
    state = read_clock(tmp_path, now=0.0, error_s=bound(0.001))
    assert state.mark == "unsynchronised"
    assert "1970-01-01" in state.reason


@pytest.mark.parametrize(("error", "mark"), [(0.02, "synchronised"), (15.9, "synchronised"), (16.0, "unsynchronised")])
def test_the_kernel_bounds_the_error_of_a_clock_that_something_sets(tmp_path: Path, error: float, mark: str) -> None:
    assert read_clock(tmp_path, NOW, bound(error)).mark == mark


def test_one_set_before_the_network_was_lost_is_still_right(tmp_path: Path) -> None:
    (tmp_path / "run/systemd/timesync").mkdir(parents=True)
    (tmp_path / "run/systemd/timesync/synchronized").touch()
    assert read_clock(tmp_path, NOW, bound(16.0)).mark == "synchronised"


def test_where_nobody_can_be_asked_it_is_unknown(tmp_path: Path) -> None:
    state = read_clock(tmp_path, NOW, refused)
    assert (state.synchronised, state.mark) == (None, "unknown")
    assert "not permitted" in state.reason


def test_the_kernel_answers_as_the_compiler_reads_it(tmp_path: Path) -> None:
    """The bound of the error lies where C has it."""
    source = tmp_path / "bound.c"
    source.write_text(
        "#include <stdio.h>\n#include <stddef.h>\n#include <sys/timex.h>\n"
        'int main(void) { printf("%zu %zu", offsetof(struct timex, maxerror), sizeof(struct timex)); return 0; }\n'
    )
    try:
        subprocess.run(["cc", str(source), "-o", str(tmp_path / "bound")], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no C compiler")
    offset, size = map(int, subprocess.run([str(tmp_path / "bound")], check=True, capture_output=True).stdout.split())
    from edgegal.device.service import clock

    assert clock._Timex.maxerror.offset == offset
    assert clock._Timex.rest.offset + clock._Timex.rest.size >= size
    assert kernel_error_s() >= 0


class Clocks:
    """A computer whose clock is set while it runs."""

    def __init__(self) -> None:
        self.wall = NOW
        self.steady = 1000.0
        self.state = ClockState(False, "nothing set it")

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def watch(self) -> ClockWatch:
        return ClockWatch(lambda: self.state, lambda: self.wall, lambda: self.steady)


def test_frames_are_marked_until_the_clock_is_set(caplog: pytest.LogCaptureFixture) -> None:
    clocks = Clocks()
    watch = clocks.watch()
    assert watch.mark == "unknown"
    (event,) = watch.check()
    assert (event.kind, watch.mark) == ("unsynchronised", "unsynchronised")
    assert "timedatectl" in event.mend
    clocks.pass_time(60)
    assert watch.check() == ()
    clocks.state = ClockState(True, "set")
    clocks.wall += 86_400
    jumped, synchronised = watch.check()
    assert (jumped.kind, synchronised.kind, watch.mark) == ("jumped", "synchronised", "synchronised")
    assert jumped.offset_s == pytest.approx(86_400)
    assert json.loads(json.dumps(jumped.document()))["time"] == "2027-03-02T22:01:00+00:00"
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert "86400.0 s" in warnings[1]


def test_a_clock_once_set_stays_trusted_without_network() -> None:
    clocks = Clocks()
    clocks.state = ClockState(True, "set")
    watch = clocks.watch()
    watch.check()
    clocks.state = ClockState(False, "the bound has grown")
    assert watch.check() == ()
    assert watch.mark == "synchronised"


@given(st.lists(st.tuples(st.floats(0, 1e5), st.floats(-1e6, 1e6)), min_size=1, max_size=10))
def test_jumps_are_told_apart_from_time_that_passes(steps: list[tuple[float, float]]) -> None:
    clocks = Clocks()
    clocks.wall = 4e9
    watch = clocks.watch()
    watch.check()
    for passed, offset in steps:
        clocks.pass_time(passed)
        clocks.wall += offset
        jumps = [event.offset_s for event in watch.check() if event.kind == "jumped"]
        if abs(offset) > 2.001:
            assert jumps == [pytest.approx(offset, abs=1e-3)]
        elif abs(offset) < 1.999:
            assert jumps == []


def test_a_doubtful_time_is_marked_on_the_frame_and_a_right_one_is_not() -> None:
    frame = Frame(np.zeros((4, 4), np.uint16), "camera", header={"GAIN": 100})
    assert stamped(frame, "unsynchronised").header == {"GAIN": 100, "CLOCK": "unsynchronised"}
    assert stamped(frame, "unknown").header["CLOCK"] == "unknown"
    assert stamped(frame, "synchronised") is frame
