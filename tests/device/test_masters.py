import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edgegal.cli import app
from edgegal.device.masters import Kind, Master, make_master, read_master, write_master
from edgegal.errors import FrameError, InputError
from edgegal.sky import draw_stars

fits = pytest.importorskip("astropy.io.fits")

SHAPE = (60, 80)
CARDS = {"EXPTIME": 10.0, "GAIN": 100, "CCD-TEMP": -10.0, "BAYERPAT": "RGGB"}


def write(folder: Path, count: int, level: np.ndarray | float, noise: float = 5.0, **cards: object) -> Path:
    """Exposures of one level as a camera writes them."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(len(folder.name))
    for i in range(count):
        pixels = np.clip(rng.normal(level, noise, SHAPE), 0, 65535).astype(np.uint16)
        header = fits.Header(CARDS | {key.replace("_", "-"): value for key, value in cards.items()})
        fits.PrimaryHDU(pixels, header).writeto(folder / f"{folder.name}-{i:02d}-{len(list(folder.iterdir()))}.fits")
    return folder


def change(file: Path, **cards: object) -> None:
    with fits.open(file, mode="update") as units:
        for key, value in cards.items():
            units[0].header[key.replace("_", "-")] = value


def test_a_master_is_the_mean_where_nothing_stands_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "darks", 8, 300)
    exposures = np.stack([fits.getdata(f).astype(float) for f in folder.iterdir()])
    master = make_master("dark", [folder])
    # Of pure noise a few values in a thousand lie beyond four sigma of the rest.
    assert np.median(np.abs(master.pixels - exposures.mean(axis=0))) < 0.01
    assert np.abs(master.pixels - 300).std() < 1.15 * 5 / np.sqrt(8)
    assert master.rejected < 0.01
    assert (master.frames, master.exposure_s, master.gain, master.temperature_c) == (8, 10, 100, -10)
    assert master.bayer == "RGGB"


@pytest.mark.parametrize("count", [3, 5, 10])
def test_a_cosmic_ray_leaves_no_trace_even_among_few(tmp_path: Path, count: int) -> None:
    folder = write(tmp_path / "bias", count, 300)
    file = sorted(folder.iterdir())[0]
    with fits.open(file, mode="update") as units:
        units[0].data[20, 30] = 60000
    assert make_master("bias", [folder]).pixels[20, 30] == pytest.approx(300, abs=12)


def test_a_written_master_reads_back_with_all_it_says(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).normal(300, 5, SHAPE).astype(np.float32)
    master = Master("dark", pixels, 20, 30.0, -12.5, 120.0, "GRBG", ("bias",), 0.002)
    write_master(tmp_path / "new" / "dark.fits", master)
    again = read_master("dark", tmp_path / "new" / "dark.fits")
    np.testing.assert_array_equal(again.pixels, pixels)
    assert replace(again, pixels=pixels) == master
    header = fits.getheader(tmp_path / "new" / "dark.fits")
    assert header["IMAGETYP"] == "Master Dark"
    assert header["NCOMBINE"] == 20
    assert header["SWCREATE"].startswith("edgegal ")
    assert [f.name for f in (tmp_path / "new").iterdir()] == ["dark.fits"]


def test_a_colour_master_keeps_its_channels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).normal(300, 5, (20, 30, 3)).astype(np.float32)
    write_master(tmp_path / "flat.fits", Master("flat", pixels))
    np.testing.assert_array_equal(read_master("flat", tmp_path / "flat.fits").pixels, pixels)


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"EXPTIME": 20.0}, "mixed exposure.*10 s.*20 s"),
        ({"GAIN": 200}, "mixed gain.*100.*200"),
        ({"CCD_TEMP": -2.0}, "mixed temperature.*-10 C.*-2 C"),
        ({"BAYERPAT": "BGGR"}, "mixed Bayer pattern"),
    ],
)
def test_mixed_darks_are_named(tmp_path: Path, cards: dict[str, object], words: str) -> None:
    folder = write(tmp_path / "darks", 4, 300)
    odd = sorted(folder.iterdir())[2]
    change(odd, **cards)
    with pytest.raises(InputError, match=words) as caught:
        make_master("dark", [folder])
    assert odd.name in caught.value.message


def test_a_cooler_may_swing_and_an_exposure_be_rounded(tmp_path: Path) -> None:
    folder = write(tmp_path / "darks", 4, 300)
    change(sorted(folder.iterdir())[2], EXPTIME=10.00003, CCD_TEMP=-9.1)
    assert make_master("dark", [folder]).frames == 4


def test_light_frames_are_no_darks(tmp_path: Path) -> None:
    stars = 300 + draw_stars(SHAPE, 150, 2.5, 9000.0, np.random.default_rng(1)).mean(axis=2)
    large = np.tile(stars, (4, 4))
    folder = tmp_path / "lights"
    folder.mkdir()
    for i in range(3):
        noisy = large + np.random.default_rng(i).normal(0, 5, large.shape)
        fits.PrimaryHDU(noisy.astype(np.uint16)).writeto(folder / f"{i}.fits")
    with pytest.raises(InputError, match="stars: it is no dark frame"):
        make_master("dark", [folder])


@pytest.mark.parametrize(("level", "words"), [(65535.0, "saturated"), (40.0, "too dark")])
def test_flats_that_spoil_more_than_they_mend_are_refused(tmp_path: Path, level: float, words: str) -> None:
    folder = write(tmp_path / "flats", 3, level, noise=300 if level > 1000 else 5)
    with pytest.raises(InputError, match=words):
        make_master("flat", [folder])


def test_too_few_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 bias frames: a master takes at least 3"):
        make_master("bias", [write(tmp_path / "bias", 2, 300)])


def test_a_master_of_another_kind_is_refused(tmp_path: Path) -> None:
    write_master(tmp_path / "flat.fits", Master("flat", np.ones(SHAPE, np.float32)))
    with pytest.raises(InputError, match="flat frame by its IMAGETYP, not a dark"):
        read_master("dark", tmp_path / "flat.fits")


def test_the_verb_makes_bias_dark_and_flat_of_each_other(tmp_path: Path) -> None:
    run = CliRunner()
    bias = write(tmp_path / "bias", 6, 300, EXPTIME=0.001)
    darks = write(tmp_path / "darks", 6, 380)
    flats = write(tmp_path / "flats", 6, 20300, noise=140, EXPTIME=1.0)
    masters = {kind: str(tmp_path / f"{kind}.fits") for kind in ("bias", "dark", "flat")}
    for words in (
        ["bias", str(bias), "--out", masters["bias"]],
        ["dark", str(darks), "--bias", masters["bias"], "--out", masters["dark"]],
        [
            *("flat", *map(str, sorted(flats.iterdir()))),
            *("--bias", masters["bias"], "--dark", masters["dark"], "--out", masters["flat"], "--json"),
        ],
    ):
        done = run.invoke(app, ["calibrate", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["subtracted"] == ["bias", "dark"]
    assert document["frames"] == 6
    assert np.median(fits.getdata(masters["dark"])) == pytest.approx(80, abs=2)
    # 300 of bias, and a tenth of the 80 that ten seconds of dark gave.
    assert np.median(fits.getdata(masters["flat"])) == pytest.approx(19992, abs=15)


def test_a_dark_for_a_bias_is_a_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--dark is for flats"):
        CliRunner().invoke(
            app,
            ["calibrate", "bias", str(tmp_path), "--dark", str(tmp_path), "--out", str(tmp_path / "m.fits")],
            catch_exceptions=False,
        )


@pytest.mark.parametrize(("kind", "said"), [("flat", "Bias Frame"), ("flat", "DARK"), ("dark", "Flat Field")])
def test_exposures_that_say_they_are_of_another_kind_are_refused(tmp_path: Path, kind: Kind, said: str) -> None:
    folder = write(tmp_path / "frames", 3, 20_000, IMAGETYP=said)
    with pytest.raises(InputError, match=f"frame by its IMAGETYP, not a {kind}"):
        make_master(kind, [folder])


@pytest.mark.parametrize(("kind", "said"), [("bias", "Dark Frame"), ("dark", "Light Frame"), ("flat", "FLAT")])
def test_exposures_whose_name_fits_well_enough_are_taken(tmp_path: Path, kind: Kind, said: str) -> None:
    assert make_master(kind, [write(tmp_path / "frames", 3, 20_000, IMAGETYP=said)]).frames == 3


def test_a_master_under_a_name_that_no_run_reads_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "darks", 3, 300)
    result = CliRunner().invoke(app, ["calibrate", "dark", str(folder), "--out", str(tmp_path / "dark.png")])
    assert isinstance(result.exception, InputError)
    assert "end it in one of: .fits .fit .fts" in str(result.exception.mend)
    assert not (tmp_path / "dark.png").exists()


@pytest.mark.parametrize("given", ["nowhere", "sim:frames=3", "v4l2:0"])
def test_masters_are_made_of_files_alone_and_nothing_else_is_offered(tmp_path: Path, given: str) -> None:
    result = CliRunner().invoke(app, ["calibrate", "dark", given, "--out", str(tmp_path / "dark.fits")])
    assert isinstance(result.exception, InputError)
    assert result.exception.message == f"no file or folder {given}"
    assert result.exception.mend.startswith("give FITS files, SER videos or 16-bit pictures")
    assert "sim:" not in result.exception.mend


def test_a_display_picture_is_no_calibration_frame_and_there_is_a_mend(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(FrameError, match="display picture") as caught:
        make_master("dark", [tmp_path])
    assert "16-bit" in caught.value.mend


def test_a_full_disk_is_said_with_a_mend_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match=r"dark\.fits cannot be written: No space left on device") as caught:
        write_master(tmp_path / "dark.fits", Master("dark", np.zeros(SHAPE, np.float32)))
    assert "make room" in caught.value.mend
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said_with_a_mend(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError, match="cannot be written: ") as caught:
        write_master(tmp_path / "taken" / "dark.fits", Master("dark", np.zeros(SHAPE, np.float32)))
    assert caught.value.mend
