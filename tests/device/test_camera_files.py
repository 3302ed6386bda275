from pathlib import Path

import numpy as np
import pytest

from edgegal.device.calibration import read_calibration
from edgegal.device.camera_files import CameraFiles, write_camera_files
from edgegal.device.sources import open_source
from edgegal.frames import Frame
from edgegal.sky import Night

pytest.importorskip("astropy")

NIGHT = Night(width=320, height=256, frames=3)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> CameraFiles:
    return write_camera_files(tmp_path_factory.mktemp("camera"), NIGHT)


def frames(path: Path) -> list[Frame]:
    source = open_source(str(path))
    try:
        return list(source)
    finally:
        source.close()


def test_the_video_holds_what_the_single_files_hold(files: CameraFiles) -> None:
    single, video = frames(files.fits), frames(files.ser)
    assert len(single) == len(video) == NIGHT.frames
    for one, other in zip(single, video, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        assert one.pixels.dtype == np.uint16
        assert (one.bayer, one.time) == (other.bayer, other.time) == ("RGGB", NIGHT.frame(one.index).time)
        assert one.exposure_s == NIGHT.cadence_s


def test_the_masters_take_away_what_the_camera_added(files: CameraFiles) -> None:
    calibration = read_calibration(files.dark, files.flat)
    assert calibration is not None
    for raw in frames(files.fits):
        truth = NIGHT.frame(raw.index).pixels.astype(float)
        mended = calibration(raw).pixels
        # The flat is known up to a factor, and hot pixels of a bright star may be saturated.
        for y, x, colour in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
            ratio = mended[y::2, x::2] / truth[y::2, x::2, colour]
            assert np.quantile(np.abs(ratio / np.median(ratio) - 1), 0.99) < 0.005
