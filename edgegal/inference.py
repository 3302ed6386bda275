"""A bundle's networks as callables: view in, detections out; crops in, probabilities out."""

import logging
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from edgegal import anchors, runtimes
from edgegal.bundle import Bundle, ClassifierStage, DetectorStage, StageName, Variant
from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription
from edgegal.bundle.outputs import output_shapes
from edgegal.detections import Detections, non_maximum_suppression
from edgegal.errors import BundleError, EdgegalError, InputError, MissingPartError
from edgegal.frames import View
from edgegal.labels import SCHEMES
from edgegal.preprocess import crop_square, network_input
from edgegal.runtimes import RuntimeAdapter
from edgegal.slicing import Merge, Slicing, detect_sliced

__all__ = [
    "ALWAYS_ANSWER",
    "Abstention",
    "Classifier",
    "Detector",
    "Refusal",
    "decode_outputs",
    "galaxy_crops",
    "open_classifier",
    "open_detector",
    "open_variant",
    "pick_variant",
    "slicing_of",
]

_log = logging.getLogger(__name__)

Refusal = Literal["uncertain", "too small"]
"""Why a galaxy gets no class."""

# The smallest that runs well first: what a user gets who asked for nothing.
_PRECISION_ORDER = ("int8", "fp16", "fp32", "dynamic", "int16x8")


def pick_variant(
    stage: DetectorStage | ClassifierStage, runtime: str | None = None, precision: str | None = None
) -> tuple[Variant, runtimes.RuntimeEntry]:
    """The variant and the runtime to run it with.

    Parameters
    ----------
    stage
        A stage of a manifest.
    runtime
        Runtime name; the best installed one that some variant fits when None.
    precision
        Precision wanted; int8 before fp16 before fp32 when None.

    Raises
    ------
    InputError
        No variant has the precision, or the runtime fits none.
    MissingPartError
        The runtime is not installed.
    """
    fitting = _of_precision(stage, precision)
    entry = runtimes.choose({v.format for v in fitting}, runtime)
    return next(v for v in fitting if v.format == entry.format), entry


def _of_precision(stage: DetectorStage | ClassifierStage, precision: str | None) -> list[Variant]:
    """The variants that may be taken, the smallest that run well first."""
    fitting = [v for v in stage.variants if precision is None or v.precision == precision]
    if not fitting:
        have = sorted({v.precision for v in stage.variants})
        raise InputError(f"no {precision} variant in the bundle", f"use one of: {', '.join(have)}")
    return sorted(fitting, key=lambda v: _PRECISION_ORDER.index(v.precision))


def slicing_of(description: DetectorDescription) -> Slicing:
    """How frames are cut for a network."""
    return Slicing(description.preprocess.width, overlap=description.tile_overlap, iou=description.iou_threshold)


@dataclass(frozen=True)
class Detector:
    """A galaxy detector: callable on one tile, or on a frame of any size through `detect`."""

    stage: DetectorStage
    variant: Variant
    runtime: RuntimeAdapter
    anchors: NDArray[np.float32]

    @property
    def slicing(self) -> Slicing:
        """How frames are cut for this network."""
        return slicing_of(self.stage)

    def __call__(self, tile: View, score_threshold: float | None = None) -> Detections:
        """Detections on one picture of exactly the network's input size, best first, in its pixels."""
        raw = self.raw(tile)
        return decode_outputs(raw["boxes"][0], raw["scores"][0], self.anchors, self.stage, score_threshold)

    def raw(self, tile: View) -> dict[str, NDArray[np.float32]]:
        """Box codes ``(1, a, 4)`` and scores ``(1, a, classes)`` by role."""
        return _by_role(self.variant, self.runtime.infer(network_input(tile)))

    def detect(self, view: View, score_threshold: float | None = None, merge: Merge = "nms") -> Detections:
        """Detections on a view of any size, in its pixels, best first; `merge` as `Slicing` has it."""
        slicing = replace(self.slicing, merge=merge)
        return detect_sliced(view, lambda tile: self(tile, score_threshold), slicing)

    def galaxies(self, view: View, score_threshold: float | None = None) -> Detections:
        """The galaxies among them: a detector may tell other celestial objects, so as not to take them for galaxies."""
        found = self.detect(view, score_threshold)
        galaxy = SCHEMES["galaxy"].labels[0]
        labels = self.stage.labels
        return found.select(found.classes == labels.index(galaxy)) if galaxy in labels else found


