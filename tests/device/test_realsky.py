"""The device on real frames: what is known of them by other means must come out."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal import runtimes, zoo
from edgegal.benchmarks.classical import side_by_side
from edgegal.benchmarks.contest import classical, network
from edgegal.device.cosmetic import CosmeticCorrection
from edgegal.device.pipeline import Pipeline
from edgegal.device.registration import Motion, Reference
from edgegal.device.session import observe
from edgegal.device.sources import open_source
from edgegal.device.sources.files import read_still
from edgegal.device.stacking import LiveStack
from edgegal.device.stars import measure_field
from edgegal.frames import Frame, View
from edgegal.inference import open_detector
from edgegal.preprocess import Stretch, as_view, debayer, measure_sky

pytestmark = pytest.mark.realsky

Shared = Callable[[str], Path]


def frames_of(path: Path) -> list[Frame]:
    with open_source(str(path)) as source:
        return list(source)


def view_of(path: Path) -> View:
    (frame,) = frames_of(path)
    return as_view(frame, Stretch())


def grey(view: View) -> np.ndarray:
    return view.astype(np.float32).mean(axis=2)


@pytest.mark.parametrize("kind", ["Mono", "Color"])
def test_m51_is_the_right_way_up_on_a_dark_sky(shared: Shared, kind: str) -> None:
    view = view_of(shared(f"fits_nebulosa/M51.8.{kind}.fits"))
    smooth = cv2.GaussianBlur(grey(view), (0, 0), 6)
    core, companion = (513, 533), (481, 416)
    for x, y in (core, companion):
        # The companion stands above the spiral: north is up in this picture.
        window = smooth[y - 30 : y + 30, x - 30 : x + 30]
        peak_y, peak_x = np.unravel_index(window.argmax(), window.shape)
        assert abs(peak_y - 30) < 12
        assert abs(peak_x - 30) < 12
        assert window.max() > 4 * np.median(grey(view))
    assert 5 < np.median(grey(view)) < 50


def test_one_picture_in_all_pixel_types_gives_one_view(shared: Shared) -> None:
    views = [view_of(shared(f"fits_nebulosa/NGC3344.Mono.{kind}.fits")) for kind in ("16", "32", "F32", "F64")]
    for view in views[1:]:
        assert np.abs(grey(view) - grey(views[0])).max() <= 1


def test_the_core_of_a_spiral_is_warmer_than_its_arms(shared: Shared) -> None:
    """Red and blue are not swapped: NGC 3344's bulge is yellow, its arms blue."""
    view = view_of(shared("fits_nebulosa/NGC3344.Color.8.fits")).astype(float)
    core, arms = view[105:130, 120:145].mean(axis=(0, 1)), view[100:160, 40:70].mean(axis=(0, 1))
    assert core[0] / core[2] > 1.1 > 1 > arms[0] / arms[2]


def test_both_greens_of_the_bayer_pattern_agree(shared: Shared) -> None:
    """The two sites that BAYERPAT calls green see the same light; the other two do not."""
    for path in (shared("fits_nebulosa/Debayer.GRBG.fits"), shared("frames_m27_asi224mc/Light_1069.fits.gz")):
        (frame,) = frames_of(path)
        assert frame.bayer is not None
        cell = [frame.pixels[y::2, x::2].astype(float).mean() for y in (0, 1) for x in (0, 1)]
        sites = {colour: [i for i, c in enumerate(frame.bayer) if c == colour] for colour in "RGB"}
        greens = abs(cell[sites["G"][0]] - cell[sites["G"][1]])
        assert greens < 0.2 * abs(cell[sites["R"][0]] - cell[sites["B"][0]])


def test_headers_of_real_files_are_read(shared: Shared) -> None:
    (m27,) = frames_of(shared("frames_m27_asi224mc/Light_1069.fits.gz"))
    assert m27.time is not None
    assert m27.time.isoformat() == "2018-09-07T22:31:45.431000+00:00"
    assert m27.exposure_s == 6
    # The header's own SECPIX1.
    assert m27.pixel_scale == pytest.approx(1.5169, abs=1e-3)
    assert m27.target is None
    (plate,) = frames_of(shared("fits_misc/photutils_M6707HH.fits.gz"))
    assert (plate.target, plate.exposure_s, plate.time) == ("M67", 50, None)


