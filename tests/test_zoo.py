"""The bundle that ships: sound, small, honest about what it is, and running on every runtime here."""

import os

import numpy as np
import pytest

from edgegal import zoo
from edgegal.bundle import pack, verify
from edgegal.errors import BundleError, InputError
from edgegal.inference import galaxy_crops, open_classifier, open_detector
from edgegal.labels import SCHEMES
from edgegal.runtimes import installed

RUNTIMES = [entry.name for entry in installed() if entry.format != "keras"]
PRECISIONS = ("fp32", "int8")


@pytest.fixture(scope="module")
def shipped():
    if zoo.DEFAULT not in zoo.names():
        pytest.skip("the bundle is not built")
    return zoo.resolve(zoo.DEFAULT)


def test_the_default_bundle_ships():
    assert zoo.DEFAULT in zoo.names()


def test_a_name_that_is_nothing_is_refused_with_the_shipped_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no bundle at andromeda") as error:
        zoo.resolve("andromeda")
    assert all(name in error.value.mend for name in zoo.names())


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"is not a bundle: it has no bundle\.json"):
        zoo.resolve(str(tmp_path))


def test_the_shipped_bundle_is_sound(shipped):
    assert verify(shipped) == []


def test_a_bundle_is_found_by_name_folder_and_archive(shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    archive = pack(shipped, tmp_path / "packed.edgegal")
    for given in (zoo.DEFAULT, str(shipped.root), str(archive)):
        assert zoo.resolve(given).manifest == shipped.manifest


def test_both_networks_are_there_in_every_format_and_precision(shipped):
    for stage in shipped.manifest.stages.values():
        have = {(v.format, v.precision) for v in stage.variants}
        assert have >= {(f, p) for f in ("tflite", "onnx", "openvino") for p in PRECISIONS}
    assert set(shipped.manifest.stages) == {"detector", "classifier"}


def test_the_quantised_detector_stays_under_its_size(shipped):
    sizes = {v.format: v.size for v in shipped.manifest.stages["detector"].variants if v.precision == "int8"}
    assert len(sizes) == 3
    assert max(sizes.values()) <= 1_200_000


def test_both_networks_together_stay_under_two_megabytes_in_int8(shipped):
    for file_format in ("tflite", "onnx", "openvino"):
        sizes = [
            variant.size
            for stage in shipped.manifest.stages.values()
            for variant in stage.variants
            if (variant.format, variant.precision) == (file_format, "int8")
        ]
        assert sum(sizes) < 2_000_000


def test_labels_are_those_of_their_scheme(shipped):
    for stage in shipped.manifest.stages.values():
        assert stage.labels == SCHEMES[stage.scheme].labels


def test_every_variant_says_how_it_was_made_and_measured(shipped):
    for stage in shipped.manifest.stages.values():
        assert stage.evaluation is not None
        assert stage.provenance.datasets
        for variant in stage.variants:
            assert variant.parity is not None
            assert variant.parity.agreement >= variant.parity.threshold
            assert variant.parity.measured.cpu_flags
            assert (variant.quantization is not None) == (variant.precision == "int8")


def test_the_card_names_the_sources(shipped):
    card = (shipped.root / "CARD.md").read_text(encoding="utf-8")
    for stage in shipped.manifest.stages.values():
        for dataset in stage.provenance.datasets:
            assert dataset in card


@pytest.mark.skipif(not RUNTIMES, reason="no runtime is installed")
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_variant_runs_here_as_what_it_claims_to_be(shipped, runtime, precision):
    threads = min(2, os.cpu_count() or 1)
    detector = open_detector(shipped, runtime, precision, threads)
    classifier = open_classifier(shipped, runtime, precision, threads)
    for network in (detector, classifier):
        assert precision in network.runtime.executed_precision().split("+")
    view = np.random.default_rng(0).integers(0, 40, (160, 160, 3)).astype(np.uint8)
    found = detector.detect(view, score_threshold=0.01)
    assert len(found)
    probabilities = classifier(galaxy_crops(view, found, classifier.stage))
    assert probabilities.shape == (len(found), len(classifier.stage.labels))
    assert np.isfinite(probabilities).all()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_all_runtimes_see_the_same(shipped, precision):
    if len(RUNTIMES) < 2:
        pytest.skip("one runtime is installed")
    y, x = np.mgrid[:256, :256]
    bright = 200 * np.exp(-(((x - 120) / 18) ** 2) - ((y - 130) / 9) ** 2) + 12
    view = np.repeat(bright.astype(np.uint8)[..., None], 3, axis=2)
    scores = [open_detector(shipped, runtime, precision).raw(view)["scores"] for runtime in RUNTIMES]
    tolerance = 1e-3 if precision == "fp32" else 0.2
    for other in scores[1:]:
        assert np.abs(other - scores[0]).max() < tolerance
