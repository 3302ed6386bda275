"""`edgegal data simulate` with a telescope, and `edgegal data telescopes`."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgegal.cli.data import app
from edgegal.data.skies.telescopes import telescope, telescope_names
from edgegal.errors import InputError

pytestmark = pytest.mark.host

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "simulate-a-telescope.md"


def run(*words: str) -> str:
    """What the command prints; its error when it fails."""
    result = CliRunner().invoke(app, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """The telescope of the documentation, with a sensor as small as a stamp."""
    block = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    text = re.sub(r"width = \d+", "width = 96", re.sub(r"height = \d+", "height = 64", block[1]))
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_telescopes_lists_the_profiles() -> None:
    table = run("telescopes")
    assert all(name in table for name in telescope_names())
    listed = {row["name"]: row for row in json.loads(run("telescopes", "--json"))}
    assert sorted(listed) == telescope_names()
    assert listed["seestar-s50"]["pixel_scale"] == telescope("seestar-s50").pixel_scale


@pytest.mark.host
def test_simulate_takes_a_telescope_of_ones_own(profile: Path, tmp_path: Path) -> None:
    pytest.importorskip("galsim", reason="skies are drawn with GalSim: the training environment")
    words = ("--telescope", str(profile), "--frames", "2", "--seed", "3", "--galaxies", "4", "--magnitudes", "6-10")
    truth = json.loads(Path(run("simulate", *words, "--out", str(tmp_path / "night")).strip()).read_text())
    assert (truth["telescope"], truth["seed"], truth["width"]) == ("my-refractor", 3, 96)
    assert [entry["file"] for entry in truth["frames"]] == ["frame_0000.fits", "frame_0001.fits"]
    objects = [thing for entry in truth["frames"] for thing in entry["objects"]]
    assert objects
    assert all(6 <= thing["magnitude"] <= 10 and thing["class"] == "galaxy" for thing in objects)


@pytest.mark.host
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--telescope", "hubble"), "no telescope 'hubble'"),
        (("--telescope", "seestar-s50", "--objects", "comets"), "'comets'"),
        (("--telescope", "seestar-s50", "--magnitudes", "16-9"), "no range"),
        (("--objects", "celestial"), "--objects is for a telescope's night"),
        (("--magnitudes", "9-12"), "--magnitudes is for a telescope's night"),
        (("--galaxies", "0"), "--galaxies is for a telescope's night"),
    ],
)
def test_simulate_refuses(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    pytest.importorskip("galsim", reason="skies are drawn with GalSim: the training environment")
    with pytest.raises(InputError, match=said):
        run("simulate", *words, "--out", str(tmp_path / "night"))
    assert list(tmp_path.iterdir()) == []


def test_no_frames_are_bad_usage(tmp_path: Path) -> None:
    words = ["simulate", "--telescope", "seestar-s50", "--frames", "0", "--out", str(tmp_path / "night")]
    assert CliRunner().invoke(app, words).exit_code == 2