def m27_in_colour(shared: Shared) -> list[np.ndarray]:
    frames = frames_of(shared("frames_m27_asi224mc"))
    return [debayer(f.pixels, f.bayer) for f in frames if f.bayer]


def test_m27_frames_register_as_their_stars_say(shared: Shared) -> None:
    sep = pytest.importorskip("sep")

    def stars(picture: np.ndarray) -> np.ndarray:
        light = np.ascontiguousarray(picture.astype(np.float32).mean(axis=2))
        background = sep.Background(light)
        found = sep.extract(light - background, 8, err=background.globalrms, minarea=9)
        brightest = found[np.argsort(-found["flux"])[:80]]
        return np.stack([brightest["x"], brightest["y"]], axis=1)

    pictures = m27_in_colour(shared)
    fields = [measure_field(Frame(p, "m27")) for p in pictures]
    reference, origin = Reference(fields[0]), stars(pictures[0])
    for field, picture in zip(fields[1:], pictures[1:], strict=True):
        motion = reference.motion_of(field)
        there = stars(picture)
        # sep counts from the middle of the first pixel.
        moved = motion.apply(origin + 0.5) - 0.5
        offsets = there[None] - moved[:, None]
        nearest = offsets[np.arange(len(moved)), np.hypot(*np.moveaxis(offsets, 2, 0)).argmin(axis=1)]
        matched = nearest[np.hypot(*nearest.T) < 3]
        assert len(matched) > 40
        assert np.hypot(*np.median(matched, axis=0)) < 0.1


def test_m27_comes_out_of_the_noise_in_its_colours(shared: Shared) -> None:
    frames = frames_of(shared("frames_m27_asi224mc"))
    stack = LiveStack(8)
    for frame in frames:
        stacked = stack.push(frame).stack.picture()
    single = debayer(frames[0].pixels, frames[0].bayer or "RGGB")
    assert measure_sky(stacked.pixels).sigma < measure_sky(single).sigma / 1.8
    pixels, sky = stacked.pixels, np.array(measure_sky(stacked.pixels).level)
    core = np.median(pixels[380:460, 580:660].reshape(-1, 3), axis=0) - sky
    rim = np.median(pixels[525:545, 520:570].reshape(-1, 3), axis=0) - sky
    # Doubly ionised oxygen shines green-blue inside, hydrogen and nitrogen red around it.
    assert core[1] > 1.5 * core[0]
    assert rim[0] > 1.5 * rim[1] > 2 * rim[2]


def high_pass_noise(picture: np.ndarray) -> float:
    """Noise from pixels a few apart: what is smooth over them drops out, and so do the few that a star is in."""
    grey = picture.mean(axis=2) if picture.ndim == 3 else picture
    difference = (grey[:, 6:] - grey[:, :-6]).ravel()
    difference = difference[np.isfinite(difference)]
    return float(1.4826 * np.median(np.abs(difference - np.median(difference))) / np.sqrt(2))


def test_the_noise_of_m27_falls_as_the_root_of_its_frames_within_a_tenth(shared: Shared) -> None:
    frames = frames_of(shared("frames_m27_asi224mc"))
    stack, one = LiveStack(None), LiveStack(1)
    inner = np.s_[60:-60, 60:-60]
    single = []
    for frame in frames:
        stacked = stack.push(frame).stack.picture().pixels[inner]
        single.append(one.push(frame).stack.picture().pixels[inner])
    # Stars too faint to see are in one frame and in the stack alike: differences of frames are free of them.
    pairs = [high_pass_noise(a - b) / np.sqrt(2) for i, a in enumerate(single) for b in single[:i]]
    noise = np.sqrt(np.mean(np.square(pairs)))
    # Spread of five values: half of the pixels lie below 0.839 of the mean of its square (chi-square, 4 degrees).
    claimed = np.sqrt(np.nanmedian(stack.stack.noise[inner] ** 2) / 0.839)
    assert noise / claimed == pytest.approx(np.sqrt(len(frames)), rel=0.05)
    rest = [high_pass_noise(stacked - s) for s in single]
    # A frame less the mean it is in has lost its own share: the noise that is left tells that of the mean.
    assert np.sqrt(np.mean(np.square(rest))) == pytest.approx(noise * np.sqrt(1 - 1 / len(frames)), rel=0.1)


