import numpy as np
import pytest
from numpy.typing import NDArray

from edgegal.data import DATASETS, open_dataset
from edgegal.data.boxes import cutout_boxes, segment_cutout

pytestmark = pytest.mark.host

SKY, NOISE, PEAK = 20.0, 3.0, 200.0


def cutout(*blobs: tuple[float, float, float, float], size: int = 128) -> NDArray[np.uint8]:
    """Noisy sky with Gaussians at x, y (corner coordinates) of sigma x and sigma y."""
    y, x = np.indices((size, size)) + 0.5
    light = SKY + NOISE * np.random.default_rng(1).standard_normal((size, size))
    for x0, y0, sx, sy in blobs:
        light += PEAK * np.exp(-((x - x0) ** 2) / (2 * sx**2) - (y - y0) ** 2 / (2 * sy**2))
    return np.repeat(np.clip(light, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def analytic(x0: float, y0: float, sx: float, sy: float) -> list[float]:
    """Box of the isophote at three sigma of the noise."""
    reach = np.sqrt(2 * np.log(PEAK / (3 * NOISE)))
    return [x0 - sx * reach, y0 - sy * reach, x0 + sx * reach, y0 + sy * reach]


@pytest.mark.parametrize("blob", [(64, 64, 10, 10), (64, 64, 18, 5), (64, 64, 3, 14), (70, 58, 8, 6), (52.5, 64, 6, 6)])
def test_the_box_is_the_isophote_of_the_galaxy(blob: tuple[float, float, float, float]) -> None:
    found = cutout_boxes(cutout(blob))
    assert found.galaxy is not None
    assert found.galaxy.dtype == np.float32
    # The wings come down on noise, by a pixel or so either way.
    np.testing.assert_allclose(found.galaxy, analytic(*blob), atol=2.5)
    assert len(found.companions) == 0


def test_companions_are_all_the_others() -> None:
    star, neighbour = (20, 100, 2, 2), (105, 30, 5, 4)
    found = cutout_boxes(cutout((64, 64, 9, 9), star, neighbour))
    assert found.galaxy is not None
    by_x = found.companions[np.argsort(found.companions[:, 0])]
    np.testing.assert_allclose(by_x, [analytic(*star), analytic(*neighbour)], atol=2.5)


def test_nothing_at_the_centre_is_no_galaxy() -> None:
    found = cutout_boxes(cutout((25, 25, 6, 6)))
    assert found.galaxy is None
    assert len(found.companions) == 1


@pytest.mark.parametrize("picture", [cutout(), np.zeros((128, 128, 3), np.uint8), np.full((128, 96, 3), 255, np.uint8)])
def test_an_empty_sky_has_no_boxes(picture: NDArray[np.uint8]) -> None:
    found = cutout_boxes(picture)
    assert found.galaxy is None
    assert found.companions.shape == (0, 4)


def test_boxes_surround_their_segments() -> None:
    found = segment_cutout(cutout((64, 64, 12, 6), (20, 20, 3, 3), size=128))
    assert found.central is not None
    assert len(found.boxes) == 2
    for i, box in enumerate(found.boxes):
        ys, xs = np.nonzero(found.segments == i + 1)
        assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


@pytest.mark.realsky
@pytest.mark.skipif(not DATASETS["gz2_kaggle_5class"].present, reason="shared set gz2_kaggle_5class absent")
def test_survey_cutouts_hold_their_galaxy() -> None:
    labelled = open_dataset("gz2_kaggle_5class").subset("train")
    pictures = labelled.select(np.arange(0, len(labelled), 7)).pictures()
    boxes = [found.galaxy for found in map(cutout_boxes, pictures) if found.galaxy is not None]
    assert len(boxes) > 0.97 * len(pictures)
    longer = np.array([max(b[2] - b[0], b[3] - b[1]) for b in boxes])
    # Measured on the whole training part: 1.91. The classifier's crop scale rests on it.
    assert np.median(128 / longer) == pytest.approx(1.91, abs=0.06)
    assert all(b[0] < 64 < b[2] or b[1] < 64 < b[3] for b in boxes)
