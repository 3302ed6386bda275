import importlib.util
from pathlib import Path

import numpy as np
import pytest

from edgegal.runtimes import RUNTIMES, installed, load

NETWORKS = Path(__file__).parent / "tiny_networks"
# The packages that write a format, where they are not the runtime itself.
WRITERS = {"onnx": "onnx", "openvino": "openvino"}
SUFFIXES = {"tflite": ".tflite", "onnx": ".onnx", "openvino": ".xml", "keras": ".keras"}


@pytest.fixture(scope="session")
def tiny():
    """The module that writes the tiny network and knows its answers."""
    spec = importlib.util.spec_from_file_location("tiny_networks", NETWORKS / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def network_file(tiny, tmp_path_factory):
    """Finds the file of the tiny network by runtime and precision; skips where the runtime is not installed."""
    made = {}

    def find(runtime, precision="fp32"):
        kind = RUNTIMES[runtime].format
        if RUNTIMES[runtime] not in installed():
            pytest.skip(f"{runtime} is not installed")
        if kind == "tflite":
            return NETWORKS / f"{precision}.tflite"
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            if kind == "keras":
                tiny.write_keras(made[kind] / "fp32.keras")
            else:
                pytest.importorskip(WRITERS[kind])
                getattr(tiny, f"write_{kind}")(made[kind])
        return made[kind] / f"{precision}{SUFFIXES[kind]}"

    return find


@pytest.fixture(scope="session")
def batch():
    return np.random.default_rng(1).uniform(0, 255, (1, 8, 8, 3)).astype(np.float32)


@pytest.fixture
def open_tiny(network_file):
    """Loads the tiny network into a runtime."""

    def open_(runtime, precision="fp32", threads=1):
        return load(RUNTIMES[runtime], network_file(runtime, precision), threads)

    return open_
