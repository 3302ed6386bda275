import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.device.sources.imagebytes import decode_imagebytes
from edgegal.errors import FrameError

TYPES = {1: "h", 2: "i", 3: "d", 4: "f", 5: "Q", 6: "B", 7: "q", 8: "H", 9: "I"}


def sent(columns: list[list[list[int]]], kind: int, rank: int, start: int = 44) -> bytes:
    """What a camera sends for ``columns[x][y][plane]``, value by value as the reference lists them."""
    width, height, planes = len(columns), len(columns[0]), len(columns[0][0])
    values = [value for column in columns for pixel in column for value in pixel]
    header = struct.pack("<11i", 1, 0, 5, 6, start, 2, kind, rank, width, height, planes if rank == 3 else 0)
    return header.ljust(start, b"\0") + struct.pack(f"<{len(values)}{TYPES[kind]}", *values)


@given(
    st.sampled_from(sorted(TYPES)),
    st.integers(1, 7),
    st.integers(1, 7),
    st.sampled_from([(2, 1), (3, 3)]),
    st.sampled_from([44, 48, 100]),
)
def test_every_pixel_is_where_the_camera_saw_it(
    kind: int, width: int, height: int, rank_planes: tuple[int, int], start: int
) -> None:
    rank, planes = rank_planes
    columns = [[[(x + 10 * y + 70 * p) % 128 for p in range(planes)] for y in range(height)] for x in range(width)]
    picture = decode_imagebytes(sent(columns, kind, rank, start), "camera")
    assert picture.shape == ((height, width) if rank == 2 else (height, width, planes))
    assert picture.dtype.isnative
    for x in range(width):
        for y in range(height):
            assert np.array_equal(picture[y, x], columns[x][y] if rank == 3 else columns[x][y][0])


def test_an_error_comes_with_its_words() -> None:
    raw = struct.pack("<11i", 1, 0x40B, 0, 0, 44, 0, 0, 0, 0, 0, 0) + "kein Bild, Verschluß klemmt".encode()
    with pytest.raises(FrameError, match=r"kein Bild, Verschluß klemmt \(error 0x40b\)"):
        decode_imagebytes(raw, "camera")


@given(st.integers(0, 44 + 2 * 12 - 1))
def test_a_part_of_a_picture_is_refused(length: int) -> None:
    whole = sent([[[1]] * 3] * 4, 8, 2)
    assert decode_imagebytes(whole, "camera").shape == (3, 4)
    with pytest.raises(FrameError):
        decode_imagebytes(whole[:length], "camera")


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(raw: bytes) -> None:
    try:
        decode_imagebytes(raw, "camera")
    except FrameError:
        return


@pytest.mark.parametrize(
    "fields",
    [
        (2, 0, 0, 0, 44, 2, 8, 2, 1, 1, 0),
        (1, 0, 0, 0, 12, 2, 8, 2, 1, 1, 0),
        (1, 0, 0, 0, 44, 2, 10, 2, 1, 1, 0),
        (1, 0, 0, 0, 44, 2, 8, 4, 1, 1, 0),
        (1, 0, 0, 0, 44, 2, 8, 2, 0, 1, 0),
        (1, 0, 0, 0, 44, 2, 8, 2, 2**30, 2**30, 0),
    ],
)
def test_a_header_that_cannot_be_is_refused(fields: tuple[int, ...]) -> None:
    with pytest.raises(FrameError):
        decode_imagebytes(struct.pack("<11i", *fields) + b"\0" * 8, "camera")
