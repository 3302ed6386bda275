"""Calibration pictures: where they come from, and what is refused."""

import numpy as np
import pytest

from edgegal.data import open_dataset, shared_root
from edgegal.errors import EdgegalError, InputError
from edgegal.export import Calibration, calibrate, network_pictures
from edgegal.export.calibration import MIN_SAMPLES

pytestmark = pytest.mark.host


def _noise(n=MIN_SAMPLES, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), np.uint8)


def test_the_hash_is_that_of_the_pixels():
    one, same, other = (Calibration(_noise(seed=s), "noise", "train", 0) for s in (0, 0, 1))
    assert one.sha256 == same.sha256 != other.sha256
    assert len(one.sha256) == 64


def test_batches_are_single_network_inputs():
    calibration = Calibration(_noise(), "noise", "train", 0)
    batches = calibration.batches()
    assert len(batches) == len(calibration) == MIN_SAMPLES
    assert {(b.shape, b.dtype.name) for b in batches} == {((1, 8, 8, 3), "float32")}
    np.testing.assert_array_equal(batches[3][0], calibration.pictures[3])


@pytest.mark.parametrize(
    ("pictures", "match"),
    [
        (np.full((20, 8, 8, 3), np.nan, np.float32), "NaN"),
        (np.zeros((20, 8, 8, 3), np.float32), "float32, not uint8"),
        (np.zeros((20, 8, 8), np.uint8), "not \\(n, h, w, 3\\)"),
        (_noise(MIN_SAMPLES - 1), "too few"),
        (np.zeros((0, 8, 8, 3), np.uint8), "too few"),
    ],
)
def test_pictures_that_show_no_range_are_refused(pictures, match):
    with pytest.raises(InputError, match=match):
        Calibration(pictures, "noise", "train", 0)


def test_the_test_split_is_refused():
    with pytest.raises(InputError, match="test split"):
        Calibration(_noise(), "noise", "test", 0)


@pytest.fixture
def folder_set(write_pictures, tmp_path):
    """A set of simulated galaxies in folders ``train`` and ``val``."""
    return open_dataset(f"folder:{write_pictures(tmp_path / 'set')}")


def test_classifiers_calibrate_on_the_train_split_only(classifier, folder_set):
    calibration = calibrate(classifier.description, folder_set, 1000, 5)
    assert len(calibration) == len(folder_set.subset("train", labelled=False))
    assert calibration.pictures.shape[1:] == (64, 64, 3)
    assert (calibration.dataset, calibration.split, calibration.seed) == (folder_set.name, "train", 5)
    fewer = calibrate(classifier.description, folder_set, 17, 5)
    assert len(fewer) == 17
    assert fewer.sha256 == calibrate(classifier.description, folder_set, 17, 5).sha256
    assert fewer.sha256 != calibrate(classifier.description, folder_set, 17, 6).sha256


def test_detectors_calibrate_on_composed_fields(detector, folder_set):
    calibration = calibrate(detector.description, folder_set, 20, 5)
    assert calibration.pictures.shape == (20, 64, 64, 3)
    assert calibration.dataset.startswith("fields composed with")


def test_a_split_without_pictures_is_refused(classifier, folder_set):
    with pytest.raises(EdgegalError, match="no pictures in its test split"):
        network_pictures(classifier.description, folder_set, "test", 4, 0)


@pytest.mark.realsky
@pytest.mark.skipif(not (shared_root() / "gz2_kaggle_5class").is_dir(), reason="gz2_kaggle_5class is not here")
def test_real_galaxies_at_network_size(classifier, detector):
    pictures = open_dataset("gz2_kaggle_5class")
    crops = calibrate(classifier.description, pictures, 20, 0)
    fields = calibrate(detector.description, pictures, 20, 0)
    assert crops.pictures.shape == fields.pictures.shape == (20, 64, 64, 3)
    assert crops.pictures.std() > 5
    assert crops.sha256 != fields.sha256
