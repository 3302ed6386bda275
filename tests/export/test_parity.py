"""The figures of parity, against what they mean, and the gate they feed."""

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgegal import runtimes
from edgegal.bundle.manifest import Measured, Parity, Precision
from edgegal.errors import GateFailedError, InputError
from edgegal.export import EXPORTERS, Calibration, Job
from edgegal.export.parity import LEAST_AGREEMENT, LEAST_SQNR_DB, Reference, compare, held_to, measure, shortfall
from edgegal.export.quiet import tools_quiet
from edgegal.export.registry import Order

pytestmark = pytest.mark.host

VALUES = arrays(np.float32, st.integers(1, 40), elements=st.floats(-100, 100, width=32))


@given(VALUES)
def test_equal_outputs_have_no_error(values):
    errors = compare(values, values)
    assert (errors.max_abs, errors.mean_abs, errors.sqnr_db) == (0, 0, None)
    assert errors.cosine == pytest.approx(1)


@given(VALUES, st.floats(0.01, 10))
def test_a_shift_is_the_error_everywhere(values, shift):
    errors = compare(values, values.astype(np.float64) + shift)
    assert errors.max_abs == pytest.approx(shift)
    assert errors.mean_abs == pytest.approx(shift)


def test_sqnr_of_known_noise():
    signal = np.full(1000, 2.0)
    noisy = signal + np.where(np.arange(1000) % 2, 0.02, -0.02)
    assert compare(signal, noisy).sqnr_db == pytest.approx(40, abs=1e-6)


def test_uniform_quantisation_gives_six_decibels_a_bit():
    values = np.random.default_rng(0).uniform(-1, 1, 200_000)
    ratios = [compare(values, np.round(values * 2 ** (b - 1)) / 2 ** (b - 1)).sqnr_db for b in (6, 8)]
    assert ratios[1] - ratios[0] == pytest.approx(2 * 20 * math.log10(2), abs=0.05)


def test_opposite_outputs():
    assert compare(np.array([1.0, 2.0]), np.array([-1.0, -2.0])).cosine == pytest.approx(-1)


def test_silence_against_noise_has_no_likeness():
    errors = compare(np.zeros(4), np.ones(4))
    assert errors.cosine == 0
    assert errors.sqnr_db == -math.inf


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_fail_the_gate(bad):
    with pytest.raises(GateFailedError, match="finite"):
        compare(np.ones(2), np.array([1.0, bad]))


def test_half_precision_at_work_is_held_to_half_precision():
    assert held_to("fp32", "bf16") == "fp16"
    assert held_to("fp32", "fp32") == "fp32"
    assert held_to("int8", "int8+fp16") == "int8"


@pytest.mark.parametrize("thresholds", [LEAST_AGREEMENT, LEAST_SQNR_DB])
def test_every_precision_has_its_thresholds_and_float_the_strictest(thresholds):
    for by_precision in thresholds.values():
        assert set(by_precision) == set(get_args(Precision))
        assert by_precision["fp32"] == max(by_precision.values())


PARITY = Parity(
    samples=100,
    max_abs=0.1,
    mean_abs=0.01,
    cosine=0.99,
    sqnr_db=25.0,
    agreement=0.96,
    threshold=0.95,
    least_sqnr_db=20.0,
    measured=Measured(runtime="r", runtime_version="1", machine="m", cpu_flags=(), executed_precision="int8"),
)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"agreement": 0.95, "sqnr_db": 20.0}, ""),
        ({"sqnr_db": None}, ""),
        ({"agreement": 0.94}, "agrees with float on 0.940 of 100 pictures, at least 0.95 is asked"),
        ({"sqnr_db": 19.96}, "has an SQNR of 20.0 dB, at least 20 dB is asked"),
        ({"agreement": 0.1, "sqnr_db": 1.0}, "0.95 is asked and has an SQNR of 1.0 dB"),
    ],
)
def test_either_threshold_fails_the_gate(changes, says):
    assert says in (found := shortfall(PARITY.model_copy(update=changes)))
    assert bool(found) == bool(says)


def _broken(job, kind, broken_pictures, tmp_path):
    """What the gate says of int8 files whose pictures are not those of the float network."""
    reference = replace(Reference.of(job.network, job.pictures), pictures=broken_pictures)
    order = Order(job.network, "int8", job.calibration, tmp_path / "int8", "{}")
    with tools_quiet():
        adapter = runtimes.load(runtimes.choose({kind}), EXPORTERS[kind].load().convert(order).files[0])
    return shortfall(measure(reference, adapter, "int8"))


@pytest.mark.parametrize("stage", ["classifier", "detector"])
def test_a_network_that_is_fed_something_else_fails_the_gate(stage, make_sky, request, tmp_path):
    """Colours in the wrong order, pictures a tenth as bright; and the same file passes on what it is made for."""
    network = request.getfixturevalue(stage)
    job = Job(network, make_sky(24, 4), Calibration(make_sky(32, 3), "sky", "train", 3))
    broken = {
        "nothing": job.pictures,
        "colours": np.ascontiguousarray(job.pictures[..., ::-1]),
        "brightness": job.pictures // 10,
    }
    missed = {what: bool(_broken(job, "onnx", pictures, tmp_path)) for what, pictures in broken.items()}
    assert missed == {"nothing": False, "colours": True, "brightness": True}


def test_classifiers_agree_by_their_top_class(classifier, make_sky):
    reference = Reference.of(classifier, make_sky(8, 11))
    probabilities = reference.outputs["probabilities"].copy()
    assert reference.agreement({"probabilities": probabilities}) == 1
    probabilities[:2] = np.roll(probabilities[:2], 1, axis=1)
    assert reference.agreement({"probabilities": probabilities}) == pytest.approx(6 / 8)


def test_detectors_agree_by_their_boxes(detector, make_sky):
    reference = Reference.of(detector, make_sky(8, 12))
    outputs = dict(reference.outputs)
    assert reference.agreement(outputs) == 1
    moved = outputs["boxes"].copy()
    moved[:4, ..., :2] += 30  # three anchors away
    assert 0 < reference.agreement({**outputs, "boxes": moved}) < 0.8
    silent = np.zeros_like(outputs["scores"])
    assert reference.agreement({**outputs, "scores": silent}) == 0


def test_a_detector_that_finds_nothing_cannot_be_compared(detector):
    strict = replace(detector, description=detector.description.model_copy(update={"score_threshold": 1.0}))
    with pytest.raises(InputError, match="finds 0 galaxies"):
        Reference.of(strict, np.zeros((2, 64, 64, 3), np.uint8))


def test_no_pictures_no_parity(classifier):
    with pytest.raises(InputError, match="no pictures"):
        Reference.of(classifier, np.zeros((0, 64, 64, 3), np.uint8))
