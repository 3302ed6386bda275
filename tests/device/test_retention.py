import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edgegal.device.retention import Limits, Stored, plan, stored_files, tidy

NOW = datetime(2026, 3, 1, 21, tzinfo=timezone.utc)

FILES = st.builds(
    Stored,
    path=st.integers(0, 10**9).map(lambda n: Path(f"frames/{n}.png")),
    bytes=st.integers(0, 10**9),
    modified=st.one_of(
        st.timedeltas(timedelta(days=-20_000), timedelta(days=1_000)),
        st.timedeltas(timedelta(hours=-3), timedelta(hours=3)),
    ).map(lambda age: NOW + age),
    empty=st.booleans(),
)
SEVERAL = st.lists(FILES, max_size=30, unique_by=lambda f: f.path)
LIMITS = st.builds(Limits, st.none() | st.floats(0, 5000), st.integers(0, 10**10))
FREE = st.integers(0, 10**10)


def may_go(file: Stored) -> bool:
    return NOW - file.modified > timedelta(hours=1)


@given(SEVERAL, LIMITS, FREE)
def test_enough_is_freed_or_all_that_may_go_does(files: list[Stored], limits: Limits, free: int) -> None:
    gone = plan(files, limits, free, NOW)
    enough = free + sum(f.bytes for f in gone) >= limits.free_bytes
    assert enough or set(gone) == {f for f in files if may_go(f)}


@given(SEVERAL, LIMITS, FREE)
def test_nothing_of_the_running_hour_goes_and_nothing_twice(files: list[Stored], limits: Limits, free: int) -> None:
    gone = plan(files, limits, free, NOW)
    assert all(may_go(f) for f in gone)
    assert len(set(gone)) == len(gone)


@given(SEVERAL, st.integers(0, 10**10), FREE)
def test_for_room_empty_pictures_go_first_then_the_oldest_and_none_in_vain(
    files: list[Stored], wanted: int, free: int
) -> None:
    gone = plan(files, Limits(free_bytes=wanted), free, NOW)
    stay = [f for f in files if may_go(f) and f not in gone]
    if gone:
        last = gone[-1]
        assert all((not last.empty, last.modified) <= (not f.empty, f.modified) for f in stay)
        assert free + sum(f.bytes for f in gone[:-1]) < wanted


@given(SEVERAL, st.floats(0, 5000))
def test_what_is_too_old_goes_whatever_is_free_but_never_for_a_clock_that_was_not_set(
    files: list[Stored], days: float
) -> None:
    gone = plan(files, Limits(days=days), 10**12, NOW)
    clock_set = datetime(2024, 1, 1, tzinfo=timezone.utc)
    assert set(gone) == {
        f for f in files if may_go(f) and f.modified >= clock_set and NOW - f.modified > timedelta(days)
    }


def put(folder: Path, name: str, age: timedelta, size: int = 5000) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes([7]) * size)
    time = (NOW - age).timestamp()
    os.utime(path, (time, time))
    return path


OLD = timedelta(days=40)


def test_only_pictures_that_a_run_wrote_go(tmp_path: Path) -> None:
    go = [
        *("frames/000001_sim.png", "frames/000002_sim.empty.png", "stacks/20260101T210000_ab_000000.fits"),
        *("crops/ab-00001.png", "frames/.000003_sim.77.part.png", "crops/.crops.77.part.jsonl"),
    ]
    stay = [
        *("sightings.db", "sightings.db-wal", "sightings.jsonl", "crops/crops.jsonl", "crops/labels.csv"),
        *("crops/false/ab-00002.png", "crops/spiral/ab-00003.png", "frames/notes.txt", "mine.png"),
    ]
    for name in (*go, *stay):
        put(tmp_path, name, OLD)
    fresh = put(tmp_path, "frames/000009_sim.png", timedelta(minutes=50))
    removal = tidy(tmp_path, Limits(days=30), NOW)
    assert {p.relative_to(tmp_path).as_posix() for p in removal.removed} == set(go)
    assert removal.freed_bytes >= 5000 * len(go)
    assert (removal.enough, removal.failed) == (True, ())
    left = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {*stay, fresh.relative_to(tmp_path).as_posix()}


def test_when_too_little_is_free_all_that_may_go_does_and_it_says_that_this_is_not_enough(tmp_path: Path) -> None:
    put(tmp_path, "frames/000001_sim.png", timedelta(hours=2))
    put(tmp_path, "frames/000002_sim.png", timedelta(minutes=2))
    removal = tidy(tmp_path, Limits(free_bytes=2**60), NOW)
    assert [p.name for p in removal.removed] == ["000001_sim.png"]
    assert not removal.enough


def test_within_the_limits_nothing_goes(tmp_path: Path) -> None:
    put(tmp_path, "frames/000001_sim.png", OLD)
    assert tidy(tmp_path, Limits(), NOW).removed == ()


def test_a_link_goes_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    outside = put(tmp_path, "outside.png", OLD)
    link = tmp_path / "out/frames/a.png"
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    os.utime(link, (0, (NOW - OLD).timestamp()), follow_symlinks=False)
    assert tidy(tmp_path / "out", Limits(days=1), NOW).removed == (link,)
    assert outside.exists()


def test_before_the_first_night_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert tidy(tmp_path / "out", Limits(days=1)).removed == ()
    assert stored_files(tmp_path / "out") == ()


def test_a_picture_that_cannot_be_removed_is_named_and_the_others_go(tmp_path: Path) -> None:
    first = put(tmp_path, "frames/1.png", OLD)
    # What was a picture in the list may be a folder by now.
    second = tmp_path / "frames/2.png"
    second.mkdir()
    os.utime(second, (0, (NOW - OLD).timestamp()))
    removal = tidy(tmp_path, Limits(days=1), NOW)
    assert removal.removed == (first,)
    (failure,) = removal.failed
    assert "2.png: " in failure
