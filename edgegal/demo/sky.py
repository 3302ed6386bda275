"""The demonstration's two skies: the Hubble Deep Field and a simulated night."""

import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import numpy as np

from edgegal.benchmarks.comparison import compare_bundle
from edgegal.benchmarks.comparison.report import Comparison, Gate
from edgegal.bundle import Bundle
from edgegal.detections import iou_matrix
from edgegal.device.pipeline import FrameResult, Pipeline
from edgegal.device.session import Summary, observe
from edgegal.device.sinks import AnnotatedPictures, SightingLog, annotate
from edgegal.device.sinks.base import Sink
from edgegal.device.sources import open_source
from edgegal.device.stacking import LiveStack
from edgegal.device.tracking import Sighting
from edgegal.errors import InputError, MissingPartError
from edgegal.frames import View
from edgegal.preprocess import crop_square
from edgegal.sky import Night

__all__ = ["Exposition", "NightScore", "run_demo"]

_SEED = 7
_FRAMES = 8
_CROPS_SHOWN = 24
_CROP_PX = 128
_LARGE_PX = 24

Progress = Callable[[str], None]


@dataclass(frozen=True)
class NightScore:
    """How the sightings of a simulated night compare with its truth, at IoU .5.

    Attributes
    ----------
    galaxies
        Galaxies at least 24 pixels large that lie whole in the last frame.
    found
        Those of them that were sighted.
    wrong
        Sightings in the last frame that meet no galaxy of any size.
    named
        Found galaxies whose class is the simulated one.
    """

    galaxies: int
    found: int
    wrong: int
    named: int


@dataclass(frozen=True)
class Crop:
    """A sighted galaxy, cut out."""

    picture: View
    sighting: Sighting


@dataclass
class Exposition(Sink):
    """A sink that keeps what the report shows of one source.

    Attributes
    ----------
    title, caption
        What the source is.
    crop_scale
        Side of the crops shown over the longer side of their boxes: what the classifier saw.
    picture
        The last annotated frame.
    crops
        The largest sightings of the last frame.
    summary
        The run's figures.
    """

    title: str
    caption: str
    crop_scale: float
    picture: View = field(default_factory=lambda: np.zeros((1, 1, 3), np.uint8))
    crops: list[Crop] = field(default_factory=list)
    summary: Summary | None = None

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        self.picture = annotate(result.view, seen)
        largest = sorted(seen, key=_side, reverse=True)[:_CROPS_SHOWN]
        self.crops = [Crop(_cut(result.view, s, self.crop_scale), s) for s in largest]

    def close(self, alive: Sequence[Sighting]) -> None:
        """Nothing is held open."""


def _side(sighting: Sighting) -> float:
    return max(sighting.box[2] - sighting.box[0], sighting.box[3] - sighting.box[1])


def _cut(view: View, sighting: Sighting, crop_scale: float) -> View:
    x0, y0, x1, y1 = sighting.box
    return crop_square(view, ((x0 + x1) / 2, (y0 + y1) / 2), crop_scale * _side(sighting), _CROP_PX)


def hubble_deep_field() -> Path:
    """The picture of the Hubble Deep Field inside scikit-image; the package is found, not imported.

    Raises
    ------
    MissingPartError
        scikit-image is not installed.
    """
    spec = importlib.util.find_spec("skimage")
    places = list(spec.submodule_search_locations or ()) if spec else []
    for place in places:
        path = Path(place) / "data" / "hubble_deep_field.jpg"
        if path.is_file():
            return path
    raise MissingPartError(
        "the demonstration's sky frame comes with scikit-image, which is not installed", "pip install 'edgegal[demo]'"
    )


def score_night(night: Night, sightings: Sequence[Sighting], labels: Sequence[str]) -> NightScore:
    """Compare the sightings alive in the last frame with the truth of that frame.

    Parameters
    ----------
    night
        The simulated night; its stack stands in the pixels of frame 0 and shows galaxies larger than one frame does.
    sightings
        Sightings of the run.
    labels
        Names of the simulated kinds.
    """
    truth = night.boxes(0, stacked=night.frames)
    width, height = night.width, night.height
    whole = (truth[:, :2] >= 0).all(axis=1) & (truth[:, 2] <= width) & (truth[:, 3] <= height)
    large = (truth[:, 2:] - truth[:, :2]).max(axis=1) >= _LARGE_PX
    seen = [s for s in sightings if s.last_frame == night.frames - 1]
    boxes = np.array([s.box for s in seen], np.float32).reshape(-1, 4)
    overlap = iou_matrix(truth, boxes)
    wanted = np.flatnonzero(whole & large)
    found = [i for i in wanted if overlap.shape[1] and overlap[i].max() >= 0.5]
    named = sum(seen[int(overlap[i].argmax())].label == labels[night.scene.kinds[i]] for i in found)
    wrong = int((overlap.max(axis=0, initial=0) < 0.1).sum())
    return NightScore(len(wanted), len(found), wrong, int(named))


