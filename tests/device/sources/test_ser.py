import logging
import struct
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegal.device.sources import open_source
from edgegal.device.sources.ser import SerSource, parse_header, ser_time
from edgegal.errors import EdgegalError, FrameError, InputError

COLOURS = {0: None, 8: "RGGB", 9: "GRBG", 10: "GBRG", 11: "BGGR", 100: None, 101: None}
START = datetime(2024, 3, 9, 21, 4, 5, 250_000, tzinfo=timezone.utc)


def ticks(time: datetime) -> int:
    """100 ns since the year 1, by the calendar rather than by subtraction."""
    seconds = (time.toordinal() - 1) * 86_400 + time.hour * 3600 + time.minute * 60 + time.second
    return seconds * 10_000_000 + time.microsecond * 10


def ser_bytes(
    frames: np.ndarray,
    colour: int = 0,
    depth: int = 16,
    flag: int = 0,
    announced: int | None = None,
    times: list[datetime] | None = None,
    file_id: bytes = b"LUCAM-RECORDER",
) -> bytes:
    """A file laid out byte by byte from the specification's table of offsets."""
    header = bytearray(178)
    header[0:14] = file_id.ljust(14)
    count = len(frames) if announced is None else announced
    for offset, value in zip(
        range(14, 42, 4), (0, colour, flag, frames.shape[2], frames.shape[1], depth, count), strict=True
    ):
        struct.pack_into("<i", header, offset, value)
    header[42:50] = b"Observer"
    header[82:88] = b"ASI224"
    header[122:125] = "Ø8".encode("latin-1").ljust(3)
    struct.pack_into("<q", header, 170, ticks(START))
    stored = frames.astype(np.uint8) if depth <= 8 else frames.astype(">u2" if flag == 1 else "<u2")
    trailer = b"".join(struct.pack("<Q", ticks(t)) for t in times or [])
    return bytes(header) + stored.tobytes() + trailer


def movie(count: int = 3, colour: int = 0, depth: int = 16, seed: int = 0) -> np.ndarray:
    shape = (count, 6, 10, 3) if colour >= 100 else (count, 6, 10)
    return np.random.default_rng(seed).integers(0, 2**depth, shape).astype(np.uint16)


def write(path: Path, raw: bytes) -> Path:
    path.write_bytes(raw)
    return path


@given(
    colour=st.sampled_from(sorted(COLOURS)),
    depth=st.integers(1, 16),
    flag=st.sampled_from([0, 1]),
    count=st.integers(1, 4),
    timed=st.booleans(),
    lost=st.integers(0, 400),
)
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_whole_of_any_file_comes_out_as_it_was(
    tmp_path: Path, colour: int, depth: int, flag: int, count: int, timed: bool, lost: int
) -> None:
    frames = movie(count, colour, depth, seed=depth)
    times = [START + timedelta(milliseconds=40 * i) for i in range(count)] if timed else None
    raw = ser_bytes(frames, colour, depth, flag, times=times)
    bytes_a_frame = frames[0].size * (1 if depth <= 8 else 2)
    cut = raw[: max(len(raw) - lost, 0)]
    whole = min(count, max(0, len(cut) - 178) // bytes_a_frame)
    path = write(tmp_path / "night.ser", cut)
    if not whole:
        with pytest.raises(FrameError):
            open_source(str(path))
        return
    with open_source(str(path)) as source:
        found = list(source)
    assert len(found) == whole
    for index, frame in enumerate(found):
        expected = frames[index][..., ::-1] if colour == 101 else frames[index]
        np.testing.assert_array_equal(frame.pixels, expected)
        assert frame.pixels.dtype == (np.uint8 if depth <= 8 else np.uint16)
        assert frame.pixels.dtype.isnative
        assert (frame.index, frame.bayer, frame.linear) == (index, COLOURS[colour], True)
        assert frame.time == (times[index] if times and not lost else None)


def test_a_file_that_lies_about_its_byte_order_can_be_overruled(tmp_path: Path) -> None:
    frames = movie()
    raw = bytearray(ser_bytes(frames, flag=1))
    struct.pack_into("<i", raw, 22, 0)
    path = write(tmp_path / "lies.ser", bytes(raw))
    with open_source(str(path)) as source:
        assert not np.array_equal(next(source).pixels, frames[0])
    with open_source(f"ser:{path}?endian=big") as source:
        np.testing.assert_array_equal(next(source).pixels, frames[0])


def test_any_recorder_may_have_written_it(tmp_path: Path) -> None:
    path = write(tmp_path / "indi.ser", ser_bytes(movie(), file_id=b"INDI-RECORDER"))
    with open_source(str(path)) as source:
        frame = next(source)
    assert dict(frame.header) == {"OBSERVER": "Observer", "INSTRUME": "ASI224", "TELESCOP": "Ø8"}


def test_a_recorder_that_was_cut_off_leaves_a_readable_file(tmp_path: Path) -> None:
    path = write(tmp_path / "cut.ser", ser_bytes(movie(3), announced=0)[:-7])
    with open_source(str(path)) as source:
        assert len(list(source)) == 2


def test_a_short_file_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "cut.ser", ser_bytes(movie(3), announced=9))
    with caplog.at_level(logging.WARNING), open_source(str(path)) as source:
        assert len(list(source)) == 3
    assert "ends after 3 of 9 frames" in caplog.text


def test_a_file_cut_short_while_it_is_read_ends_with_one_bad_frame(tmp_path: Path) -> None:
    raw = ser_bytes(movie(4))
    path = write(tmp_path / "night.ser", raw)
    with open_source(str(path)) as source:
        next(source)
        with path.open("r+b") as file:
            file.truncate(178 + 150)
        with pytest.raises(FrameError, match="cut short while it was read"):
            next(source)
        with pytest.raises(StopIteration):
            next(source)


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [
        (18, 16, "CYYM colour filters"),
        (18, 19, "MYYC colour filters"),
        (18, 7, "no colour 7"),
        (34, 0, "0 bits"),
        (34, 32, "32 bits"),
        (26, 0, "0 x 6"),
        (30, -6, "10 x -6"),
        (26, 2**30, "no SER file"),
    ],
)
def test_a_header_that_nobody_reads_is_refused_by_name(tmp_path: Path, offset: int, value: int, words: str) -> None:
    raw = bytearray(ser_bytes(movie()))
    struct.pack_into("<i", raw, offset, value)
    with pytest.raises(FrameError, match=words):
        SerSource(write(tmp_path / "odd.ser", bytes(raw)))


@given(st.binary(max_size=400))
def test_no_bytes_do_more_than_be_refused(raw: bytes) -> None:
    try:
        header = parse_header(raw, "x.ser")
    except EdgegalError:
        return
    assert header.frame_bytes > 0


@given(st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1)))  # noqa: DTZ001
def test_times_are_utc_to_the_microsecond(time: datetime) -> None:
    time = time.replace(tzinfo=timezone.utc)
    assert ser_time(ticks(time)) == time


@pytest.mark.parametrize("nonsense", [0, 1, 10**12, 2**62, 2**64 - 1])
def test_a_recorder_without_a_clock_gives_no_time(nonsense: int) -> None:
    assert ser_time(nonsense) is None


def test_options_and_absent_files_are_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="endian"):
        open_source(f"ser:{tmp_path}/a.ser?endian=middle")
    with pytest.raises(FrameError, match="cannot be read"):
        open_source(f"ser:{tmp_path}/absent.ser")
