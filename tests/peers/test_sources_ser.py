"""SER files by programs of other people: Siril and INDI's recorder."""

import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from edgegal.device.sources import open_source

pytestmark = pytest.mark.peers

START = datetime(2024, 3, 9, 21, 4, 5, 250_000, tzinfo=timezone.utc)


def siril(folder: Path, frames: list[np.ndarray], **cards: object) -> Path:
    """Have Siril put FITS files into one SER video."""
    for index, pixels in enumerate(frames):
        unit = fits.PrimaryHDU(pixels)
        time = START + timedelta(seconds=index)
        unit.header.update({"DATE-OBS": time.isoformat()[:23], "INSTRUME": "ASI224MC", **cards})
        unit.writeto(folder / f"light_{index}.fits")
    script = "requires 1.0.0\nconvert night -ser\nclose\n"
    command = ["siril-cli", "-d", str(folder), "-s", "-"]
    said = subprocess.run(command, input=script, capture_output=True, text=True, timeout=120, check=False)
    video = folder / "night.ser"
    assert video.exists(), said.stdout
    return video


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_siril_and_we_agree_on_pixels_pattern_and_time(tmp_path: Path, pattern: str, dtype: type) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, np.iinfo(dtype).max, (30, 40)).astype(dtype) for _ in range(3)]
    video = siril(tmp_path, frames, BAYERPAT=pattern, ROWORDER="TOP-DOWN")
    with open_source(str(video)) as source:
        found = list(source)
    assert len(found) == 3
    for index, frame in enumerate(found):
        np.testing.assert_array_equal(frame.pixels, frames[index])
        assert frame.pixels.dtype == dtype
        assert frame.bayer == pattern
        assert frame.time == START + timedelta(seconds=index)
        assert frame.header["INSTRUME"] == "ASI224MC"


def test_colour_planes_come_in_the_order_that_siril_wrote(tmp_path: Path) -> None:
    cube = np.random.default_rng(0).integers(0, 65_535, (3, 30, 40)).astype(np.uint16)
    video = siril(tmp_path, [cube], ROWORDER="TOP-DOWN")
    with open_source(str(video)) as source:
        np.testing.assert_array_equal(next(source).pixels, np.moveaxis(cube, 0, 2))
