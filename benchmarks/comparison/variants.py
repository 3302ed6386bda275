"""What quantising cost: every variant of a bundle against float, on the same labelled pictures.

Answering (a network over pictures) is here, judging the answers in `figures`, the verdict on the figures in `verdict`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegal import anchors, runtimes
from edgegal.benchmarks.comparison.disagreements import Disagreements, box_disagreements, class_disagreements
from edgegal.benchmarks.comparison.figures import (
    RESAMPLES,
    SCORE_FLOOR,
    Answers,
    ClassifierRow,
    Ran,
    Row,
    judge_classifier,
    judge_detector,
)
from edgegal.benchmarks.comparison.layer_report import PICTURES, LayerReport, analyse_layers
from edgegal.benchmarks.comparison.report import Comparison
from edgegal.benchmarks.comparison.stage import StageReport
from edgegal.benchmarks.comparison.verdict import Gate
from edgegal.bundle import Bundle, ClassifierStage, DetectorStage, StageName, Variant, save
from edgegal.bundle.evaluation import read_classifier_set, read_detector_set
from edgegal.bundle.manifest import Accuracy, ClassifierDescription, DetectorDescription, Measured
from edgegal.detections import Detections
from edgegal.errors import BundleError, DatasetError, InputError, MissingPartError
from edgegal.frames import View
from edgegal.inference import Classifier, Detector, decode_outputs, open_variant, slicing_of, tempered
from edgegal.labels import LabelScheme, project, scheme
from edgegal.machine import this_machine
from edgegal.metrics import Interval, answered
from edgegal.preprocess import network_input, resize
from edgegal.runtimes import RuntimeAdapter
from edgegal.slicing import detect_sliced, tiles

__all__ = [
    "BoxedPictures",
    "LabelledPictures",
    "compare_bundle",
    "compare_trained",
    "in_classes",
    "record_accuracy",
]

_FLOAT = "fp32"
_KERAS = "keras"

_KERAS_BATCH = 16

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class LabelledPictures:
    """Pictures of single galaxies with their class.

    Attributes
    ----------
    name, split
        Dataset and split, for the record.
    pictures
        ``(n, h, w, 3)`` uint8 RGB, square, any size.
    labels
        ``(n,)`` indices into the labels of `scheme`.
    scheme
        The classes to judge in, when they are not the classifier's: its probabilities are summed into them.
    """

    name: str
    split: str
    pictures: View
    labels: NDArray[np.int32]
    scheme: LabelScheme | None = None

    def classes(self, description: ClassifierDescription) -> tuple[str, ...]:
        """Names that the labels index, for a classifier."""
        return self.scheme.labels if self.scheme else description.labels

    def answers(self, description: ClassifierDescription, probabilities: NDArray[np.float32]) -> Answers:
        """Calibrated probabilities ``(n, labels)`` of a classifier as answers in the classes to judge in.

        Whether it answers is up to the probabilities of its own classes, as on the device. Its rule of size is not
        asked: crops have no size in a frame.
        """
        given = answered(probabilities, description.abstain_below) if description.abstain_below else None
        if self.scheme is not None:
            probabilities = project(probabilities, scheme(description.scheme), self.scheme)
        return Answers(probabilities, given)

    def crops(self, description: ClassifierDescription) -> View:
        """The pictures at the classifier's input size."""
        height, width = description.preprocess.height, description.preprocess.width
        return np.stack([resize(picture, height, width) for picture in self.pictures])

    def inputs(self, description: ClassifierDescription, count: int) -> View:
        """Up to `count` pictures spread over the set, ``(n, h, w, 3)``, as the classifier takes them."""
        return replace(self, pictures=self.pictures[_spread(len(self.pictures), count)]).crops(description)