@pytest.mark.parametrize("degrees", [0.4, 7.0, -63.0, 180.0])
def test_real_frames_turned_by_known_angles_register_to_a_third_of_a_pixel(shared: Shared, degrees: float) -> None:
    picture = m27_in_colour(shared)[0].astype(np.float32)
    height, width = picture.shape[:2]
    a, middle = np.radians(degrees), np.array([width, height]) / 2
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    true = Motion(np.column_stack([turn, middle - turn @ middle + (14.3, -9.6)]))
    moved = cv2.warpAffine(picture, true.for_opencv, (width, height), flags=cv2.INTER_CUBIC, borderValue=(200,) * 3)
    found = Reference(measure_field(Frame(picture, "m27"))).motion_of(measure_field(Frame(moved, "turned")))
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
    assert np.hypot(*(found.apply(corners) - true.apply(corners)).T).max() < 0.3


def test_cosmetic_correction_finds_the_sensor_and_leaves_the_stars(shared: Shared) -> None:
    """A hot pixel stands in one place of the sensor in all frames, a star moves with the sky."""
    corrected = [CosmeticCorrection()(f) for f in frames_of(shared("frames_m27_asi224mc"))]
    originals = frames_of(shared("frames_m27_asi224mc"))
    changed = [
        set(zip(*np.nonzero(c.frame.pixels != o.pixels), strict=True))
        for c, o in zip(corrected, originals, strict=True)
    ]
    assert set.intersection(*changed)
    assert all(len(places) < 20 for places in changed)
    before, after = (len(measure_field(f).stars) for f in (originals[0], corrected[0].frame))
    assert after == before


def test_eighteen_real_jpegs_stack_although_the_field_rotates(shared: Shared) -> None:
    frames = frames_of(shared("frames_m44_openlivestacker"))
    assert [Path(f.source).stem[-2:] for f in frames] == [f"{i:02d}" for i in range(18)]
    stack = LiveStack(18)
    for frame in frames:
        stacked = stack.push(frame).stack.picture()
    assert stacked.pixels.dtype == np.uint8
    assert stack.stack.coverage.max() == 18
    # Half a degree in a minute and a half, as the site and the field of the log have it.
    motion = stack.push(frames[-1]).motion
    assert motion.stars > 20
    assert 0.4 < abs(motion.rotation_deg) < 0.8
    assert np.median(stacked.pixels) == pytest.approx(np.median(frames[0].pixels), abs=1)


def galaxies_in(path: Path) -> np.ndarray:
    """Boxes ``(n, 4)`` that the shipped detector reports."""
    detector = open_detector(zoo.resolve(zoo.DEFAULT))
    return detector.galaxies(view_of(path)).boxes


@pytest.mark.parametrize("kind", ["8.Mono", "8.Color"])
def test_m51_is_found_and_no_star_beside_it(shared: Shared, kind: str) -> None:
    boxes = galaxies_in(shared(f"fits_nebulosa/M51.{kind}.fits"))
    assert ((boxes[:, 0] < 513) & (boxes[:, 2] > 513) & (boxes[:, 1] < 533) & (boxes[:, 3] > 533)).any()
    # NGC 5195 has a box of its own, in which the spiral's core is not.
    companion = (boxes[:, 0] < 481) & (boxes[:, 2] > 481) & (boxes[:, 1] < 416) & (boxes[:, 3] > 416)
    assert (companion & (boxes[:, 3] < 480)).any()
    # M51 and its companion with their halos, by eye; everything else in the frame is a star.
    outside = (boxes[:, 2] < 380) | (boxes[:, 0] > 660) | (boxes[:, 3] < 320) | (boxes[:, 1] > 740)
    assert not outside.any()


@pytest.mark.parametrize("kind", ["Color.16", "Mono.8", "Mono.16", "Mono.F32"])
def test_ngc3344_is_found(shared: Shared, kind: str) -> None:
    boxes = galaxies_in(shared(f"fits_nebulosa/NGC3344.{kind}.fits"))
    sides = boxes[:, 2:] - boxes[:, :2]
    assert ((boxes[:, 0] < 125) & (boxes[:, 2] > 125) & (boxes[:, 1] < 118) & (boxes[:, 3] > 118)).any()
    # The galaxy fills most of the picture; what is boxed besides may be a knot of it, nothing larger.
    assert (sides.max(axis=1) >= 20).sum() == 1