@dataclass(frozen=True)
class DemoResult:
    """Everything the report tells.

    Attributes
    ----------
    out
        Folder it lies in.
    expositions
        The two skies.
    night
        Score of the simulated one.
    comparison
        Accuracy of each variant on the bundle's evaluation set.
    runtime
        What ran the networks.
    seconds
        Wall-clock time of all of it.
    """

    out: Path
    expositions: tuple[Exposition, ...]
    night: NightScore
    comparison: Comparison
    runtime: str
    seconds: float


def run_demo(
    bundle: Bundle,
    out: Path,
    runtime: str | None = None,
    precision: str | None = None,
    threads: int = 1,
    progress: Progress = lambda line: None,
) -> DemoResult:
    """Stream both skies through the bundle's networks and compare its variants on its evaluation set.

    Parameters
    ----------
    bundle
        A bundle with a detector and a classifier.
    out
        Folder for annotated pictures and ``sightings.jsonl``; an earlier demonstration's are replaced.
    runtime, precision, threads
        As `edgegal.inference.open_detector` takes them; int8 by default.
    progress
        Told what is going on.

    Raises
    ------
    MissingPartError
        No runtime, or no scikit-image, is installed.
    """
    start = perf_counter()
    hubble = hubble_deep_field()
    _check(bundle)
    classifier = bundle.manifest.classifier
    assert classifier is not None
    crop_scale = classifier.preprocess.crop_scale
    deep = Exposition(
        "Hubble Deep Field",
        "A real frame: the Hubble eXtreme Deep Field (NASA, STScI release 2012-37), as scikit-image ships it.",
        crop_scale,
    )
    night = Night(seed=_SEED, frames=_FRAMES)
    dark = Exposition(
        "A simulated night",
        f"{_FRAMES} simulated exposures of {night.cadence_s:.0f} s that drift, registered and stacked as they come.",
        crop_scale,
    )
    progress("Hubble Deep Field")
    pipeline = Pipeline.from_bundle(bundle, runtime, precision, threads)
    _observe(str(hubble), pipeline, deep, out / "hubble")
    progress("simulated night")
    stacked = Pipeline.from_bundle(bundle, runtime, precision, threads, stack=LiveStack(_FRAMES))
    _observe(f"sim:seed={_SEED},frames={_FRAMES}", stacked, dark, out / "night")
    _join_logs(out)
    assert dark.summary is not None
    score = score_night(night, dark.summary.sightings, classifier.labels)
    progress("accuracy of each variant")
    comparison = compare_bundle(bundle, Gate(), threads=threads, progress=progress)
    ran = comparison.stages[0].rows[0].runtime
    return DemoResult(out, (deep, dark), score, comparison, runtime or ran, perf_counter() - start)


def _check(bundle: Bundle) -> None:
    """Refuse a bundle that could not be demonstrated to the end, before anything is written."""
    stages = bundle.manifest.stages
    for name in ("detector", "classifier"):
        if name not in stages:
            raise InputError(f"bundle {bundle.manifest.name} has no {name}", "demonstrate a bundle with both networks")
    without = [name for name, stage in stages.items() if stage.evaluation is None]
    if without:
        raise InputError(
            f"the {without[0]} of bundle {bundle.manifest.name} has no evaluation set",
            "give it one: edgegal export --evaluation",
        )


def _observe(uri: str, pipeline: Pipeline, exposition: Exposition, folder: Path) -> None:
    with open_source(uri) as source:
        exposition.summary = observe(source, pipeline, [AnnotatedPictures(folder), SightingLog(folder), exposition])


def _join_logs(out: Path) -> None:
    """One ``sightings.jsonl`` of both skies, in place of an earlier demonstration's."""
    parts = [out / name / "sightings.jsonl" for name in ("hubble", "night")]
    temporary = out / f".sightings.{os.getpid()}"
    try:
        temporary.write_text("".join(p.read_text() for p in parts if p.exists()))
        temporary.replace(out / "sightings.jsonl")
    finally:
        temporary.unlink(missing_ok=True)
    for part in parts:
        part.unlink(missing_ok=True)
