import gzip
import warnings
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegal.device.sources.fits import decode_fits, read_fits
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


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1"])
@pytest.mark.parametrize("order", ["TOP-DOWN", "BOTTOM-UP"])
def test_a_tile_compressed_file_is_the_file_it_was_made_from(tmp_path: Path, kind: str, order: str) -> None:
    raw = np.random.default_rng(0).integers(0, 60_000, (64, 80)).astype(np.uint16)
    packed = fits.CompImageHDU(raw, compression_type=kind)
    plain = fits.PrimaryHDU(raw)
    for unit in (packed, plain):
        unit.header.update({"ROWORDER": order, "BAYERPAT": "GRBG", "EXPTIME": 2.0, "GAIN": 120})
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "a.fits.fz")
    plain.writeto(tmp_path / "a.fits")
    a, b = read_fits(tmp_path / "a.fits.fz"), read_fits(tmp_path / "a.fits")
    np.testing.assert_array_equal(a.pixels, b.pixels)
    assert (a.bayer, a.exposure_s, dict(a.header)) == (b.bayer, b.exposure_s, dict(b.header))


def test_facts_of_the_primary_header_count_for_an_image_in_an_extension(tmp_path: Path) -> None:
    primary = fits.PrimaryHDU()
    primary.header.update({"OBJECT": "M51", "GAIN": 1})
    image = fits.ImageHDU(gradient("uint16"))
    image.header["GAIN"] = 2
    fits.HDUList([primary, image]).writeto(tmp_path / "a.fits")
    frame = read_fits(tmp_path / "a.fits")
    assert (frame.target, frame.header["GAIN"]) == ("M51", 2)


def test_bytes_from_a_network_are_read_as_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", gradient("uint16"), BAYERPAT="RGGB", GAIN=5)
    there, here = decode_fits(path.read_bytes(), "camera", 4), read_fits(path)
    np.testing.assert_array_equal(there.pixels, here.pixels)
    assert (there.source, there.index, there.bayer, dict(there.header)) == ("camera", 4, "RGGB", {"GAIN": 5})


def test_facts_are_kept_and_storage_is_not(tmp_path: Path) -> None:
    cards = {"GAIN": 120, "CCD-TEMP": -9.5, "INSTRUME": "ASI224MC  ", "COOLER": True, "ROWORDER": "TOP-DOWN"}
    path = write(tmp_path / "a.fits", gradient("uint16"), **cards, BAYERPAT="RGGB", COMMENT="cold", HISTORY="long")
    with fits.open(path, mode="update", checksum=True) as units:
        units[0].header["FILTER"] = "LP"
    expected = {"GAIN": 120, "CCD-TEMP": -9.5, "INSTRUME": "ASI224MC", "COOLER": True, "FILTER": "LP"}
    assert dict(read_fits(path).header) == expected


def wcs_cards(form: str) -> dict[str, Any]:
    """A field of half a degree with its reference pixel off the centre, turned by 25 degrees and not square."""
    angle, x, y = np.deg2rad(25), -1.9 / 3600, 2.1 / 3600
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    cards: dict[str, Any] = {"CRPIX1": 31.5, "CRPIX2": 7.25, "CRVAL1": 202.47, "CRVAL2": 47.2}
    sip = "-SIP" if form == "SIP" else ""
    cards |= {"CTYPE1": f"RA---TAN{sip}", "CTYPE2": f"DEC--TAN{sip}"}
    if form == "PC":
        cards |= {"CDELT1": x, "CDELT2": y}
        cards |= {f"PC{i + 1}_{j + 1}": turn[i, j] for i in range(2) for j in range(2)}
    elif form == "CROTA":
        cards |= {"CDELT1": x, "CDELT2": y, "CROTA2": 25.0}
    elif form == "CDELT":
        cards |= {"CDELT1": x, "CDELT2": y}
    else:
        cards |= {f"CD{i + 1}_{j + 1}": turn[i, j] * (x, y)[i] for i in range(2) for j in range(2)}
    if sip:
        cards |= {"A_ORDER": 3, "B_ORDER": 3, "A_2_0": 2e-4, "A_0_2": -1e-4, "A_1_1": 3e-4, "A_0_1": 1e-3}
        cards |= {"B_2_0": 1e-4, "B_0_2": 4e-4, "B_1_1": -2e-4, "B_1_2": 1e-5, "B_0_3": 2e-5}
    return cards


@pytest.mark.parametrize("form", ["CD", "PC", "CROTA", "CDELT", "SIP"])
def test_the_sky_turns_over_with_the_rows(tmp_path: Path, form: str) -> None:
    cards = wcs_cards(form)
    path = write(tmp_path / "a.fits", gradient("uint16"), ROWORDER="BOTTOM-UP", **cards)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stored, upright = WCS(fits.getheader(path)), WCS(fits.Header(read_fits(path).header))
        columns, rows = np.meshgrid(np.arange(50), np.arange(30))
        expected = stored.all_pix2world(columns, rows, 0)
        found = upright.all_pix2world(columns, 29 - rows, 0)
    # A millionth of an arc second.
    np.testing.assert_allclose(found, expected, atol=3e-10)


def test_a_sky_of_nonsense_is_no_reason_to_lose_the_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", gradient("uint16"), CRPIX2=12.0, CD1_2="north", CD2_2=1e-4)
    assert dict(read_fits(path).header) == {"CRPIX2": 19.0, "CD1_2": "north", "CD2_2": -1e-4}
    path = write(tmp_path / "b.fits", gradient("uint16"), CRPIX2="middle")
    assert dict(read_fits(path).header) == {"CRPIX2": "middle"}


@given(
    pattern=st.sampled_from(PATTERNS),
    offset=st.tuples(st.integers(-3, 3), st.integers(-3, 3)),
    height=st.integers(8, 15),
    width=st.integers(8, 15),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_frame_stored_from_the_bottom_is_the_frame_stored_from_the_top(
    tmp_path: Path, pattern: str, offset: tuple[int, int], height: int, width: int, seed: int
) -> None:
    raw = np.random.default_rng(seed).integers(0, 60_000, (height, width)).astype(np.uint16)
    cards = {"BAYERPAT": pattern, "XBAYROFF": offset[0], "YBAYROFF": offset[1]}
    top = read_fits(write(tmp_path / "top.fits", raw, ROWORDER="TOP-DOWN", **cards))
    bottom = read_fits(write(tmp_path / "bottom.fits", raw[::-1], ROWORDER="BOTTOM-UP", **cards))
    assert top.bayer is not None
    assert bottom.bayer is not None
    np.testing.assert_array_equal(debayer(top.pixels, top.bayer), debayer(bottom.pixels, bottom.bayer))


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


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_part_of_a_compressed_file_is_refused(tmp_path: Path, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 60_000, (100, 120)).astype(np.uint16)
    path = tmp_path / "a.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(noise)]).writeto(path)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(FrameError):
        read_fits(path)


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
