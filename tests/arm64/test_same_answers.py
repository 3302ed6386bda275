"""A network exported on x86-64 gives the same answers on an emulated ARM core, as far as its runtime promises it.

What is promised differs. The plain integer kernels of TFLite are the definition of its int8 and give the same bits
anywhere. LiteRT and ONNX Runtime compute integers alike everywhere and round once at the end: one step of the output
at most. The fast ARM kernels of tflite-runtime round each layer in their own way, and OpenVINO runs part of an int8
network in floats there: such answers may be others, and are held to the agreement that ``edgegal compare`` asks of a
variant.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgegal import anchors, zoo
from edgegal.bundle import DetectorStage
from edgegal.detections import Detections
from edgegal.inference import decode_outputs
from edgegal.metrics import box_agreement
from edgegal.runtimes import RUNTIMES

pytestmark = pytest.mark.arm64

Arm = Callable[..., subprocess.CompletedProcess[str]]
Here = Callable[..., "Outputs"]

ROOT = Path(__file__).resolve().parents[2]
CORES = ("cortex-a72", "cortex-a76")
SITES = {"tflite-runtime": "legacy", "litert": "current", "onnxruntime": "current", "openvino": "current"}
PYTHONS = {"legacy": str(ROOT / ".venv-legacy/bin/python"), "current": sys.executable}
# OpenVINO takes seconds for a field and half a minute to build its kernels under emulation.
OPTIONS: Mapping[str, tuple[str, ...]] = {"openvino": ("--fields", "4")}

ROUNDS_ITS_OWN_WAY = {("tflite-runtime", "int8"), ("openvino", "int8")}
# Without dot products OpenVINO 2026.4 builds no kernel for one of the detector's integer convolutions.
REFUSED = {("cortex-a72", "openvino"): {"galaxies/detector/openvino-int8"}}
# Sums of floats in another order.
ROUNDING = 1e-5
MIN_AGREEMENT = 0.97
MIN_BOX_AGREEMENT = 0.85


@dataclass(frozen=True)
class Outputs:
    """What ``outputs.py`` wrote."""

    about: Mapping[str, Any]
    arrays: Mapping[str, NDArray[np.float32]]

    @classmethod
    def read(cls, path: Path) -> "Outputs":
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        return cls(json.loads(str(arrays.pop("about"))), arrays)

    def of_role(self, role: str) -> dict[str, NDArray[np.float32]]:
        """Arrays by ``bundle/stage/variant``."""
        return {name.rpartition("/")[0]: a for name, a in self.arrays.items() if name.endswith(f"/{role}")}


@dataclass(frozen=True)
class Comparison:
    """One runtime on an emulated core, and here."""

    core: str
    runtime: str
    there: Outputs
    here: Outputs

    def pairs(self, precision: str) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.float32]]]:
        """Name, outputs there and outputs here of the variants of a precision."""
        for name, found in self.there.arrays.items():
            if precision_of(name) == precision:
                yield name, found, self.here.arrays[name]


def precision_of(name: str) -> str:
    """Of an array or a variant, ``bundle/stage/format-precision[-io][/role]``."""
    return name.split("/")[2].split("-")[1]


def step_of(outputs: NDArray[np.float32]) -> float | None:
    """What one more in the integer that an output is made of adds to it; None when it is made of floats."""
    levels = np.unique(outputs)
    return float(np.diff(levels).min()) if 1 < len(levels) <= 256 else None


def row(comparison: Comparison, name: str) -> dict[str, str]:
    """What the table says of one output."""
    found, expected = comparison.there.arrays[name], comparison.here.arrays[name]
    difference = np.abs(found.astype(np.float64) - expected)
    step = step_of(expected)
    classes = "-"
    if name.endswith("/probabilities"):
        classes = f"{int((found.argmax(axis=1) == expected.argmax(axis=1)).sum())} of {len(found)}"
    variant = name.rpartition("/")[0]
    return {
        "core": comparison.core,
        "runtime": f"{comparison.runtime} {comparison.there.about['version']}",
        "output": name,
        "runs as": comparison.there.about["executed"][variant],
        "here": comparison.here.about["executed"][variant],
        "identical": f"{np.mean(difference == 0):.2%}",
        "largest difference": f"{difference.max():.2g}" if step is None else f"{difference.max() / step:.0f}",
        "in": "floats" if step is None else "steps",
        "same class": classes,
    }


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory) -> Here:
    """Outputs of a runtime on this machine, each asked for once."""
    known: dict[tuple[str, ...], Outputs] = {}

    def outputs(runtime: str, *options: str) -> Outputs:
        python = PYTHONS[SITES[runtime]]
        if subprocess.run([python, "-c", f"import {RUNTIMES[runtime].package}"], check=False).returncode:
            pytest.skip(f"no {runtime} for the Python of this machine")
        key = (runtime, *options)
        if key not in known:
            out = tmp_path_factory.mktemp("here") / "outputs.npz"
            subprocess.run([python, ROOT / "tests/arm64/outputs.py", runtime, out, *options], check=True)
            known[key] = Outputs.read(out)
        return known[key]

    return outputs


def outputs_there(arm: Arm, core: str, runtime: str, folder: Path, *options: str) -> Outputs:
    """Outputs of a runtime on an emulated core."""
    shown = {ROOT / "tests/arm64": "/srv/tests", folder: "/srv/out"}
    words = ("/srv/tests/outputs.py", runtime, "/srv/out/outputs.npz", *options)
    done = arm(core, SITES[runtime], *words, shown=shown)
    assert done.returncode == 0, done.stderr
    return Outputs.read(folder / "outputs.npz")


@pytest.fixture(scope="session")
def there(
    request: pytest.FixtureRequest, arm: Arm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[tuple[str, str], Future[Outputs]]]:
    """Outputs by core and runtime, all that the tests to run ask for, as many at a time as there are processors."""
    specs = [item.callspec for item in request.session.items if hasattr(item, "callspec")]
    pairs = dict.fromkeys(spec.params["comparison"] for spec in specs if "comparison" in spec.params)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {
            (core, runtime): pool.submit(
                outputs_there, arm, core, runtime, tmp_path_factory.mktemp("there"), *OPTIONS.get(runtime, ())
            )
            for core, runtime in pairs
        }


EVERY_PAIR = [pytest.param((core, runtime), id=f"{core}-{runtime}") for runtime in SITES for core in CORES]


@pytest.fixture(scope="module", params=EVERY_PAIR)
def comparison(
    request: pytest.FixtureRequest, there: Mapping[tuple[str, str], Future[Outputs]], here: Here, measured: Path
) -> Comparison:
    core, runtime = request.param
    expected = here(runtime, *OPTIONS.get(runtime, ()))
    made = Comparison(core, runtime, there[core, runtime].result(), expected)
    rows = [row(made, name) for name in made.there.arrays]
    (measured / f"{core}-{runtime}.json").write_text(json.dumps(rows))
    return made


def test_the_same_version_runs_on_both(comparison: Comparison) -> None:
    assert comparison.there.about["version"] == comparison.here.about["version"]
    assert comparison.there.about["machine"]["architecture"] == "aarch64"
    assert comparison.here.about["machine"]["architecture"] == "x86_64"


def test_what_runs_here_runs_there(comparison: Comparison) -> None:
    known = REFUSED.get((comparison.core, comparison.runtime), set())
    assert comparison.there.about["refused"].keys() - comparison.here.about["refused"].keys() == known


def test_every_picture_gets_the_class_it_gets_here(comparison: Comparison) -> None:
    classified = comparison.there.of_role("probabilities")
    assert classified
    for name, found in classified.items():
        expected = comparison.here.of_role("probabilities")[name]
        least = MIN_AGREEMENT if (comparison.runtime, precision_of(name)) == ("openvino", "int8") else 1.0
        assert np.mean(found.argmax(axis=1) == expected.argmax(axis=1)) >= least, name


def test_the_detector_finds_the_boxes_it_finds_here(comparison: Comparison) -> None:
    detected = comparison.there.of_role("scores")
    assert detected
    for name in detected:
        found, expected = (boxes_of(side, name) for side in (comparison.there, comparison.here))
        assert sum(map(len, expected)) > 0
        if (comparison.runtime, precision_of(name)) in ROUNDS_ITS_OWN_WAY:
            assert box_agreement(found, expected) >= MIN_BOX_AGREEMENT, name
        else:
            assert box_agreement(found, expected, iou=0.95) == 1, name


def boxes_of(outputs: Outputs, name: str) -> list[Detections]:
    """Detections of a variant, picture by picture."""
    stage = zoo.resolve(name.split("/")[0]).manifest.detector
    assert isinstance(stage, DetectorStage)
    grid = anchors.generate(stage.anchors, stage.preprocess.height, stage.preprocess.width)
    codes, scores = (outputs.arrays[f"{name}/{role}"] for role in ("boxes", "scores"))
    return [decode_outputs(c, s, grid, stage) for c, s in zip(codes, scores, strict=True)]


def test_outputs_in_floats_differ_by_rounding_alone(comparison: Comparison) -> None:
    pairs = list(comparison.pairs("fp32"))
    assert pairs
    for name, found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING, err_msg=name)


def test_outputs_in_integers_differ_by_one_step_at_most(comparison: Comparison) -> None:
    if (comparison.runtime, "int8") in ROUNDS_ITS_OWN_WAY:
        pytest.skip(f"{comparison.runtime} rounds in its own way on ARM")
    pairs = list(comparison.pairs("int8"))
    assert pairs
    for name, found, expected in pairs:
        step = step_of(expected)
        assert step is not None, name
        np.testing.assert_allclose(found, expected, rtol=0, atol=step * 1.01, err_msg=name)


def test_rounding_in_another_way_leaves_the_outputs_as_near_to_float(comparison: Comparison) -> None:
    if comparison.runtime != "tflite-runtime":
        pytest.skip("asked of tflite-runtime alone")
    for name, found, expected in comparison.pairs("int8"):
        exact = comparison.here.arrays[name.replace("-int8", "-fp32")]
        assert np.abs(found - exact).mean() <= 1.05 * np.abs(expected - exact).mean(), name


@pytest.mark.parametrize("core", CORES)
def test_the_plain_integer_kernels_give_the_same_bits(arm: Arm, here: Here, core: str, tmp_path: Path) -> None:
    expected = here("tflite-runtime", "--reference-kernels")
    found = outputs_there(arm, core, "tflite-runtime", tmp_path, "--reference-kernels")
    assert found.arrays.keys() == expected.arrays.keys() != set()
    for name, outputs in found.arrays.items():
        np.testing.assert_array_equal(outputs, expected.arrays[name], err_msg=name)