@dataclass(frozen=True)
class Abstention:
    """When the answer to what a galaxy is, is no class.

    Attributes
    ----------
    abstain_below
        Calibrated probability of the most probable class below which the answer is uncertain; 0 for never.
    min_side_px
        Longer side of the galaxy's box in pixels of the frame below which it is too small to tell; 0 for never.
    """

    abstain_below: float = 0.0
    min_side_px: float = 0.0

    @classmethod
    def of(cls, description: ClassifierDescription) -> Self:
        """What a classifier's manifest asks for."""
        return cls(description.abstain_below, description.min_side_px)

    def refusal(self, top: float, side: float) -> Refusal | None:
        """Why there is no class for a highest probability `top` and a box of longer side `side`; None when there is."""
        if side < self.min_side_px:
            return "too small"
        return "uncertain" if top < self.abstain_below else None


ALWAYS_ANSWER = Abstention()
"""Every galaxy gets a class."""


@dataclass(frozen=True)
class Classifier:
    """A morphology classifier: callable on crops of the network's input size."""

    stage: ClassifierStage
    variant: Variant
    runtime: RuntimeAdapter

    def __call__(self, crops: View) -> NDArray[np.float32]:
        """Calibrated class probabilities ``(n, classes)`` of crops ``(n, size, size, 3)`` uint8 RGB."""
        rows = [_by_role(self.variant, self.runtime.infer(network_input(crop)))["probabilities"][0] for crop in crops]
        if not rows:
            return np.zeros((0, len(self.stage.labels)), np.float32)
        return tempered(np.stack(rows), self.stage.temperature)


