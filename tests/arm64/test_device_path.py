"""edgegal itself, from its wheel, on an emulated ARM computer: it runs, and it sees what it sees here."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgegal.detections import iou_matrix
from edgegal.machine import KERNEL_FLAGS

pytestmark = pytest.mark.arm64

Arm = Callable[..., subprocess.CompletedProcess[str]]

CORES = ("cortex-a72", "cortex-a76")
RUNTIMES = {"legacy": {"tflite-runtime"}, "current": {"litert", "onnxruntime", "openvino"}}


def output_of(done: subprocess.CompletedProcess[str]) -> Any:
    """The JSON a verb printed."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("core", CORES)
def test_a_core_shows_the_flags_it_has(arm: Arm, core: str) -> None:
    ask = "import json; from edgegal.machine import this_machine; print(json.dumps(vars(this_machine())))"
    machine = output_of(arm(core, "legacy", "-c", ask))
    assert machine["architecture"] == "aarch64"
    assert machine["cpu"] == core.title()
    newer = {"fphp", "asimdhp", "asimddp"} if core == "cortex-a76" else set()
    assert machine["cpu_flags"] == [flag for flag in KERNEL_FLAGS if flag in {"asimd"} | newer]


@pytest.mark.parametrize("site", RUNTIMES)
def test_the_doctor_finds_that_every_runtime_infers(arm: Arm, site: str) -> None:
    findings = output_of(arm("cortex-a76", site, "-m", "edgegal", "doctor", "--json"))["findings"]
    fine = {f["name"] for f in findings if f["topic"] == "runtime" and f["state"] == "fine"}
    assert fine == RUNTIMES[site]


def test_a_night_gives_the_sightings_it_gives_here(arm: Arm) -> None:
    words = ("-m", "edgegal", "run", "sim:", "--runtime", "litert", "--limit", "1", "--json")
    here = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    expected = output_of(here)["sightings"]
    found = output_of(arm("cortex-a72", "current", *words))["sightings"]
    assert [s["class"] for s in found] == [s["class"] for s in expected] != []
    overlaps = iou_matrix(np.array([s["box"] for s in found]), np.array([s["box"] for s in expected]))
    assert np.diag(overlaps).min() > 0.95


def test_a_benchmark_says_which_core_it_was(arm: Arm) -> None:
    least = ("--samples", "1", "--seconds", "0", "--frames", "1")
    words = ("-m", "edgegal", "bench", "four-classes", "--precision", "int8", *least, "--json")
    document = output_of(arm("cortex-a72", "legacy", *words))
    assert document["benchmarks"]
    assert "Cortex-A72" in json.dumps(document["machine_info"])


def test_the_shipped_networks_pass_their_gates(arm: Arm) -> None:
    done = arm("cortex-a72", "legacy", "-m", "edgegal", "compare", "four-classes", "--json")
    assert done.returncode == 0, done.stderr
