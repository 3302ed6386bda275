"""Giving a bundle its evaluation sets: all of it or nothing, and the core reads back what was written."""

import shutil

import numpy as np
import pytest

from edgegal import zoo
from edgegal.bundle import open_bundle, verify
from edgegal.bundle.evaluation import read_classifier_set, read_detector_set
from edgegal.errors import EdgegalError, InputError
from edgegal.export import add_classifier_evaluation, add_detector_evaluation, add_simulated_evaluation
from edgegal.export.simulated import _simulated_classes

pytestmark = [pytest.mark.host, pytest.mark.slow]


@pytest.fixture
def out(exported, tmp_path):
    return shutil.copytree(exported.bundle.root, tmp_path / "tiny")


def test_both_sets_read_back(out, make_sky):
    pictures, labels = make_sky(6, 20), np.array([4, 0, 0, 2, 1, 3])
    boxes = [np.array([[1, 2, 30.25, 40], [5, 5, 9, 9]], np.float32), np.zeros((0, 4), np.float32)]
    add_classifier_evaluation(out, pictures, labels, "simulated galaxies")
    bundle = add_detector_evaluation(out, pictures[:2], boxes, "simulated fields")
    assert verify(bundle) == []
    found, indices = read_classifier_set(bundle)
    np.testing.assert_array_equal(found, pictures)
    np.testing.assert_array_equal(indices, labels)
    tiles, truth = read_detector_set(bundle)
    np.testing.assert_array_equal(tiles, pictures[:2])
    assert all(np.array_equal(a, b) for a, b in zip(truth, boxes, strict=True))
    assert "simulated galaxies (6 pictures)" in (out / "CARD.md").read_text()


def test_a_second_set_takes_the_place_of_the_first(out, make_sky):
    add_classifier_evaluation(out, make_sky(4, 20), np.arange(4), "first")
    bundle = add_classifier_evaluation(out, make_sky(2, 21), np.arange(2), "second")
    assert bundle.manifest.classifier.evaluation.n == len(read_classifier_set(bundle)[1]) == 2
    assert verify(bundle) == []


def test_simulated_galaxies_judge_coarser_classes_too(tmp_path):
    """Of ten, two of each kind: round, in-between and cigar are smooth."""
    out = shutil.copytree(zoo.resolve("four-classes").root, tmp_path / "four")
    bundle = add_simulated_evaluation(out, 10, 0)
    _, labels = read_classifier_set(bundle)
    assert np.bincount(labels, minlength=4).tolist() == [6, 2, 2, 0]
    assert verify(bundle) == []


def test_classes_that_the_simulated_sky_lacks_get_no_set(out):
    stage = open_bundle(out).manifest.classifier
    own = stage.model_copy(update={"labels": ("a", "b", "c", "d", "e"), "scheme": "own"})
    assert _simulated_classes(own) is None


def test_what_does_not_fit_changes_nothing(out, make_sky):
    before = sorted(p.as_posix() for p in out.rglob("*"))
    with pytest.raises(InputError, match="label"):
        add_classifier_evaluation(out, make_sky(2, 1), np.array([0, 5]), "x")
    with pytest.raises(InputError, match="uint8"):
        add_classifier_evaluation(out, make_sky(2, 1)[:, :32], np.array([0, 1]), "x")
    with pytest.raises(InputError, match="2 pictures"):
        add_detector_evaluation(out, make_sky(2, 1), [np.zeros((0, 4))], "x")
    with pytest.raises(EdgegalError, match="no bundle"):
        add_detector_evaluation(out / "nowhere", make_sky(1, 1), [np.zeros((0, 4))], "x")
    assert sorted(p.as_posix() for p in out.rglob("*")) == before
    assert [p.name for p in out.parent.iterdir()] == ["tiny"]