def _spread(n: int, count: int) -> NDArray[np.int64]:
    """Up to `count` places of `n`, evenly apart."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).round().astype(np.int64))


def in_classes(labels: NDArray[np.int32], names: Sequence[str], classes: Sequence[str]) -> NDArray[np.int32]:
    """Labels that index `names` as labels that index `classes`; `DatasetError` when a name is no class."""
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise DatasetError(f"{', '.join(unknown)}: no class of the classifier", f"its classes: {', '.join(classes)}")
    return np.array([classes.index(name) for name in names], np.int32)[labels]


@dataclass(frozen=True, eq=False)
class BoxedPictures:
    """Frames with the boxes of what is in them.

    Attributes
    ----------
    name, split
        Dataset and split, for the record.
    pictures
        ``(h, w, 3)`` uint8 RGB each, any size: a detector sees them in tiles, as on the device.
    truth
        True boxes of each picture.
    ignore
        ``(k, 4)`` boxes x0, y0, x1, y1 of each picture that count neither way.
    """

    name: str
    split: str
    pictures: Sequence[View]
    truth: Sequence[Detections]
    ignore: Sequence[NDArray[np.float32]]

    def inputs(self, description: DetectorDescription, count: int) -> View:
        """Up to `count` tiles ``(n, h, w, 3)``, those of the finest level first, from pictures spread over the set."""
        each = max(1, count // len(self.pictures))
        slicing = slicing_of(description)
        chosen = [self.pictures[i] for i in _spread(len(self.pictures), count)]
        return np.stack([tile.pixels for picture in chosen for tile in islice(tiles(picture, slicing), each)])


@dataclass(frozen=True)
class _Plan:
    """How a bundle is compared."""

    bundle: Bundle
    threads: int
    runtime: str | None
    seed: int
    resamples: int
    progress: Progress

    def adapters(
        self, stage: DetectorStage | ClassifierStage, left_out: dict[str, str]
    ) -> Iterator[tuple[Variant, RuntimeAdapter]]:
        """Each variant on the best runtime for its format, float first; what does not run goes to `left_out`."""
        wanted = runtimes.choose({v.format for v in stage.variants}, self.runtime)
        for variant in sorted(stage.variants, key=lambda v: v.precision != _FLOAT):
            if self.runtime is not None and variant.format != wanted.format:
                continue
            try:
                entry = runtimes.choose({variant.format}, self.runtime)
                adapter = open_variant(self.bundle, variant, entry, self.threads)
            except BundleError:
                raise
            except (InputError, MissingPartError) as error:
                left_out[variant.name] = error.message
                continue
            self.progress(f"{stage.task}: {variant.name} on {entry.name}")
            yield variant, adapter

    def classifier(self, stage: ClassifierStage, data: LabelledPictures, keras: Path | None) -> StageReport:
        crops, classes = data.crops(stage), data.classes(stage)
        rows: list[Row] = []
        left_out: dict[str, str] = {}
        disagreements: list[Disagreements] = []
        reference: Answers | None = None

        def judge(name: str, adapter: RuntimeAdapter, answers: Answers) -> None:
            nonlocal reference
            ran = _ran(name, adapter)
            rows.append(judge_classifier(ran, answers, data.labels, classes, reference, self.seed, self.resamples))
            if reference is None:
                reference = answers
            else:
                disagreements.append(class_disagreements(name, data.pictures, data.labels, classes, reference, answers))

        if keras is not None:
            adapter = _load_keras(keras)
            judge(_KERAS, adapter, data.answers(stage, _keras_probabilities(adapter, crops, stage)))
        for variant, adapter in self.adapters(stage, left_out):
            _need_float(reference is not None, variant, left_out)
            judge(variant.name, adapter, data.answers(stage, Classifier(stage, variant, adapter)(crops)))
        return _report("classifier", data, rows, left_out, disagreements)

    def detector(self, stage: DetectorStage, data: BoxedPictures, keras: Path | None) -> StageReport:
        if not any(map(len, data.truth)):
            raise InputError(
                f"{data.name} has no true box: there is nothing to find",
                "choose another part of it with --split, or another set with --data",
            )
        rows: list[Row] = []
        left_out: dict[str, str] = {}
        disagreements: list[Disagreements] = []
        grid = anchors.generate(stage.anchors, stage.preprocess.height, stage.preprocess.width)
        threshold = stage.score_threshold
        reference: list[Detections] | None = None

        def judge(name: str, adapter: RuntimeAdapter, found: list[Detections]) -> None:
            nonlocal reference
            rows.append(
                judge_detector(
                    _ran(name, adapter),
                    *(found, data.truth, data.ignore, reference, stage.labels, threshold, self.seed, self.resamples),
                )
            )
            if reference is None:
                reference = found
            else:
                expected, obtained = ([f.above(threshold) for f in these] for these in (reference, found))
                disagreements.append(box_disagreements(name, data.pictures, data.truth, expected, obtained))

        if keras is not None:
            adapter = _load_keras(keras)
            judge(_KERAS, adapter, [_keras_detections(adapter, picture, stage, grid) for picture in data.pictures])
        for variant, adapter in self.adapters(stage, left_out):
            _need_float(reference is not None, variant, left_out)
            detector = Detector(stage, variant, adapter, grid)
            judge(variant.name, adapter, [detector.detect(picture, SCORE_FLOOR) for picture in data.pictures])
        return _report("detector", data, rows, left_out, disagreements)

    def layers(self, report: StageReport, pictures: View) -> tuple[StageReport, tuple[LayerReport, ...]]:
        """The layers of the variants that a report is of; what cannot be looked into goes to what it left out."""
        self.progress(f"{report.stage}: layers of the integer variants on {len(pictures)} pictures")
        found, refused = analyse_layers(self.bundle, report.stage, [row.variant for row in report.rows], pictures)
        left_out = {**report.left_out, **{f"layers of {name}": reason for name, reason in refused.items()}}
        return replace(report, left_out=left_out), found


def _keras_detections(
    adapter: RuntimeAdapter, picture: View, stage: DetectorStage, grid: NDArray[np.float32]
) -> Detections:
    def tile(pixels: View) -> Detections:
        raw = _keras_outputs(adapter, pixels[None])
        return decode_outputs(raw["boxes"][0], raw["scores"][0], grid, stage, SCORE_FLOOR)

    return detect_sliced(picture, tile, slicing_of(stage))


def _need_float(present: bool, variant: Variant, left_out: Mapping[str, str]) -> None:
    if not present and variant.precision != _FLOAT:
        why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items()) or "the bundle has none"
        raise InputError(f"no {_FLOAT} variant to compare with ({why})", "give the trained model with --reference DIR")


def _report(
    stage: StageName,
    data: LabelledPictures | BoxedPictures,
    rows: Sequence[Row],
    left_out: Mapping[str, str],
    disagreements: Sequence[Disagreements],
) -> StageReport:
    if len(rows) < 2 and not left_out:
        raise InputError(
            f"only float is here of the {stage}: there is nothing to compare",
            "take a bundle with a quantised variant, or give the trained model with --reference DIR",
        )
    if len(rows) < 2:
        why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise MissingPartError(f"nothing of the {stage} to compare here: {why}", "run: edgegal doctor")
    return StageReport(stage, data.name, data.split, rows[0].variant, tuple(rows), left_out, tuple(disagreements))


def _ran(name: str, adapter: RuntimeAdapter) -> Ran:
    return Ran(name, f"{adapter.name} {adapter.version}", adapter.executed_precision())


def _load_keras(folder: Path) -> RuntimeAdapter:
    return runtimes.load(runtimes.RUNTIMES[_KERAS], folder / "model.keras")


def _keras_outputs(adapter: RuntimeAdapter, pictures: View) -> dict[str, NDArray[np.float32]]:
    """Outputs by name; Keras models name them by role, and take batches of any size."""
    parts = [
        adapter.infer(network_input(pictures[i : i + _KERAS_BATCH])) for i in range(0, len(pictures), _KERAS_BATCH)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _keras_probabilities(
    adapter: RuntimeAdapter, crops: View, description: ClassifierDescription
) -> NDArray[np.float32]:
    return tempered(_keras_outputs(adapter, crops)["probabilities"], description.temperature)


def compare_bundle(
    bundle: Bundle,
    gate: Gate,
    seed: int = 0,
    threads: int = 1,
    runtime: str | None = None,
    labelled: Sequence[LabelledPictures] = (),
    boxed: Sequence[BoxedPictures] = (),
    references: Mapping[StageName, Path] | None = None,
    progress: Progress = lambda line: None,
    resamples: int = RESAMPLES,
    per_layer: bool = False,
) -> Comparison:
    """Compare every variant that runs here with float.

    Parameters
    ----------
    bundle
        What to compare; each stage on its own evaluation set.
    gate
        The rule of the verdict.
    seed
        Of the bootstraps.
    threads
        Threads a runtime may use.
    runtime
        Only variants of this runtime's format; the best installed one of each format when None.
    labelled
        Sets of pictures for the classifier instead of its evaluation set.
    boxed
        Sets of pictures for the detector instead of its evaluation set.
    references
        Folders of trained Keras models to take as float, by stage; the first fp32 variant otherwise.
    progress
        Told each variant before it runs.
    resamples
        Of the bootstraps.
    per_layer
        Compare the layers of integer files with those of float too, on a few pictures of each stage's first set.

    Raises
    ------
    InputError
        A stage has no float form, or no stage has pictures to compare on.
    MissingPartError
        No variant beside float runs here.
    BundleError
        A file of the bundle was changed.
    """
    plan = _Plan(bundle, threads, runtime, seed, resamples, progress)
    keras = references or {}
    stages: list[StageReport] = []
    layers: list[LayerReport] = []
    detector, classifier = bundle.manifest.detector, bundle.manifest.classifier
    if detector is not None and not boxed and detector.evaluation is not None:
        pictures, boxes = read_detector_set(bundle)
        truth = [Detections(b, np.ones(len(b), np.float32), np.zeros(len(b), np.int32)) for b in boxes]
        nothing = [np.zeros((0, 4), np.float32)] * len(boxes)
        boxed = (BoxedPictures(detector.evaluation.description, "evaluation", list(pictures), truth, nothing),)
    if detector is not None and boxed:
        reports = [plan.detector(detector, data, keras.get("detector")) for data in boxed]
        if per_layer:
            reports[0], found = plan.layers(reports[0], boxed[0].inputs(detector, PICTURES))
            layers += found
        stages += reports
    if classifier is not None and not labelled and classifier.evaluation is not None:
        crops, labels = read_classifier_set(bundle)
        labelled = (LabelledPictures(classifier.evaluation.description, "evaluation", crops, labels),)
    if classifier is not None and labelled:
        reports = [plan.classifier(classifier, data, keras.get("classifier")) for data in labelled]
        if per_layer:
            reports[0], found = plan.layers(reports[0], labelled[0].inputs(classifier, PICTURES))
            layers += found
        stages += reports
    if not stages:
        raise InputError(f"bundle {bundle.manifest.name} has no evaluation set", "give one with --data NAME")
    return Comparison(bundle.manifest.name, seed, resamples, gate, tuple(stages), tuple(layers))


def compare_trained(
    folder: Path,
    description: ClassifierDescription,
    labelled: Sequence[LabelledPictures],
    gate: Gate,
    seed: int = 0,
    progress: Progress = lambda line: None,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Judge a trained Keras classifier that was not exported yet: float alone, so the gate has nothing to judge.

    Parameters
    ----------
    folder
        Folder with its ``model.keras``.
    description
        What it is.
    labelled
        Sets of pictures.
    gate, seed, progress, resamples
        As `compare_bundle` takes them.

    Raises
    ------
    InputError
        There are no sets, or the model cannot be read.
    MissingPartError
        Keras is not installed.
    """
    if not labelled:
        raise InputError(f"{folder} is a trained model and has no evaluation set", "give one with --data NAME")
    adapter = _load_keras(folder)
    reports = []
    for data in labelled:
        progress(f"classification: {folder} on {data.name}")
        answers = data.answers(description, _keras_probabilities(adapter, data.crops(description), description))
        classes = data.classes(description)
        row = judge_classifier(_ran(_KERAS, adapter), answers, data.labels, classes, None, seed, resamples)
        reports.append(StageReport("classifier", data.name, data.split, _KERAS, (row,)))
    return Comparison(folder.name, seed, resamples, gate, tuple(reports))


