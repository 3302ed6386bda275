from hypothesis import given
from hypothesis import strategies as st

from edgegal.device.pipeline import StageTimes
from edgegal.device.web.history import FramePoint, History, Minute


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_frames_fall_into_the_minutes_they_came_in() -> None:
    clock = Clock()
    history = History(clock)
    history.use(StageTimes(read=0.02, detect=0.05), 3)
    clock.now += 59
    history.skip()
    clock.now += 2
    history.drop(4)
    clock.now += 600
    history.use(StageTimes(detect=0.5), 0)
    assert history.frames == (FramePoint(1, 0.07, 3), FramePoint(2, None), FramePoint(3, 0.5))
    assert history.minutes == (Minute(0, 1, 1, 0, 0.07), Minute(1, 0, 0, 4), Minute(11, 1, 0, 0, 0.5))


@given(st.lists(st.tuples(st.sampled_from(["use", "skip", "drop"]), st.floats(0, 300)), max_size=300))
def test_nothing_is_counted_twice_or_lost_and_memory_stays_bounded(steps: list[tuple[str, float]]) -> None:
    clock = Clock()
    history = History(clock)
    for kind, seconds in steps:
        clock.now += seconds
        if kind == "use":
            history.use(StageTimes(detect=0.1), 1)
        elif kind == "skip":
            history.skip()
        else:
            history.drop(1)
    minutes = history.minutes
    kinds = [kind for kind, _ in steps]
    assert sum(m.used for m in minutes) == kinds.count("use")
    assert sum(m.skipped for m in minutes) == kinds.count("skip")
    assert sum(m.dropped for m in minutes) == kinds.count("drop")
    assert [m.number for m in minutes] == sorted({m.number for m in minutes})
    assert len(history.frames) == min(240, len(kinds) - kinds.count("drop"))


def test_a_long_night_keeps_its_last_hours() -> None:
    clock = Clock()
    history = History(clock)
    for _ in range(1000):
        history.use(StageTimes(detect=0.1), 0)
        clock.now += 60
    assert (len(history.minutes), history.minutes[0].number, history.minutes[-1].number) == (720, 280, 999)
    assert [p.number for p in history.frames] == list(range(761, 1001))
