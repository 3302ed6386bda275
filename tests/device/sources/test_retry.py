import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.device.sources.retry import Retry
from edgegal.errors import InputError


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(st.floats(0.01, 10), st.floats(10, 1000), st.integers(1, 60))
def test_waits_double_up_to_a_cap(first_s: float, most_s: float, failures: int) -> None:
    retry = Retry("camera", first_s, most_s, Clock())
    waits = [retry.failed(ConnectionError("gone")) for _ in range(failures)]
    for number, wait in enumerate(waits):
        longest = min(most_s, first_s * 2**number)
        assert longest / 2 <= wait <= longest


def test_clients_of_one_server_do_not_return_together() -> None:
    assert len({Retry("camera").failed(ConnectionError("gone")) for _ in range(20)}) == 20


def test_a_loss_and_a_return_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    retry = Retry("camera", clock=clock)
    with caplog.at_level(logging.INFO):
        for _ in range(7):
            clock.now += retry.failed(ConnectionError("no route"))
        retry.succeeded()
        retry.succeeded()
    assert [r.message.split(";")[0].split(" after")[0] for r in caplog.records] == [
        "camera is lost: no route",
        "camera is back",
    ]


def test_a_return_starts_the_waits_anew() -> None:
    retry = Retry("camera", 1.0)
    for _ in range(5):
        retry.failed(TimeoutError())
    retry.succeeded()
    assert retry.failed(TimeoutError()) <= 1.0


def test_a_lost_server_is_tried_for_ever() -> None:
    retry = Retry("camera", clock=Clock())
    for _ in range(1000):
        assert retry.failed(ConnectionRefusedError()) <= 60


def test_what_only_the_user_can_mend_is_given_up_after_five_tries_in_a_minute() -> None:
    clock = Clock()
    retry = Retry("camera", clock=clock)
    fault = InputError("no permission", "join the group video")
    for _ in range(4):
        clock.now += retry.failed(fault)
    with pytest.raises(InputError) as caught:
        retry.failed(fault)
    assert caught.value is fault


def test_such_faults_far_apart_are_not_given_up() -> None:
    clock = Clock()
    retry = Retry("camera", clock=clock)
    for _ in range(50):
        retry.failed(InputError("no permission"))
        clock.now += 20
