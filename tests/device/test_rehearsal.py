"""The scenario camera from the outside: the shipped bundle, measured in processes of its own."""

import json
import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    words = ["bench", "--scenario", "camera", "--frames", "1", "--out", str(tmp_path_factory.mktemp("bench")), "--json"]
    command = [sys.executable, "-m", "edgegal", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def median(document: dict[str, Any], step: str) -> float:
    return float(next(r["stats"]["median"] for r in document["benchmarks"] if r["name"] == f"camera/{step}"))


def test_every_stage_of_a_raw_frame_is_timed(document: dict[str, Any]) -> None:
    steps = {row["params"]["step"] for row in document["benchmarks"]}
    assert steps >= {"read-fits", "read-ser", "calibrate", "hot_pixels", "judge", "stack", "view", "detect", "crop"}
    assert steps >= {"classify", "networks", "track", "log", "database", "crops", "picture", "run", "all-stages"}
    assert all(min(row["stats"]["data"]) >= 0 for row in document["benchmarks"])


def test_networks_are_a_part_of_the_stages_that_hold_them(document: dict[str, Any]) -> None:
    assert 0 < median(document, "networks") < median(document, "all-stages")
    assert 0 < median(document, "beside-networks") < median(document, "all-stages")


def test_memory_is_that_of_a_run_and_not_of_the_bench(document: dict[str, Any]) -> None:
    # The pictures of a stack of this size alone take more than the one, all of TensorFlow less than the other.
    assert 100e6 < document["peak_rss_bytes"] < 600e6
