"""Stacked FITS files before the judge of the format, fitsverify."""

import subprocess
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from edgegal.detections import Detections
from edgegal.device.astrometry import SkyMap
from edgegal.device.pipeline import FrameResult, StageTimes
from edgegal.device.registration import Motion
from edgegal.device.sinks.facts import FrameFacts, RunFacts
from edgegal.device.sinks.stacked import StackedFits
from edgegal.device.stacking import Stack, Stacked
from edgegal.frames import Frame
from edgegal.preprocess import Stretch

pytestmark = pytest.mark.peers

BEGIN = datetime(2026, 3, 1, 21, 15, tzinfo=timezone.utc)
# An address longer than a header card, and letters that FITS does not know.
RUN = RunFacts("rtsp://Käthe@dome.example/" + "camera/" * 20, "galaxies", "1.2", "ab" * 32, Stretch(), "night1")
WCS = {
    **{"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRPIX1": 900.0, "CRPIX2": 15.5, "CRVAL1": 202.47},
    **{"CRVAL2": 47.19, "CD1_1": -5e-4, "CD1_2": 1e-5, "CD2_1": 1e-5, "CD2_2": -5e-4},
    **{"A_ORDER": 2, "A_2_0": 1e-6, "B_ORDER": 2, "B_0_2": -1e-6, "RADECSYS": "FK5", "EQUINOX": 2000.0},
}


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_judge_finds_neither_error_nor_warning(tmp_path: Path, colour: bool, dtype: type) -> None:
    rng = np.random.default_rng(1)
    sky = SkyMap(WCS).seen_by(Motion.none())
    sink = StackedFits(tmp_path, RUN, lambda result: FrameFacts(sky=sky))
    stack = Stack((30, 40, 3) if colour else (30, 40), None)
    for i in range(3):
        pixels = rng.integers(0, 255, (30, 40, 3) if colour else (30, 40)).astype(dtype)
        if dtype is np.float32:
            pixels[:3] = np.nan
        header = {"GAIN": 120.0, "INSTRUME": "ZWO ASI462MC", "FOCALLEN": 250, "XPIXSZ": 2.9, "FILTER": "IRCUT"}
        frame = Frame(
            pixels,
            "CCD",
            i,
            BEGIN + timedelta(seconds=12 * i),
            linear=dtype is np.float32,
            exposure_s=10.0,
            target="M 51 – Whirlpool",
            header=header,
        )
        stack.add(frame, Motion.none())
        result = FrameResult(frame, frame.pixels, Detections.empty(), np.zeros((0, 0), np.float32), StageTimes())
        sink.write(replace(result, stacked=Stacked(stack, Motion.none(), None, i + 1, 0.0)), (), ())
    sink.close(())
    (path,) = tmp_path.glob("*.fits")
    done = subprocess.run(["fitsverify", str(path)], capture_output=True, text=True, check=False)
    assert "**** Verification found 0 warning(s) and 0 error(s). ****" in done.stdout, done.stdout
    assert done.returncode == 0
