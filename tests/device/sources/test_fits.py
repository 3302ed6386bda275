import gzip
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from edgegal.device.sources.fits import read_fits
from edgegal.errors import FrameError
from edgegal.preprocess import debayer

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")


def write(path: Path, data: np.ndarray, **cards: Any) -> Path:
    unit = fits.PrimaryHDU(data)
    for key, value in cards.items():
        unit.header[key] = value
    unit.writeto(path, overwrite=True)
    return path


def gradient(dtype: str) -> np.ndarray:
    """Row 0 darkest; no two rows and no two columns alike."""
    rows, columns = np.mgrid[0:30, 0:50]
    return (4 * rows + columns).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"])
def test_every_pixel_type_is_read_as_it_was_written(tmp_path: Path, dtype: str) -> None:
    path = write(tmp_path / "a.fits", gradient(dtype), ROWORDER="TOP-DOWN")
    frame = read_fits(path)
    np.testing.assert_array_equal(frame.pixels, gradient(dtype))
    assert frame.pixels.dtype.isnative
    assert frame.linear == (dtype != "uint8")


def test_scaled_integers_come_out_in_physical_units(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", gradient("int16"), ROWORDER="TOP-DOWN")
    with fits.open(path, mode="update", do_not_scale_image_data=True) as units:
        units[0].header["BSCALE"] = 0.5
        units[0].header["BZERO"] = 100.0
    np.testing.assert_allclose(read_fits(path).pixels, gradient("float32") * 0.5 + 100)


@pytest.mark.parametrize("suffix", ["fit", "fts", "fits.gz"])
def test_every_ending_is_read(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", gradient("uint16"), ROWORDER="TOP-DOWN")
    np.testing.assert_array_equal(read_fits(path).pixels, gradient("uint16"))


@pytest.mark.parametrize(
    ("cards", "first_row_on_top"),
    [
        ({"ROWORDER": "TOP-DOWN"}, True),
        ({"ROWORDER": "BOTTOM-UP"}, False),
        ({}, False),
        ({"BAYERPAT": "RGGB"}, True),
        ({"BAYERPAT": "RGGB", "ROWORDER": "BOTTOM-UP"}, False),
    ],
)
def test_row_0_is_at_the_top(tmp_path: Path, cards: dict[str, str], first_row_on_top: bool) -> None:
    frame = read_fits(write(tmp_path / "a.fits", gradient("uint16"), **cards))
    expected = gradient("uint16") if first_row_on_top else gradient("uint16")[::-1]
    np.testing.assert_array_equal(frame.pixels, expected)


@pytest.mark.parametrize("planes", [3, 4])
def test_colour_planes_become_the_last_axis_and_the_fourth_is_dropped(tmp_path: Path, planes: int) -> None:
    cube = np.stack([gradient("uint16") + 1000 * i for i in range(planes)])
    # A Seestar leaves BAYERPAT in the header of its colour stacks.
    frame = read_fits(write(tmp_path / "a.fits", cube, ROWORDER="TOP-DOWN", BAYERPAT="GRBG    "))
    np.testing.assert_array_equal(frame.pixels, np.moveaxis(cube[:3], 0, 2))
    assert frame.bayer is None


def quadrants() -> np.ndarray:
    """Red top left, green top right, blue bottom left, grey bottom right; ``(40, 60, 3)``."""
    picture = np.full((40, 60, 3), 100, np.uint16)
    picture[:20, :30, 0] = picture[:20, 30:, 1] = picture[20:, :30, 2] = 4000
    return picture


def mosaic(picture: np.ndarray, pattern: str, x_offset: int, y_offset: int) -> np.ndarray:
    """What a sensor with `pattern` sees when its read-out starts at an offset into the pattern."""
    rows, columns = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    cell = ((rows + y_offset) % 2) * 2 + (columns + x_offset) % 2
    channel = np.array(["RGB".index(c) for c in pattern])[cell]
    return np.take_along_axis(picture, channel[..., None], axis=2)[..., 0]


@pytest.mark.parametrize("order", ["TOP-DOWN", "BOTTOM-UP", None])
@pytest.mark.parametrize("offset", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_demosaicing_gives_back_the_colours(
    tmp_path: Path, pattern: str, offset: tuple[int, int], order: str | None
) -> None:
    raw = mosaic(quadrants(), pattern, *offset)
    cards = {"BAYERPAT": f"{pattern}  ", "XBAYROFF": offset[0], "YBAYROFF": offset[1]}
    if order:
        cards["ROWORDER"] = order
    frame = read_fits(write(tmp_path / "a.fits", raw[::-1] if order == "BOTTOM-UP" else raw, **cards))
    assert frame.bayer is not None
    assert frame.linear
    rgb = debayer(frame.pixels, frame.bayer)
    # Away from the seams, where demosaicing mixes neighbours.
    for y, x in ((10, 15), (10, 45), (30, 15), (30, 45)):
        np.testing.assert_array_equal(rgb[y, x], quadrants()[y, x])


def test_raw_bytes_of_a_sensor_are_linear_and_finished_bytes_are_not(tmp_path: Path) -> None:
    assert read_fits(write(tmp_path / "raw.fits", gradient("uint8"), BAYERPAT="RGGB")).linear
    assert not read_fits(write(tmp_path / "done.fits", gradient("uint8"))).linear


def test_the_header_is_understood(tmp_path: Path) -> None:
    cards = {
        "DATE-OBS": "2018-09-07T22:31:45.431",
        "EXPTIME": 6.0,
        "OBJECT": "M27     ",
        "XPIXSZ": 3.75,
        "XBINNING": 2,
        "FOCALLEN": 510.0,
    }
    frame = read_fits(write(tmp_path / "a.fits", gradient("uint16"), **cards))
    assert frame.time == datetime(2018, 9, 7, 22, 31, 45, 431000, tzinfo=timezone.utc)
    assert frame.exposure_s == 6.0
    assert frame.target == "M27"
    # XPIXSZ is the binned size already.
    assert frame.pixel_scale == pytest.approx(1.5167, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2018-09-07T22:31:45.1234567", datetime(2018, 9, 7, 22, 31, 45, 123457, tzinfo=timezone.utc)),
        ("2018-09-07T22:31:45Z", datetime(2018, 9, 7, 22, 31, 45, tzinfo=timezone.utc)),
        ("2018-09-07", datetime(2018, 9, 7, tzinfo=timezone.utc)),
        ("29/11/51", None),
        ("2018-13-45T99:99:99", None),
        ("", None),
    ],
)
def test_times_are_utc_or_unknown(tmp_path: Path, text: str, expected: datetime | None) -> None:
    assert read_fits(write(tmp_path / "a.fits", gradient("uint16"), **{"DATE-OBS": text})).time == expected


def test_a_header_of_nonsense_is_no_reason_to_lose_the_frame(tmp_path: Path) -> None:
    cards = {"EXPTIME": "long", "FOCALLEN": 0, "XPIXSZ": 3.75, "OBJECT": "Unknown", "BAYERPAT": "TRUE", "XBAYROFF": "x"}
    frame = read_fits(write(tmp_path / "a.fits", gradient("uint16"), **cards))
    assert (frame.exposure_s, frame.pixel_scale, frame.target, frame.bayer) == (None, None, None, None)


def test_the_first_image_may_be_an_extension(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(gradient("uint16"))]).writeto(path)
    assert read_fits(path).size == (50, 30)


def whole_file(tmp_path: Path) -> bytes:
    rng = np.random.default_rng(0)
    return write(tmp_path / "whole.fits", rng.integers(0, 60000, (100, 120)).astype(np.uint16)).read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_part_of_a_file_is_refused(tmp_path: Path, share: float, zipped: bool) -> None:
    raw = whole_file(tmp_path)
    if zipped:
        raw = gzip.compress(raw)
    path = tmp_path / ("cut.fits.gz" if zipped else "cut.fits")
    path.write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(FrameError, match="not a whole FITS file") as caught:
        read_fits(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_a_text_file_named_fits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.fits"
    path.write_text("clear sky, no wind\n" * 300)
    with pytest.raises(FrameError, match=r"notes\.fits is not a whole FITS file"):
        read_fits(path)


def test_a_frame_without_a_finite_pixel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="no finite pixel"):
        read_fits(write(tmp_path / "nan.fits", np.full((20, 20), np.nan, np.float32)))


def test_a_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.fits"
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.zeros(3))])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    with pytest.raises(FrameError, match="no image"):
        read_fits(path)


@pytest.mark.parametrize("shape", [(7,), (2, 20, 20), (2, 3, 20, 20)])
def test_data_that_is_no_picture_is_refused_with_its_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(FrameError, match="shape"):
        read_fits(write(tmp_path / "a.fits", np.zeros(shape, np.float32)))