def test_no_star_of_a_catalogued_field_is_called_a_galaxy(shared: Shared) -> None:
    """By SExtractor's catalogue: where a box is, there is an object wider than the field's stars."""
    lines = shared("fits_misc/sep_image.cat").read_text().splitlines()
    names = [line.split()[2] for line in lines if line.startswith("#")]
    rows = np.array([line.split() for line in lines if not line.startswith("#")], float)
    x, y, flux = (rows[:, names.index(name)] for name in ("X_IMAGE", "Y_IMAGE", "FLUX_AUTO"))
    # The second of three columns of this name: the radius of half of the light.
    radius = rows[:, names.index("FLUX_RADIUS") + 1]
    bright = np.argsort(-flux)[:20]
    stars = bright[radius[bright] < 1.4 * np.min(radius[bright])]
    assert len(stars) >= 8
    for box in galaxies_in(shared("fits_misc/sep_image.fits")):
        centre = (box[:2] + box[2:]) / 2
        # FITS counts pixels from the middle of the first, which is 1, and rows from below.
        away = np.hypot(x[stars] - 0.5 - centre[0], 256 - (y[stars] - 0.5) - centre[1])
        assert away.min() > 3


def test_the_shipped_networks_find_m51(shared: Shared) -> None:
    pipeline = Pipeline.from_bundle(zoo.resolve(zoo.DEFAULT))
    with open_source(str(shared("fits_nebulosa/M51.8.Color.fits"))) as source:
        summary = observe(source, pipeline)
    around = [s for s in summary.sightings if s.box[0] < 513 < s.box[2] and s.box[1] < 533 < s.box[3]]
    assert around
    assert max(s.score for s in around) > 0.5


def test_the_galaxy_of_a_catalogued_field_is_found(shared: Shared) -> None:
    """The one of 20 pixels and more, above 1.5 sigma; with every runtime that is installed."""
    view = view_of(shared("fits_misc/sep_image.fits"))
    bundle = zoo.resolve(zoo.DEFAULT)
    assert bundle.manifest.detector is not None
    formats = {variant.format for variant in bundle.manifest.detector.variants}
    for entry in (e for e in runtimes.installed() if e.format in formats):
        for precision in ("int8", "fp32"):
            boxes = open_detector(bundle, entry.name, precision).galaxies(view).boxes
            centres = (boxes[:, :2] + boxes[:, 2:]) / 2
            assert ((centres > (204, 118)) & (centres < (228, 136))).all(axis=1).any()


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_it_finds_more_galaxies_than_extraction_with_a_cut_and_less_that_is_none(
    shared: Shared, precision: str
) -> None:
    pytest.importorskip("sep")
    from edgegal.data.boxed.registry import open_boxed

    root, boxes = shared("fits_misc").parent, Path(__file__).parents[2] / "benchmarks" / "frames"
    detector = open_detector(zoo.resolve(zoo.DEFAULT), precision=precision)
    contestants = {"network": network("network", detector, 1), "sep": classical()}
    (found, extracted), (false, all_false) = (
        side_by_side(contestants, open_boxed(f"frames:{boxes / name},{root}", read_frame=read_still).read()[1])
        for name in ("galaxies.json", "skies.json")
    )
    assert found.galaxies == 7
    assert found.overlap.f1.value > extracted.overlap.f1.value
    # One box over both galaxies of a frame is where float differs from int8.
    assert found.place.recall.value >= (1 if precision == "int8" else 6 / 7)
    assert found.place.false.value == 0
    assert false.overlap.false.value < all_false.overlap.false.value


def test_a_star_cluster_is_no_galaxy(shared: Shared) -> None:
    frames = frames_of(shared("frames_m44_openlivestacker"))
    detector = open_detector(zoo.resolve(zoo.DEFAULT))
    assert [len(detector.galaxies(as_view(frame, Stretch()))) for frame in frames[::6]] == [0, 0, 0]
