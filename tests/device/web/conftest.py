"""Runs to show: real pictures of spots through a real pipeline, without a network."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgegal.detections import Detections
from edgegal.device.pipeline import Naming, Pipeline
from edgegal.device.session import Summary, observe
from edgegal.device.sources import open_source
from edgegal.device.web import Live
from edgegal.frames import View

RED = (250, 60, 40)


@pytest.fixture
def pipeline(bright_spots: Callable[[View], Detections], colours: Naming) -> Pipeline:
    """Finds bright spots and names them by their colour."""
    return Pipeline(bright_spots, naming=colours)


@pytest.fixture
def folder(tmp_path: Path, write_sky: Callable[..., None]) -> Path:
    """Four frames: one galaxy in all, a second in the first only, and one file that is no picture."""
    folder = tmp_path / "night"
    folder.mkdir()
    write_sky(folder / "1.png", (50, 50, RED), (200, 120, RED))
    write_sky(folder / "2.png", (52, 50, RED))
    (folder / "3.png").write_bytes(b"")
    write_sky(folder / "4.png", (54, 50, RED))
    return folder


@pytest.fixture
def watch(pipeline: Pipeline) -> Callable[[Path], tuple[Live, Summary]]:
    """Runs a picture or folder to its end; what the page knows of it, and what the run says itself."""

    def run(path: Path) -> tuple[Live, Summary]:
        live = Live(str(path), shared_s=0)
        with open_source(str(path)) as source:
            return live, observe(source, pipeline, [live])

    return run
