import numpy as np
import pytest

from edgegal.device.stars import measure_field
from edgegal.errors import FrameError
from edgegal.frames import Frame

SIZE = (200, 240)


def gaussian_stars(sigma: tuple[float, float], noise: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """A grid of stars off the pixel centres, and their places in continuous coordinates."""
    rng = np.random.default_rng(5)
    places = np.array([(x, y) for x in range(25, 220, 32) for y in range(25, 180, 32)], float)
    places += rng.uniform(-3, 3, places.shape)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    pixels = rng.normal(400, noise, SIZE)
    for at_x, at_y in places:
        pixels += 2000 * np.exp(-0.5 * (((x - at_x) / sigma[0]) ** 2 + ((y - at_y) / sigma[1]) ** 2))
    return pixels.astype(np.float32), places


@pytest.mark.parametrize("fwhm", [2.2, 3.0, 4.5, 6.0])
def test_places_and_widths_of_stars_are_measured(fwhm: float) -> None:
    pixels, places = gaussian_stars((fwhm / 2.3548, fwhm / 2.3548))
    stars = measure_field(Frame(pixels, "grid")).stars
    assert len(stars) == len(places)
    nearest = np.hypot(*np.moveaxis(stars.positions[:, None] - places[None], 2, 0)).min(axis=1)
    assert np.median(nearest) < 0.05
    assert nearest.max() < 0.2
    assert np.median(stars.fwhm) == pytest.approx(fwhm, rel=0.08)
    assert np.median(stars.elongation) < 1.1


def test_trailed_stars_are_elongated() -> None:
    pixels, _ = gaussian_stars((2.4, 1.2))
    assert np.median(measure_field(Frame(pixels, "grid")).stars.elongation) == pytest.approx(2.0, rel=0.1)


def test_the_cells_of_a_mosaic_give_places_and_widths_of_the_frame() -> None:
    pixels, places = gaussian_stars((1.6, 1.6))
    field = measure_field(Frame(pixels, "grid", bayer="RGGB"))
    nearest = np.hypot(*np.moveaxis(field.stars.positions[:, None] - places[None], 2, 0)).min(axis=1)
    assert field.scale == 2
    assert np.median(nearest) < 0.1
    assert np.median(field.stars.fwhm) == pytest.approx(1.6 * 2.3548, rel=0.15)


def test_brighter_stars_come_first() -> None:
    pixels, _ = gaussian_stars((1.5, 1.5))
    pixels[100:110, 100:110] += 4000
    flux = measure_field(Frame(pixels, "grid")).stars.flux
    assert (np.diff(flux) <= 0).all()


def test_a_bright_nebula_is_no_star() -> None:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    glow = 5000 * np.exp(-((x - 120) ** 2 + (y - 100) ** 2) / (2 * 50**2))
    noise = np.random.default_rng(1).normal(400, 2, SIZE)
    assert len(measure_field(Frame((glow + noise).astype(np.float32), "glow")).stars) <= 2


def test_a_frame_without_a_number_is_refused() -> None:
    with pytest.raises(FrameError, match="no finite pixel"):
        measure_field(Frame(np.full((20, 20), np.nan, np.float32), "void"))