def tempered(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Softmax outputs ``(n, c)`` as if their logits had been divided by `temperature` (Guo et al. 2017)."""
    logits = np.log(np.clip(probabilities, 1e-7, 1.0).astype(np.float64)) / temperature
    powered = np.exp(logits - logits.max(axis=1, keepdims=True))
    calibrated: NDArray[np.float32] = (powered / powered.sum(axis=1, keepdims=True)).astype(np.float32)
    return calibrated


def decode_outputs(
    codes: NDArray[np.float32],
    scores: NDArray[np.float32],
    anchor_boxes: NDArray[np.float32],
    stage: DetectorDescription,
    score_threshold: float | None = None,
) -> Detections:
    """Detections of one tile from raw outputs: codes ``(a, 4)`` and scores ``(a, classes)``."""
    threshold = stage.score_threshold if score_threshold is None else score_threshold
    # Most scores are far below it, and numpy is slow along an axis of few classes.
    high = np.flatnonzero(scores.ravel() >= threshold)
    if not len(high):
        return Detections.empty()
    keep = np.unique(high // scores.shape[1])
    boxes = anchors.decode(codes[keep], anchor_boxes[keep], stage.anchors.coder_scales)
    found = Detections(boxes, scores[keep].max(axis=1).astype(np.float32), scores[keep].argmax(axis=1).astype(np.int32))
    found = found.clipped(stage.preprocess.width, stage.preprocess.height)
    return non_maximum_suppression(found, stage.iou_threshold, stage.max_detections)


def galaxy_crops(view: View, detections: Detections, stage: ClassifierStage) -> View:
    """The square crop of each detection at the scale the classifier knows: ``(n, size, size, 3)`` uint8 RGB."""
    size = stage.preprocess.width
    crops = [
        crop_square(view, (float(c[0]), float(c[1])), float(s.max()) * stage.preprocess.crop_scale, size)
        for c, s in zip(detections.centres, detections.sizes, strict=True)
    ]
    return np.stack(crops) if crops else np.zeros((0, size, size, 3), np.uint8)


def _by_role(variant: Variant, outputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    return {tensor.role: outputs[tensor.name] for tensor in variant.outputs}


def open_variant(bundle: Bundle, variant: Variant, entry: runtimes.RuntimeEntry, threads: int) -> RuntimeAdapter:
    """Load one variant after checking its hashes, and check that the file has the tensors the manifest says."""
    adapter = runtimes.load(entry, bundle.model_path(variant), threads)
    missing = {t.name for t in variant.outputs} - {o.name for o in adapter.outputs}
    if missing:
        raise BundleError(f"{adapter.path} has no output {', '.join(sorted(missing))}", "export the bundle again")
    return adapter


def _check_shapes(adapter: RuntimeAdapter, variant: Variant, description: DetectorStage | ClassifierStage) -> None:
    """`BundleError` when the loaded file does not fit the manifest: one picture in, its outputs by role out."""
    preprocess = description.preprocess
    found = {"input": adapter.inputs[0].single}
    found |= {t.role: o.single for t in variant.outputs for o in adapter.outputs if o.name == t.name}
    expected = {"input": (1, preprocess.height, preprocess.width, 3), **output_shapes(description)}
    for role, shape in expected.items():
        if found[role] != shape:
            raise BundleError(
                f"{adapter.path} has {role} {found[role]}, its manifest makes it {shape}", "export the bundle again"
            )


def _open_picked(
    bundle: Bundle, stage: DetectorStage | ClassifierStage, runtime: str | None, precision: str | None, threads: int
) -> tuple[Variant, RuntimeAdapter]:
    """The variant `pick_variant` takes, loaded.

    Where nobody asked for a runtime, one that is broken or refuses the file is passed over. The hash of the file was
    right, so it is the runtime that cannot do with it here, as OpenVINO with int8 on cores without dot products.
    """
    variant, entry = pick_variant(stage, runtime, precision)
    if runtime is not None:
        return variant, open_variant(bundle, variant, entry, threads)
    failures: list[EdgegalError] = []
    broken = set()
    for variant, entry in _candidates(stage, precision):
        if entry in broken:
            continue
        if failures:
            _log.warning("%s; trying %s of %s", failures[-1], variant.precision, entry.name)
        try:
            return variant, open_variant(bundle, variant, entry, threads)
        except BundleError:
            raise
        except MissingPartError as error:
            broken.add(entry)
            failures.append(error)
        except InputError as error:
            failures.append(error)
    raise failures[0]


def _candidates(
    stage: DetectorStage | ClassifierStage, precision: str | None
) -> list[tuple[Variant, runtimes.RuntimeEntry]]:
    """What may be loaded: the smallest variant of each installed runtime in order of preference, then the next ones."""
    fitting = _of_precision(stage, precision)
    turns = zip_longest(*([(v, e) for v in fitting if v.format == e.format] for e in runtimes.installed()))
    return [pair for turn in turns for pair in turn if pair is not None]


def _stage(bundle: Bundle, name: StageName) -> DetectorStage | ClassifierStage:
    try:
        return bundle.manifest.stages[name]
    except KeyError:
        raise InputError(f"bundle {bundle.manifest.name} has no {name}", f"take one that has a {name}") from None


def open_detector(
    bundle: Bundle, runtime: str | None = None, precision: str | None = None, threads: int = 1
) -> Detector:
    """The bundle's detector, ready to run; errors as `pick_variant` and `edgegal.runtimes.load`."""
    stage = _stage(bundle, "detector")
    assert isinstance(stage, DetectorStage)
    variant, adapter = _open_picked(bundle, stage, runtime, precision, threads)
    _check_shapes(adapter, variant, stage)
    grid = anchors.generate(stage.anchors, stage.preprocess.height, stage.preprocess.width)
    return Detector(stage, variant, adapter, grid)


def open_classifier(
    bundle: Bundle, runtime: str | None = None, precision: str | None = None, threads: int = 1
) -> Classifier:
    """The bundle's classifier, ready to run; errors as `pick_variant` and `edgegal.runtimes.load`."""
    stage = _stage(bundle, "classifier")
    assert isinstance(stage, ClassifierStage)
    variant, adapter = _open_picked(bundle, stage, runtime, precision, threads)
    _check_shapes(adapter, variant, stage)
    return Classifier(stage, variant, adapter)
