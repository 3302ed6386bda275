"""A night rehearsed on this computer: what its stages, a whole run and its memory cost, on one core.

Each measurement is a fresh process, held to one core: `edgegal bench` holds runtimes and pictures of its own, which a
run would not. Stages are timed one after another on one thread. The same parts as a run, where three threads share the
core, show what the running itself adds.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal import zoo
from edgegal.detections import Detections
from edgegal.device.calibration import read_calibration
from edgegal.device.camera_files import CameraFiles, write_camera_files
from edgegal.device.cosmetic import CosmeticCorrection, bad_pixels_of_dark
from edgegal.device.locating import Locator
from edgegal.device.memory import give_memory_back
from edgegal.device.pipeline import FrameResult, Naming, Pipeline
from edgegal.device.quality import Judge
from edgegal.device.registration import Motion
from edgegal.device.session import Spares, observe
from edgegal.device.sinks import AnnotatedPictures, SightingLog, Sink
from edgegal.device.sinks.crops import KeptCrops
from edgegal.device.sinks.database import SightingDatabase
from edgegal.device.sinks.facts import RunFacts
from edgegal.device.sinks.stacked import StackedFits
from edgegal.device.sources import Source, open_source
from edgegal.device.stacking import LiveStack
from edgegal.device.tracking import Sighting, Tracker
from edgegal.device.wiring import wired
from edgegal.errors import EdgegalError, InputError
from edgegal.frames import Frame
from edgegal.inference import Abstention, galaxy_crops, open_classifier, open_detector
from edgegal.settings import FrameSettings, KeepSettings, RunSettings, Settings
from edgegal.sky import Night

__all__ = ["FRAME_SIZE", "NETWORKS", "Rehearsal", "Rehearsed", "rehearse"]

FRAME_SIZE = (1920, 1080)
"""Width and height of the frames."""

NETWORKS = "networks"
"""The part of a frame that the runtimes of the networks take."""

# The first frames open files, warm up the networks and begin the stack.
_WARM_UP = 2
_WHOLE_NIGHT = 100_000
# Files of the stack are for every ten minutes: none is written while frames are timed, but for the first.
_SELDOM_S = 3600.0
_LONGEST_S = 1800.0
# However slow a frame is, it is a sample.
_PATIENT = Spares(stall_s=_LONGEST_S)


@dataclass(frozen=True)
class Rehearsal:
    """What to rehearse.

    Attributes
    ----------
    bundle
        Folder, file or shipped name of a bundle with a detector and a classifier.
    runtime, precision
        As `edgegal.inference.open_detector` takes them.
    frames
        Frames that are timed, at least 1.
    rounds
        How often the stages and a run take their turns.
    """

    bundle: str = "galaxies"
    runtime: str | None = None
    precision: str | None = None
    frames: int = 8
    rounds: int = 2


@dataclass(frozen=True)
class Rehearsed:
    """What it gave.

    Attributes
    ----------
    stages
        By stage in the order they run, seconds of each frame: reading as ``read-fits`` and ``read-ser``, `NETWORKS`
        apart from the stages that hold them, each sink by its own name. Pictures are drawn of every frame.
    alone_s, alone_cpu_s
        Seconds, and seconds of the processor, of each frame through all parts but the pictures, one after another. On
        a computer that does other things besides, those of the processor say more.
    beside_networks_s, beside_networks_cpu_s
        The same without what the networks take.
    run_s, run_cpu_s
        The same as `alone_s` and `alone_cpu_s`, of a run of the same parts.
    peak_bytes
        The most memory a run of its own process held; None where the system does not tell.
    """

    stages: dict[str, NDArray[np.float64]]
    alone_s: NDArray[np.float64]
    alone_cpu_s: NDArray[np.float64]
    beside_networks_s: NDArray[np.float64]
    beside_networks_cpu_s: NDArray[np.float64]
    run_s: NDArray[np.float64]
    run_cpu_s: NDArray[np.float64]
    peak_bytes: int | None


def rehearse(rehearsal: Rehearsal, progress: Callable[[str], None] = lambda what: None) -> Rehearsed:
    """Rehearse on simulated frames of 1920x1080 pixels, 16-bit RGGB, in a temporary folder.

    Raises
    ------
    InputError, MissingPartError, BundleError
        As `edgegal run` with the same bundle, runtime and precision.
    """
    bundle = zoo.resolve(rehearsal.bundle).manifest
    if bundle.detector is None or bundle.classifier is None:
        raise InputError(f"bundle {bundle.name} has no detector or no classifier", "take one that has both: galaxies")
    with tempfile.TemporaryDirectory(prefix="edgegal-") as folder:
        progress("frames of a simulated camera")
        night = Night(width=FRAME_SIZE[0], height=FRAME_SIZE[1], frames=_WARM_UP + rehearsal.frames)
        files = write_camera_files(Path(folder), night)
        parts: list[dict[str, Any]] = []
        for number in range(rehearsal.rounds):
            for kind in ("fits", "ser"):
                progress(f"{kind} frames, round {number + 1} of {rehearsal.rounds}")
                parts.append(_in_its_own_process("times", kind, rehearsal, files))
        progress("memory of a run")
        peak = _in_its_own_process("memory", "fits", rehearsal, files)["peak_bytes"]
    return Rehearsed(_joined([part["stages"] for part in parts]), **_series(parts), peak_bytes=peak)


def _joined(parts: Sequence[dict[str, list[float]]]) -> dict[str, NDArray[np.float64]]:
    names = dict.fromkeys(name for part in parts for name in part)
    ordered = sorted(names, key=lambda name: not name.startswith("read"))
    return {name: np.array([value for part in parts for value in part.get(name, [])]) for name in ordered}


def _series(parts: Sequence[dict[str, Any]]) -> dict[str, NDArray[np.float64]]:
    names = [field.name for field in fields(Rehearsed) if field.name.endswith("_s")]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _in_its_own_process(what: str, kind: str, rehearsal: Rehearsal, files: CameraFiles) -> dict[str, Any]:
    order = {"rehearsal": asdict(rehearsal), "files": {name: str(path) for name, path in asdict(files).items()}}
    done = subprocess.run(
        [sys.executable, "-m", "edgegal.device.rehearsal", what, kind],
        input=json.dumps(order),
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=_LONGEST_S,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise InputError(f"the rehearsal failed: {lines[-1]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


class _Clock:
    """Says how long it is since it was asked last."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._last = seconds()

    def lap(self) -> float:
        before, self._last = self._last, self._seconds()
        return self._last - before


@dataclass
class _Spent:
    """Seconds that the networks of a frame took, and seconds of the processor."""

    wall: float = 0.0
    cpu: float = 0.0

    def timed(self, infer: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, with its time added here."""

        def timed(batch: NDArray[np.float32]) -> Any:
            wall, cpu = perf_counter(), process_time()
            outputs = infer(batch)
            self.wall += perf_counter() - wall
            self.cpu += process_time() - cpu
            return outputs

        return timed

    def take(self) -> tuple[float, float]:
        """What was spent since it was asked last."""
        spent = self.wall, self.cpu
        self.wall = self.cpu = 0.0
        return spent


@dataclass(frozen=True)
class _Parts:
    """What a run is made of."""

    source: Source
    pipeline: Pipeline
    tracker: Tracker
    locator: Locator
    sinks: dict[str, Sink]
    pictures: Sink
    networks: "_Spent"


@contextmanager
def _parts(source: Path, rehearsal: Rehearsal, files: CameraFiles) -> Iterator[_Parts]:
    """The parts of `edgegal run` with masters, the judge, a stack and everything that is written."""
    bundle = zoo.resolve(rehearsal.bundle)
    detector = open_detector(bundle, rehearsal.runtime, rehearsal.precision)
    classifier = open_classifier(bundle, rehearsal.runtime, rehearsal.precision)
    networks = _Spent()
    for stage in (detector, classifier):
        stage.runtime.infer = networks.timed(stage.runtime.infer)  # type: ignore[method-assign]
    calibration = read_calibration(files.dark, files.flat)
    assert calibration is not None
    assert calibration.dark is not None
    naming = Naming(
        classifier.stage.labels,
        lambda view, found: galaxy_crops(view, found, classifier.stage),
        classifier,
        classifier.stage.preprocess.stretch,
        Abstention.of(classifier.stage),
    )
    stretch = detector.stage.preprocess.stretch
    pipeline = Pipeline(
        detector.galaxies,
        stretch,
        naming,
        calibration,
        LiveStack(_WHOLE_NIGHT),
        CosmeticCorrection(bad_pixels_of_dark(calibration.dark.pixels, 2)),
        Judge(),
    )
    run, locator = RunFacts.of(str(source), bundle, stretch), Locator()
    with tempfile.TemporaryDirectory(prefix="edgegal-") as folder, ExitStack() as held:
        out = Path(folder)
        sinks: dict[str, Sink] = {
            "log": SightingLog(out, run.id, locator),
            "database": SightingDatabase(out / "sightings.sqlite", run, locator),
            "crops": KeptCrops(out / "crops", run, ask=locator),
            "stack-file": StackedFits(out / "stacks", run, locator, _SELDOM_S),
        }
        pictures = AnnotatedPictures(out / "frames")
        opened = open_source(str(source))
        held.callback(opened.close)
        yield _Parts(opened, pipeline, Tracker(naming.labels, naming.abstention), locator, sinks, pictures, networks)


def _one_after_another(parts: _Parts) -> dict[str, Any]:
    """Each frame through all parts, on this thread."""
    frames: list[dict[str, float]] = []
    totals: list[dict[str, float]] = []
    read = "read-ser" if parts.source.name.endswith(".ser") else "read-fits"
    clock, cpu = _Clock(perf_counter), _Clock(process_time)
    for frame in parts.source:
        times = {read: clock.lap()}
        result = parts.pipeline(frame)
        clock.lap()
        times |= {name: seconds for name, seconds in asdict(result.times).items() if seconds}
        seen, ended = parts.tracker.update(*_to_track(result))
        times["track"] = clock.lap()
        parts.locator.locate(result, seen, ended)
        times["locate"] = clock.lap()
        for name, sink in parts.sinks.items():
            sink.write(result, seen, ended)
            times[name] = clock.lap()
        alone, alone_cpu = sum(times.values()), cpu.lap()
        times[NETWORKS], networks_cpu = parts.networks.take()
        totals.append(
            {
                "alone_s": alone,
                "alone_cpu_s": alone_cpu,
                "beside_networks_s": alone - times[NETWORKS],
                "beside_networks_cpu_s": alone_cpu - networks_cpu,
            }
        )
        parts.pictures.write(result, seen, ended)
        frames.append(times | {"picture": clock.lap()})
        # Neither of them is held while the next frame is read: no run does that either.
        del frame, result
        clock.lap()
        cpu.lap()
    names = dict.fromkeys(name for times in frames for name in times)
    stages = {name: [times.get(name, 0.0) for times in frames[_WARM_UP:]] for name in names}
    return {"stages": stages, **{name: [total[name] for total in totals[_WARM_UP:]] for name in totals[0]}}


def _to_track(result: FrameResult) -> tuple[Frame, Detections, NDArray[np.float32], Motion | None]:
    assert result.stacked is not None
    return result.frame, result.detections, result.probabilities, result.stacked.carried


class _Marks(Sink):
    """Notes when each frame was written."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        self.wall.append(perf_counter())
        self.cpu.append(process_time())

    def close(self, alive: Sequence[Sighting]) -> None:
        """Nothing is held open."""


def _in_a_run(parts: _Parts) -> dict[str, list[float]]:
    """Each frame through the same parts, by the run's own threads; but for pictures."""
    marks = _Marks()
    observe(
        parts.source,
        parts.pipeline,
        [*parts.sinks.values(), marks],
        parts.tracker,
        locator=parts.locator,
        spares=_PATIENT,
    )
    return {
        "run_s": np.diff(marks.wall)[_WARM_UP - 1 :].tolist(),
        "run_cpu_s": np.diff(marks.cpu)[_WARM_UP - 1 :].tolist(),
    }


def _peak(source: Path, rehearsal: Rehearsal, files: CameraFiles) -> int | None:
    """The most memory that `edgegal run` itself held, from its start."""
    with tempfile.TemporaryDirectory(prefix="edgegal-") as out:
        settings = Settings(
            run=RunSettings(
                source=str(source),
                bundle=rehearsal.bundle,
                runtime=rehearsal.runtime,
                precision=rehearsal.precision,  # type: ignore[arg-type]
                out=Path(out),
            ),
            frames=FrameSettings(dark=files.dark, flat=files.flat, stack=_WHOLE_NIGHT),
            keep=KeepSettings(stacks_every=1),
        )
        with wired(settings) as ready:
            ready.observe()
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def _main(what: str, kind: str) -> None:
    """Measure one thing as the parent orders on stdin; what was measured goes to stdout as JSON."""
    import cv2

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    order = json.load(sys.stdin)
    rehearsal = Rehearsal(**order["rehearsal"])
    files = CameraFiles(**{name: Path(path) for name, path in order["files"].items()})
    source = files.fits if kind == "fits" else files.ser
    if what == "memory":
        told: dict[str, Any] = {"peak_bytes": _peak(source, rehearsal, files)}
    else:
        give_memory_back()
        with _parts(source, rehearsal, files) as parts:
            told = _one_after_another(parts)
        with _parts(source, rehearsal, files) as parts:
            told |= _in_a_run(parts)
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except EdgegalError as error:
        sys.exit(str(error))
