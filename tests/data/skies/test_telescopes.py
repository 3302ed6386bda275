"""Telescope profiles."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from edgegal.data.skies.telescopes import (
    FOLDER_VARIABLE,
    Telescope,
    bundled_telescopes,
    read_telescope,
    telescope,
    telescope_names,
)
from edgegal.errors import InputError

pytestmark = pytest.mark.host

SHIPPED = {
    "c8-asi533",
    "dwarf-3",
    "newton-200-asi294",
    "refractor-asi1600mm",
    "rpi-hq-400mm",
    "seestar-s30",
    "seestar-s50",
}
SMALL = """
name = "mine"
aperture_mm = 100
focal_length_mm = 206.265
pixel_um = 3
width = 64
height = 48
exposure_s = 5
camera = "toy"
read_noise_e = 1
gain_e_adu = 1
bits = 12
full_well_e = 4000
throughput = 0.5
bandwidth_nm = 100
seeing_arcsec = [2, 4]
sky_mag_arcsec2 = [18, 21]
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(SMALL)
    return path


def test_every_shipped_profile_is_valid_and_named_as_its_file() -> None:
    assert set(telescope_names()) >= SHIPPED
    assert all(telescope(name).name == name for name in SHIPPED)


@pytest.mark.parametrize(
    ("name", "arcsec"),
    # As the makers and users of these telescopes state them.
    [("seestar-s50", 2.39), ("seestar-s30", 3.99), ("dwarf-3", 2.75), ("c8-asi533", 0.61), ("rpi-hq-400mm", 0.80)],
)
def test_pixel_scales_are_the_known_ones(name: str, arcsec: float) -> None:
    assert telescope(name).pixel_scale == pytest.approx(arcsec, abs=0.006)


def test_a_profile_of_ones_own_serves_by_path_and_by_name(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert telescope(str(own)).pixel_scale == pytest.approx(3.0)
    with pytest.raises(InputError, match="no telescope 'mine'"):
        telescope("mine")
    monkeypatch.setenv(FOLDER_VARIABLE, str(own.parent))
    assert telescope("mine") == read_telescope(own)
    assert set(telescope_names()) == {*SHIPPED, "mine"}


def test_light_follows_magnitude_aperture_and_obstruction(own: Path) -> None:
    scope = read_telescope(own)
    assert scope.electrons_per_s(10) == pytest.approx(100 * scope.electrons_per_s(15))
    # 10^4 photons a second, square centimetre and nanometre of a star of magnitude 0.
    assert scope.electrons_per_s(0) == pytest.approx(0.5 * 100 * 78.54 * 1e4, rel=1e-3)
    blocked = scope.model_copy(update={"obstruction": 0.5})
    assert blocked.electrons_per_s(10) == pytest.approx(0.75 * scope.electrons_per_s(10))


def test_a_profile_cannot_be_changed(own: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read_telescope(own).aperture_mm = 5  # type: ignore[misc]


def test_an_unknown_name_is_told_the_known_and_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        telescope("seestar-50")
    assert "did you mean seestar-s50" in caught.value.mend
    assert all(name in caught.value.mend for name in SHIPPED)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("aperture_mm = 100", "aperture_mm = -1"), "aperture_mm"),
        (("aperture_mm = 100", ""), "aperture_mm"),
        (("bits = 12", "bits = 'many'"), "bits"),
        (("bits = 12", "bits = 12\noffset_adu = 4095"), "offset_adu"),
        (("bits = 12", 'bits = 12\nbayer = "RGBG"'), "bayer"),
        (("bits = 12", "bits = 12\ncolor = 1"), "color"),
        (("[2, 4]", "[4, 2]"), "seeing_arcsec"),
        (("[18, 21]", "[18]"), "sky_mag_arcsec2"),
        (("bits = 12", "bits = 12\nresponse = [1, 1, 0]"), "response"),
    ],
)
def test_a_bad_field_is_named_with_its_file(own: Path, change: tuple[str, str], said: str) -> None:
    own.write_text(SMALL.replace(*change))
    with pytest.raises(InputError, match=said) as caught:
        read_telescope(own)
    assert str(own) in caught.value.message


@pytest.mark.parametrize("text", ["name = ", "\x00", "[[[", "é".encode("latin-1")])
def test_what_is_no_toml_is_told_so(own: Path, text: str | bytes) -> None:
    own.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match="is not TOML"):
        read_telescope(own)


def test_an_absent_file_and_a_folder_are_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            read_telescope(path)


def test_units_are_of_16_bits_where_files_are(own: Path) -> None:
    scope = read_telescope(own)
    assert scope.unit == 1
    assert scope.model_copy(update={"left_shifted": True}).unit == 16
    assert isinstance(scope, Telescope)


def test_what_the_package_brings_does_not_hang_on_somebodys_profiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text(SMALL)
    (tmp_path / "dwarf-3.toml").write_text(SMALL)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert "mine" in telescope_names()
    assert {t.name for t in bundled_telescopes()} == SHIPPED
