"""A night at a telescope, and its files."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("galsim", reason="skies are drawn with GalSim: the training environment")
pytest.importorskip("sep", reason="photometry is checked with sep: the training environment")

import sep
from astropy.io import fits
from astropy.wcs import WCS

from edgegal.data.simulation import TRUTH, magnitude_range, write_observation
from edgegal.data.skies.camera import grey_of
from edgegal.data.skies.celestial import CELESTIAL
from edgegal.data.skies.galaxies import galaxy_stamps
from edgegal.data.skies.headers import Shot, header_cards
from edgegal.data.skies.observation import Observation, Truth, asked_labels, draw_observation, on_the_sky
from edgegal.data.skies.optics import point_spread
from edgegal.data.skies.scenes import Pose, Stars
from edgegal.data.skies.telescopes import Telescope, telescope, telescope_names
from edgegal.device.sources.fits import read_fits
from edgegal.errors import InputError

# Astropy mends what capture programs write, and says so.
pytestmark = [pytest.mark.host, pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")]

STAMPS = galaxy_stamps(7, 5)


def small(name: str) -> Telescope:
    return telescope(name).model_copy(update={"width": 320, "height": 240})


def observed(name: str = "seestar-s50", seed: int = 4, **changes: object) -> Observation:
    scope = small(name).model_copy(update=changes)
    return draw_observation(scope, seed, ("galaxy",), 6, (9.0, 13.0), STAMPS)


@pytest.mark.parametrize("name", telescope_names())
def test_the_device_reads_back_what_every_program_writes(name: str, tmp_path: Path) -> None:
    observation = observed(name)
    truth = json.loads(write_observation(observation, 2, tmp_path / "night").read_text())
    scope = observation.telescope
    assert truth["telescope"] == name
    for index, entry in enumerate(truth["frames"]):
        read = read_fits(tmp_path / "night" / entry["file"], index)
        made, _ = observation.exposure(index)
        np.testing.assert_array_equal(read.pixels, made.pixels)
        assert read.pixels.dtype == np.uint16
        assert read.linear
        assert read.bayer == scope.bayer
        assert read.exposure_s == scope.exposure_s
        assert read.pixel_scale == pytest.approx(scope.pixel_scale)
        assert read.target == "Simulated field"
        assert read.time == made.time == observation.begun(index)
        assert read.time is not None
        assert entry["time"] == read.time.isoformat()


@pytest.mark.parametrize("name", ["seestar-s50", "refractor-asi1600mm", "rpi-hq-400mm"])
def test_the_header_leads_astropy_to_the_places_of_the_truth(name: str, tmp_path: Path) -> None:
    truth = json.loads(write_observation(observed(name), 3, tmp_path / "night").read_text())
    listed = 0
    for entry in truth["frames"]:
        known = WCS(fits.getheader(tmp_path / "night" / entry["file"]))
        for thing in entry["objects"]:
            # Astropy counts from the middle of the first pixel.
            ra, dec = known.wcs_pix2world(thing["x"] - 0.5, thing["y"] - 0.5, 0)
            assert (float(ra), float(dec)) == pytest.approx((thing["ra"], thing["dec"]), abs=2e-6)
            listed += 1
    assert listed >= 12


@given(
    st.floats(0, 359.9),
    st.floats(-75, 75),
    st.floats(-math.pi, math.pi),
    st.floats(-20, 20),
    st.tuples(st.floats(-2000, 2000), st.floats(-2000, 2000)),
)
def test_pixels_and_sky_agree_with_astropy_everywhere(
    ra: float, dec: float, turn: float, dx: float, place: tuple[float, float]
) -> None:
    observation = observed()
    pose = Pose(320, 240, 2.4, dx, -dx / 2, turn)
    shot = Shot(observation.telescope, observation.begun(0), ra, dec, "x", pose)
    header = fits.Header()
    for keyword, value, comment in header_cards(shot):
        header[keyword] = (value, comment)
    x, y = pose.pixels(np.array([place]))[0]
    there = WCS(header).wcs_pix2world(x - 0.5, y - 0.5, 0)
    here = on_the_sky(np.array([place]), ra, dec)[0]
    assert float(there[1]) == pytest.approx(here[1], abs=1e-8)
    assert (float(there[0]) - here[0] + 180) % 360 - 180 == pytest.approx(0, abs=1e-7)


def test_headers_name_the_program_and_say_that_nobody_looked() -> None:
    marks = {
        "seestar-s50": ("CREATOR", "ZWO Seestar S50"),
        "dwarf-3": ("TELESCOP", "DWARF 3"),
        "c8-asi533": ("CREATOR", "ZWO ASIAIR Plus"),
        "newton-200-asi294": ("SWCREATE", "N.I.N.A. 3.1"),
        "rpi-hq-400mm": ("FRAME", "Light"),
    }
    for name, (keyword, value) in marks.items():
        scope = small(name)
        begun = observed(name).begun(1)
        cards = header_cards(Shot(scope, begun, 187.7059, -12.3911, "M 87", Pose(320, 240, scope.pixel_scale)))
        table = {key: entry for key, entry, _ in cards}
        assert table[keyword] == value
        assert "simulated" in str(table["HISTORY"])
        assert all(len(key) <= 8 for key in table)
        if "OBJCTRA" in table:
            assert (table["OBJCTRA"], table["OBJCTDEC"]) == ("12 30 49.42", "-12 23 28.0")


def test_a_mono_frame_says_which_row_is_first() -> None:
    for software in ("seestar", "dwarf", "asiair", "nina", "indi"):
        observation = observed("refractor-asi1600mm", software=software)
        shot = Shot(observation.telescope, observation.begun(0), 1.0, 2.0, "x", observation.pose(0))
        rows = [value for key, value, _ in header_cards(shot) if key == "ROWORDER"]
        assert rows == ["TOP-DOWN"]


def test_the_same_seed_gives_the_same_night_and_frames_differ() -> None:
    first, again, other = observed(), observed(), observed(seed=5)
    np.testing.assert_array_equal(first.exposure(1)[0].pixels, again.exposure(1)[0].pixels)
    assert first.exposure(1)[1] == again.exposure(1)[1]
    assert not np.array_equal(first.exposure(0)[0].pixels, first.exposure(1)[0].pixels)
    assert not np.array_equal(first.exposure(0)[0].pixels, other.exposure(0)[0].pixels)


def starry(name: str, magnitude: float) -> Observation:
    """Twelve white stars of one magnitude, and nothing else."""
    observation = observed(name, hot_per_megapixel=0, vignetting=0)
    grid = np.array([[x, y] for x in (-110.3, -40.1, 38.7, 105.4) for y in (-71.8, 1.3, 66.6)])
    stars = Stars(grid * observation.telescope.pixel_scale, np.full(12, magnitude), np.ones((12, 3), np.float32))
    return dataclasses.replace(observation, objects=(), stars=stars)


def grey_of_stack(observation: Observation, index: int) -> np.ndarray:
    grey = observation.exposure(index, stacked=60)[0].pixels.astype(np.float64).mean(axis=2)
    return grey - np.median(grey)


def test_stars_lie_where_the_pose_says_while_the_field_drifts_and_turns() -> None:
    """Centroids by sep in an early and a late frame, against the places of the stars turned with the sky."""
    observation = dataclasses.replace(starry("seestar-s50", 11.0), turn_per_s=2e-4)
    for index in (0, 40):
        grey = grey_of_stack(observation, index)
        places = observation.pose(index).pixels(observation.stars.places) - 0.5
        x, y, _ = sep.winpos(grey, places[:, 0], places[:, 1], np.full(12, 1.0))
        assert np.hypot(x - places[:, 0], y - places[:, 1]).max() < 0.2
        found = sep.extract(grey, 0.1 * grey.max())
        assert len(found) == 12
    pose = observation.pose(40)
    assert pose.turn == pytest.approx(2e-4 * 40 * 12)
    assert abs(pose.dx) + abs(pose.dy) > 1


@pytest.mark.parametrize("name", ["seestar-s50", "newton-200-asi294"])
def test_stars_in_a_stack_are_as_wide_as_the_night_makes_them(name: str) -> None:
    """Half-light radii by sep, against that of the point-spread function on the road of a view."""
    observation = starry(name, 12.0)
    grey = grey_of_stack(observation, 0)
    places = observation.pose(0).pixels(observation.stars.places) - 0.5
    radius, _ = sep.flux_radius(grey, places[:, 0], places[:, 1], np.full(12, 9.0), 0.5)
    spread = point_spread(observation.telescope, observation.seeing_arcsec)
    patch, left, top = spread.at(40.5, 40.5, 30)
    star = grey_of(patch * np.array(observation.telescope.response, np.float32), observation.telescope, 60)
    expected, _ = sep.flux_radius(star.astype(np.float64), [40 - left], [40 - top], [9.0], 0.5)
    assert np.median(radius) == pytest.approx(float(expected[0]), rel=0.04)


def test_only_alt_azimuth_mounts_turn_the_field() -> None:
    assert observed("seestar-s50").turn_per_s != 0
    assert observed("newton-200-asi294").turn_per_s == 0


def test_a_stack_shows_what_one_exposure_does_not() -> None:
    observation = dataclasses.replace(observed(), sky_mag=20.0)
    one, deep = observation.exposure(0), observation.exposure(0, stacked=100)
    assert deep[0].bayer is None
    assert deep[0].pixels.shape == (240, 320, 3)
    assert deep[0].exposure_s == 1000

    def area(truth: tuple[Truth, ...]) -> float:
        return sum((t.box[2] - t.box[0]) * (t.box[3] - t.box[1]) for t in truth if t.box)

    assert area(deep[1]) > 2 * area(one[1]) > 0


def test_boxes_lie_in_the_frame_around_light() -> None:
    observation = dataclasses.replace(observed(), sky_mag=21.0)
    frame, truth = observation.exposure(0, stacked=100)
    grey = frame.pixels.mean(axis=2)
    boxed = [t.box for t in truth if t.box is not None and (t.box[2] - t.box[0]) > 6]
    assert boxed
    for x0, y0, x1, y1 in boxed:
        assert 0 <= x0 < x1 <= 320
        assert 0 <= y0 < y1 <= 240
        assert grey[round(y0) : round(y1), round(x0) : round(x1)].mean() > np.median(grey)


def test_celestial_has_every_label_and_galaxies_only_theirs(tmp_path: Path) -> None:
    scope = small("seestar-s50")
    everything = draw_observation(scope, 1, asked_labels("celestial"), 3, stamps=STAMPS)
    assert {thing.label for thing in everything.objects} == set(CELESTIAL) - {"star trail"}
    only = draw_observation(scope, 1, asked_labels("galaxies"), 3, stamps=STAMPS)
    assert [thing.label for thing in only.objects] == ["galaxy"] * 3
    assert draw_observation(scope, 1, galaxies=0, stamps=STAMPS).objects == ()
    truth = json.loads(write_observation(only, 1, tmp_path / "night").read_text())
    assert truth["labels"] == ["galaxy"]


def test_satellites_cross_some_frames_and_are_told_when_asked_for() -> None:
    everything = dataclasses.replace(observed(width=64, height=64), labels=CELESTIAL, objects=())
    crossed = [index for index in range(60) if everything.exposure(index)[1]]
    assert 0 < len(crossed) < 15
    assert {t.label for t in everything.exposure(crossed[0])[1]} == {"star trail"}


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    observation = observed()
    with pytest.raises(InputError, match="0 frames"):
        write_observation(observation, 0, tmp_path / "night")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="not an empty folder"):
        write_observation(observation, 1, tmp_path / "full")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="not an empty folder"):
        write_observation(observation, 1, tmp_path / "file")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "full"]
    assert not list(tmp_path.rglob(TRUTH))


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fits.PrimaryHDU, "writeto", full)
    with pytest.raises(OSError, match="No space"):
        write_observation(observed(), 1, tmp_path / "night")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "pair"), [("9-16", (9.0, 16.0)), ("8.5-8.5", (8.5, 8.5)), ("0-30", (0.0, 30.0))])
def test_magnitudes_are_read(text: str, pair: tuple[float, float]) -> None:
    assert magnitude_range(text) == pair


@pytest.mark.parametrize("text", ["", "9", "9-", "-3-5", "16-9", "9to16", "nan-nan", "9-31", "1-2-3"])
def test_other_magnitudes_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="no range"):
        magnitude_range(text)


def test_other_objects_are_refused() -> None:
    with pytest.raises(InputError, match="'stars'"):
        asked_labels("stars")


def test_what_the_border_cuts_or_a_star_outshines_is_unclear() -> None:
    """One bright galaxy: in the open, mostly beyond the border, and under a star that is brighter by far."""
    night = dataclasses.replace(observed(), drift=(0.0, 0.0), turn_per_s=0.0)
    thing = dataclasses.replace(night.objects[0], label="galaxy", magnitude=9.0, radius_arcsec=20.0, x=0.0, y=0.0)
    nowhere = Stars(np.zeros((0, 2)), np.zeros(0), np.zeros((0, 3), np.float32))
    star = Stars(np.zeros((1, 2)), np.array([3.0]), np.ones((1, 3), np.float32))
    edge = night.telescope.width / 2 * night.telescope.pixel_scale

    def unclear(stars: Stars, x: float) -> bool:
        placed = dataclasses.replace(night, stars=stars, objects=(dataclasses.replace(thing, x=x),))
        (known,) = (t for t in placed.exposure(0)[1] if t.label == "galaxy")
        assert known.box is not None
        return known.unclear

    assert not unclear(nowhere, 0.0)
    assert unclear(nowhere, edge + 8.0)
    assert unclear(star, 0.0)


def test_bad_pixels_are_those_of_the_sensor_in_every_exposure() -> None:
    night = observed("refractor-asi1600mm", hot_per_megapixel=2000)
    pixels = [night.exposure(index)[0].pixels.astype(float) for index in range(2)]
    top = np.quantile(pixels[0], 0.999)
    both = ((pixels[0] > top) & (pixels[1] > top)).sum()
    assert both > 0.5 * (pixels[0] > top).sum()
