"""Stages in watched threads: stuck in real blocking calls, broken, and given up."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgegal.device.sinks.files import write_whole
from edgegal.device.supervision import GivenUp, Pulse, Stage, StageFailedError, Stall, Supervisor, beat
from edgegal.errors import InputError


class Pipe:
    """A pipe that nobody writes to: reading from it blocks."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def wait(self) -> bytes:
        return os.read(self._read, 1)

    def free(self) -> None:
        os.write(self._write, b".")


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    # Whatever still waits ends with the test.
    for _ in range(20):
        pipe.free()


class Job(Stage):
    """Does things in order, each in a thread of its own where the one before failed."""

    name = "job"

    def __init__(self, *actions: Callable[[], object], stall_s: float | None = 0.1) -> None:
        self.stall_s = stall_s
        self.actions = list(actions)
        self.results: list[object] = []
        self.faults: list[Exception] = []

    def work(self, pulse: Pulse) -> None:
        while self.actions:
            self.results.append(pulse.call(self.actions.pop(0), "the action", self.stall_s))

    def recover(self, fault: Exception) -> None:
        if isinstance(fault, InputError):
            raise fault
        self.faults.append(fault)


def run(*stages: Stage) -> Supervisor:
    """Until the last stage is over."""
    supervisor = Supervisor(stages)
    while not supervisor.is_done(stages[-1]):
        supervisor.wait(0.02)
        supervisor.check()
    return supervisor


def test_a_stage_that_is_well_is_left_alone() -> None:
    job = Job(lambda: 1, lambda: 2)
    assert run(job).restarted == 0
    assert job.results == [1, 2]


def test_a_stage_stuck_in_a_blocking_call_goes_on_in_another_thread(pipe: Pipe) -> None:
    came_back = threading.Event()

    def hang() -> str:
        pipe.wait()
        came_back.set()
        return "late"

    job = Job(lambda: "first", hang, lambda: "second")
    supervisor = run(job)
    assert job.results == ["first", "second"]
    assert isinstance(job.faults[0], Stall)
    assert list(supervisor.restarts) == ["job: the action hung"]
    pipe.free()
    assert came_back.wait(10)
    # The thread that came back is not listened to.
    assert job.results == ["first", "second"]


def test_a_call_that_beats_is_not_stuck() -> None:
    def slow() -> str:
        for _ in range(20):
            threading.Event().wait(0.02)
            beat()
        return "done"

    job = Job(slow, stall_s=0.2)
    assert run(job).restarted == 0
    assert job.results == ["done"]


def test_a_thread_that_was_given_up_is_told_so_at_its_next_beat() -> None:
    pulse = Pulse()
    pulse.give_up()
    with pytest.raises(GivenUp):
        pulse.beat()
    with pytest.raises(GivenUp):
        pulse.call(lambda: None, "anything", None)


def test_a_beat_outside_of_stages_is_nothing() -> None:
    beat()


def test_a_stage_that_breaks_is_begun_anew() -> None:
    job = Job(lambda: 1 / 0, lambda: "second")
    supervisor = run(job)
    assert job.results == ["second"]
    assert list(supervisor.restarts) == ["job: ZeroDivisionError: division by zero"]


def test_what_a_stage_cannot_recover_from_is_raised() -> None:
    def refuse() -> None:
        raise InputError("no such camera")

    with pytest.raises(InputError, match="no such camera"):
        run(Job(refuse, lambda: "never"))


def test_after_five_restarts_in_a_minute_it_is_given_up_with_an_exit_code_of_its_own() -> None:
    job = Job(*[lambda: 1 / 0] * 9)
    with pytest.raises(StageFailedError, match="ZeroDivisionError") as caught:
        run(job)
    assert len(job.faults) == 6
    assert caught.value.exit_code == 4
    assert caught.value.mend


def test_a_stage_that_always_hangs_is_given_up(pipe: Pipe) -> None:
    with pytest.raises(StageFailedError, match="hung"):
        run(Job(*[pipe.wait] * 9, stall_s=0.02))


def test_a_stage_that_may_stall_is_waited_for_however_often(pipe: Pipe) -> None:
    class Patient(Job):
        may_stall = True

    job = Patient(*[pipe.wait] * 8, lambda: "at last", stall_s=0.02)
    assert run(job).restarted == 8
    assert job.results == ["at last"]


def test_what_still_works_at_the_end_is_named(pipe: Pipe) -> None:
    stuck, done = Job(pipe.wait, stall_s=None), Job(lambda: 1)
    stuck.name = "stuck"
    supervisor = run(stuck, done)
    assert supervisor.give_up() == ("stuck",)


def test_a_large_file_on_a_slow_card_is_written_without_being_taken_for_stuck(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            threading.Event().wait(0.02)
            yield b"piece"

    job = Job(lambda: write_whole(tmp_path / "stack.fits", pieces()), stall_s=0.2)
    assert run(job).restarted == 0
    assert (tmp_path / "stack.fits").read_bytes() == 20 * b"piece"


def test_the_longest_silence_of_the_last_call_is_known() -> None:
    pulse = Pulse()

    def work() -> None:
        threading.Event().wait(0.2)
        pulse.beat()
        threading.Event().wait(0.02)

    pulse.call(work, "work", None)
    assert pulse.silence_s >= 0.2
    pulse.call(lambda: None, "nothing", None)
    assert pulse.silence_s < 0.2
