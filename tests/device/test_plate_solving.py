import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("astropy")

from edgegal.device.astrometry import SkyPlace
from edgegal.device.plate_solving import AstapSolver, read_astap_ini
from edgegal.errors import FrameError, MissingPartError
from edgegal.frames import Frame
from edgegal.sky import Night

SOLUTION = """\
PLTSOLVD=T
CRPIX1= 1.6050000000000000E+002
CRPIX2= 1.2850000000000000E+002
CRVAL1= 2.0246960000000000E+002
CRVAL2= 4.7195200000000000E+001
CDELT1=-4.0000000000000000E-004
CDELT2= 4.0000000000000000E-004
CROTA1=-1.0000000000000000E+001
CROTA2=-1.0000000000000000E+001
CD1_1=-3.9392310120488325E-004
CD1_2= 6.9459271066772150E-005
CD2_1= 6.9459271066772150E-005
CD2_2= 3.9392310120488325E-004
CMDLINE=astap -f frame.fits
"""


def program(folder: Path, script: str) -> AstapSolver:
    """A program that stands where ASTAP would, to see what it is asked and what becomes of its answer."""
    file = folder / "astap"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return AstapSolver(file, timeout_s=5)


@pytest.fixture
def frame() -> Frame:
    pixels = Night(seed=1, width=320, height=256, frames=1).frame(0).pixels
    return Frame(pixels, "night", pixel_scale=1.5)


def test_a_solution_becomes_a_map(tmp_path: Path, frame: Frame) -> None:
    asked = tmp_path / "asked"
    answer = tmp_path / "answer.ini"
    answer.write_text(SOLUTION)
    solver = program(tmp_path, f'echo "$@" > {asked}; cp {answer} "${{2%.fits}}.ini"')
    found = solver(frame, SkyPlace(202.5, -47.0))
    (middle,) = found.places(np.array([[160.0, 128.0]]))
    assert (middle.ra_deg, middle.dec_deg) == pytest.approx((202.4696, 47.1952), abs=1e-6)
    assert found.solved
    assert found.scale_arcsec() == pytest.approx(1.44, abs=0.01)
    words = asked.read_text().split()
    assert words[words.index("-fov") + 1] == "0.1067"
    assert float(words[words.index("-ra") + 1]) == pytest.approx(13.5)
    assert float(words[words.index("-spd") + 1]) == pytest.approx(43.0)
    assert not Path(words[1]).exists()


def test_without_a_place_the_whole_sky_is_searched(tmp_path: Path, frame: Frame) -> None:
    solver = program(tmp_path, f'echo "$@" > {tmp_path}/asked; echo PLTSOLVD=F > "${{2%.fits}}.ini"')
    with pytest.raises(FrameError, match="night: ASTAP found no solution"):
        solver(frame)
    words = (tmp_path / "asked").read_text().split()
    assert "-ra" not in words
    assert words[words.index("-r") + 1] == "180"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exec sleep 60", "no solution in 0.3 s"),
        ("echo segmentation fault; exit 139", "no result: segmentation fault"),
        ('printf "PLTSOLVD=F\\nERROR=No star database found.\\n" > "${2%.fits}.ini"', "No star database"),
        ('printf "PLTSOLVD=T\\nCRPIX1=1\\n" > "${2%.fits}.ini"', "incomplete"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(tmp_path: Path, frame: Frame, script: str, words: str) -> None:
    solver = AstapSolver(program(tmp_path, script).program, timeout_s=0.3 if "sleep" in script else 5)
    with pytest.raises(FrameError, match=words) as caught:
        solver(frame)
    assert "\n" not in caught.value.message


def test_rotation_alone_is_enough() -> None:
    plain = "\n".join(
        line for line in SOLUTION.splitlines() if not line.startswith("CD1_") and not line.startswith("CD2_")
    )
    one, other = read_astap_ini(SOLUTION), read_astap_ini(plain)
    for a, b in zip(one.places(np.eye(2) * 200), other.places(np.eye(2) * 200), strict=True):
        assert (a.ra_deg, a.dec_deg) == pytest.approx((b.ra_deg, b.dec_deg), abs=1e-5)


def test_an_absent_astap_is_a_missing_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, frame: Frame) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPartError, match="apt install astap-cli"):
        AstapSolver.installed()
    with pytest.raises(MissingPartError, match="does not start"):
        AstapSolver(tmp_path / "gone")(frame)


@pytest.mark.skipif(not shutil.which("astap_cli"), reason="astap-cli is not installed")
def test_the_real_astap_says_why_it_cannot_solve_a_sky_that_is_none(frame: Frame) -> None:
    with pytest.raises(FrameError, match="ASTAP"):
        AstapSolver.installed(timeout_s=60, radius_deg=1)(frame, SkyPlace(10.0, 10.0))
