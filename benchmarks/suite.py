"""What is timed of a bundle: every step from sensor pixels to classes, for every variant on every runtime."""

import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgegal import anchors, runtimes
from edgegal.benchmarks.latency import SingleStream
from edgegal.benchmarks.statistics import Statistics
from edgegal.benchmarks.storage import Benchmark, Run
from edgegal.bundle import Bundle, ClassifierStage, DetectorStage, StageName, Variant
from edgegal.detections import Detections
from edgegal.errors import BundleError, InputError, MissingPartError
from edgegal.frames import Frame, View
from edgegal.inference import Classifier, Detector, decode_outputs, galaxy_crops, open_variant, pick_variant
from edgegal.machine import package_versions, stamp_health, this_machine
from edgegal.preprocess import as_view, crop_square, network_input
from edgegal.runtimes import RuntimeAdapter, RuntimeEntry
from edgegal.sky import Night

__all__ = ["FRAME_SIZE", "Suite", "measure"]

FRAME_SIZE = (1920, 1080)
"""Width and height of the frame that frame rows are timed on."""

Progress = Callable[[int, int, str], None]
"""Takes the number of rows done, the number there will be, and the name of the next."""


@dataclass(frozen=True)
class Suite:
    """What to time.

    Attributes
    ----------
    runtime, precision
        Only these; everything the bundle holds and the machine can run when None.
    threads
        Threads a runtime may use.
    scenario
        How samples of single steps are taken.
    frame_samples
        Least number of samples of the rows that handle a whole frame, which take hundreds of milliseconds each.
    """

    runtime: str | None = None
    precision: str | None = None
    threads: int = 1
    scenario: SingleStream = field(default_factory=SingleStream)
    frame_samples: int = 8

    @property
    def frame_scenario(self) -> SingleStream:
        """How samples of whole frames are taken."""
        return SingleStream(min(self.frame_samples, self.scenario.samples), self.scenario.seconds, 1)


@dataclass(frozen=True)
class _Target:
    """One variant on one runtime."""

    stage: StageName
    variant: Variant
    entry: RuntimeEntry


@dataclass(frozen=True)
class _Scene:
    """The frame everything is timed on; crops and tiles are cut around its middle."""

    frame: Frame
    view: View

    def patch(self, size: int) -> View:
        """A square of the view at full scale."""
        centre = (self.view.shape[1] / 2, self.view.shape[0] / 2)
        return crop_square(self.view, centre, size, size)


def _stage_of(bundle: Bundle, name: StageName) -> DetectorStage | ClassifierStage:
    return bundle.manifest.stages[name]


def _targets(bundle: Bundle, suite: Suite) -> list[_Target]:
    """Every pair of a variant and an installed runtime for it; errors as `pick_variant` when a stage has none."""
    found = []
    for name, stage in bundle.manifest.stages.items():
        pick_variant(stage, suite.runtime, suite.precision)
        for variant in stage.variants:
            for entry in runtimes.installed():
                fits = entry.format == variant.format and suite.precision in (None, variant.precision)
                if fits and suite.runtime in (None, entry.name):
                    found.append(_Target(name, variant, entry))
    return found


def _scene(bundle: Bundle) -> _Scene:
    frame = Night(width=FRAME_SIZE[0], height=FRAME_SIZE[1], frames=1).frame(0)
    return _Scene(frame, as_view(frame, next(iter(bundle.manifest.stages.values())).preprocess.stretch))