def record_accuracy(bundle: Bundle, comparison: Comparison) -> Bundle:
    """Write the headline figures of every row into the manifest, in place of those on the same set and runtime.

    For classifiers accuracy and balanced accuracy, and of those that need not answer the share answered and the
    accuracy of these answers; for detectors AP at IoU .5 and
    over COCO's overlaps, AR@1 and F1. Each with interval, set, seed, and the machine it was
    measured on.
    """
    manifest = bundle.manifest
    for report in comparison.stages:
        stage = manifest.stages[report.stage]
        figures = {row.variant: _figures(row, report, comparison.seed) for row in report.rows}
        variants = tuple(_with_figures(v, figures.get(v.name, ())) for v in stage.variants)
        updated = stage.model_copy(update={"variants": variants})
        manifest = manifest.model_copy(update={report.stage: updated})
    return save(manifest, bundle.root)


def _headline(row: Row) -> Iterator[tuple[str, Interval, int]]:
    """Name, value and number of pictures of the figures worth keeping."""
    if not isinstance(row, ClassifierRow):
        yield "AP@.5", row.average_precision_50, row.n
        yield "AP@.5:.95", row.mean_average_precision, row.n
        yield "AR@1", row.average_recall_1, row.n
        yield "F1", row.f1, row.n
        return
    yield "accuracy", row.accuracy, row.n
    yield "balanced accuracy", row.balanced_accuracy, row.n
    if row.coverage is not None:
        yield "answered", row.coverage, row.n
        if row.selective_accuracy is not None:
            yield "accuracy of answers", row.selective_accuracy, round(row.coverage.value * row.n)


def _figures(row: Row, report: StageReport, seed: int) -> tuple[Accuracy, ...]:
    machine = this_machine()
    runtime, version = row.runtime.split(" ", 1)
    measured = Measured(
        runtime=runtime,
        runtime_version=version,
        machine=str(machine),
        cpu_flags=machine.cpu_flags,
        executed_precision=row.executed,
    )
    return tuple(
        Accuracy(
            metric=name,
            value=interval.value,
            low=interval.low,
            high=interval.high,
            dataset=report.dataset,
            split=report.split,
            n=n,
            seed=seed,
            measured=measured,
        )
        for name, interval, n in _headline(row)
    )


def _with_figures(variant: Variant, figures: Sequence[Accuracy]) -> Variant:
    def key(a: Accuracy) -> tuple[str, str, str]:
        return a.dataset, a.split, a.measured.runtime

    renewed = {key(figure) for figure in figures}
    kept = tuple(a for a in variant.accuracy if key(a) not in renewed)
    return variant.model_copy(update={"accuracy": (*kept, *figures)})