class _Bench:
    """Runs the rows of one suite on one bundle, and keeps what could not be run."""

    def __init__(self, bundle: Bundle, suite: Suite, rows: int, progress: Progress) -> None:
        self.bundle = bundle
        self.suite = suite
        self.rows = rows
        self.done = 0
        self.progress = progress
        self.scene = _scene(bundle)
        self.left_out: dict[str, str] = {}

    def time(
        self,
        stage: str,
        step: str,
        call: Callable[[], object],
        target: _Target | None = None,
        extra: dict[str, Any] | None = None,
    ) -> Benchmark:
        """One row."""
        params = {
            "stage": stage,
            "step": step,
            "variant": target.variant.name if target else None,
            "runtime": target.entry.name if target else None,
            "threads": self.suite.threads if target else None,
        }
        name = "/".join([stage, step, *([target.variant.name, target.entry.name] if target else [])])
        if target and self.suite.threads != 1:
            name += f"/{self.suite.threads}-threads"
        self.progress(self.done, self.rows, name)
        self.done += 1
        scenario = self.suite.frame_scenario if stage == "frame" else self.suite.scenario
        return Benchmark(name, params, extra or {}, Statistics(scenario(call)))

    def shared_rows(self) -> Iterator[Benchmark]:
        """Steps no runtime takes part in."""
        frame, view = self.scene.frame, self.scene.view
        stages = self.bundle.manifest.stages
        stretch = next(iter(stages.values())).preprocess.stretch
        size = f"{FRAME_SIZE[0]}x{FRAME_SIZE[1]}"
        yield self.time("frame", "view", lambda: as_view(frame, stretch), extra={"frame": size})
        for name, stage in stages.items():
            if isinstance(stage, DetectorStage):
                tile = self.scene.patch(stage.preprocess.width)
                yield self.time(name, "input", lambda tile=tile: network_input(tile))  # type: ignore[misc]
            else:
                one = _one_galaxy(view)
                yield self.time(
                    name,
                    "input",
                    lambda stage=stage, one=one: network_input(galaxy_crops(view, one, stage)),  # type: ignore[misc]
                )

    def target_rows(self, target: _Target) -> Iterator[Benchmark]:
        """Inference of one variant on one runtime, and what follows it."""
        opened = self._open(target)
        if opened is None:
            return
        adapter, load_s = opened
        stage = _stage_of(self.bundle, target.stage)
        patch = self.scene.patch(stage.preprocess.width)
        batch = network_input(patch)
        row = self.time(target.stage, "infer", lambda: adapter.infer(batch), target)
        # Asked after the samples: some runtimes answer with a profiled run.
        yield Benchmark(row.name, row.params, _facts(target, adapter, load_s), row.statistics)
        if isinstance(stage, DetectorStage):
            grid = anchors.generate(stage.anchors, stage.preprocess.height, stage.preprocess.width)
            raw = Detector(stage, target.variant, adapter, grid).raw(patch)
            codes, scores = raw["boxes"][0], raw["scores"][0]
            found = len(decode_outputs(codes, scores, grid, stage))
            yield self.time(
                target.stage,
                "decode",
                lambda: decode_outputs(codes, scores, grid, stage),
                target,
                {"detections": found},
            )

    def frame_row(self, target: _Target, partner: _Target | None) -> Iterator[Benchmark]:
        """A whole frame, from sensor pixels to the classes of what was found."""
        opened = self._open(target)
        follower = self._open(partner) if partner else None
        stage = _stage_of(self.bundle, target.stage)
        if opened is None or (partner and follower is None) or not isinstance(stage, DetectorStage):
            return
        grid = anchors.generate(stage.anchors, stage.preprocess.height, stage.preprocess.width)
        detector = Detector(stage, target.variant, opened[0], grid)
        second = self.bundle.manifest.classifier
        classifier = Classifier(second, partner.variant, follower[0]) if second and partner and follower else None

        def whole() -> Detections:
            view = as_view(self.scene.frame, stage.preprocess.stretch)
            found = detector.detect(view)
            if classifier is not None:
                classifier(galaxy_crops(view, found, classifier.stage))
            return found

        extra = {"detections": len(whole()), "classifier": partner.variant.name if partner else None}
        yield self.time("frame", "end-to-end", whole, target, extra)

    def _open(self, target: _Target) -> tuple[RuntimeAdapter, float] | None:
        """The loaded file and the seconds loading took, the runtime's package being imported already."""
        try:
            open_variant(self.bundle, target.variant, target.entry, self.suite.threads)
        except BundleError:
            raise
        except (MissingPartError, InputError) as error:
            if self.suite.runtime is not None:
                raise
            self.left_out[f"{target.stage}/{target.variant.name}/{target.entry.name}"] = error.message
            return None
        before = time.perf_counter()
        adapter = open_variant(self.bundle, target.variant, target.entry, self.suite.threads)
        return adapter, time.perf_counter() - before


def _one_galaxy(view: View) -> Detections:
    """A box of 60 pixels in the middle of a view."""
    x, y = view.shape[1] / 2, view.shape[0] / 2
    box = np.array([[x - 30, y - 30, x + 30, y + 30]], np.float32)
    return Detections(box, np.ones(1, np.float32), np.zeros(1, np.int32))


def _facts(target: _Target, adapter: RuntimeAdapter, load_s: float) -> dict[str, Any]:
    return {
        "format": target.variant.format,
        "precision": target.variant.precision,
        "executed_precision": adapter.executed_precision(),
        "provider": adapter.provider,
        "runtime_version": adapter.version,
        "load_s": load_s,
        "bytes": target.variant.size,
        "sha256": target.variant.files[0].sha256,
    }


def _partner(target: _Target, targets: list[_Target]) -> _Target | None:
    """The classifier of the same runtime and precision as a detector."""
    for other in targets:
        same = other.entry == target.entry and other.variant.precision == target.variant.precision
        if other.stage == "classifier" and same:
            return other
    return None


def measure(bundle: Bundle, suite: Suite, progress: Progress = lambda done, rows, name: None) -> Run:
    """Time a bundle on this machine.

    Parameters
    ----------
    bundle
        What to time; its files are checked against their hashes first.
    suite
        Which parts, and how thoroughly.
    progress
        Told of each row before it is timed.

    Raises
    ------
    InputError
        The bundle has nothing of the runtime or precision asked for.
    MissingPartError
        No runtime, or not the one asked for, is installed for the bundle's files.
    """
    targets = _targets(bundle, suite)
    for target in targets:
        bundle.model_path(target.variant)
    whole = [(t, p) for t in targets for p in [_partner(t, targets)] if t.stage == "detector"]
    if bundle.manifest.classifier is not None:
        whole = [(t, p) for t, p in whole if p is not None]
    detectors = sum(t.stage == "detector" for t in targets)
    expected = 1 + len(bundle.manifest.stages) + len(targets) + detectors + len(whole)
    before = stamp_health()
    bench = _Bench(bundle, suite, expected, progress)
    rows = list(bench.shared_rows())
    for target in targets:
        rows.extend(bench.target_rows(target))
    for target, partner in whole:
        rows.extend(bench.frame_row(target, partner))
    if all(row.params["runtime"] is None for row in rows):
        reasons = "; ".join(f"{name}: {why}" for name, why in bench.left_out.items())
        raise MissingPartError(f"no variant of the bundle runs here: {reasons}", "run: edgegal doctor")
    return Run(
        machine=this_machine(),
        versions=package_versions(),
        before=before,
        after=stamp_health(),
        benchmarks=tuple(rows),
        left_out=bench.left_out,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )
