"""A bundle of two tiny graphs, written node by node: brightness finds galaxies, colour tells them apart."""

import json
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgegal.anchors import AnchorLevel, AnchorSpec
from edgegal.benchmarks.comparison.figures import ClassDrop, ClassifierRow, ClassRecall, ReliabilityBin
from edgegal.benchmarks.comparison.report import Comparison
from edgegal.benchmarks.comparison.stage import StageReport
from edgegal.benchmarks.comparison.verdict import Gate
from edgegal.bundle import Bundle, Manifest, Variant, file_record, save
from edgegal.bundle.evaluation import BOXES_FILE
from edgegal.bundle.manifest import ClassifierStage, DetectorStage, EvaluationSet, Provenance, Tensor
from edgegal.metrics import Interval
from edgegal.preprocess import Preprocess

TILE, CELL, CROP = 256, 64, 16


def _write(path: Path, nodes: list[Any], weights: dict[str, np.ndarray], inputs: Any, outputs: list[Any]) -> None:
    import onnx
    from onnx import helper, numpy_helper

    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tiny", [inputs], outputs, stored)
    # An IR version that onnxruntime of two years ago reads too.
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_classifier(path: Path, mixing: np.ndarray) -> None:
    """Softmax of the mean colour (0-1) times `mixing` ``(3, classes)``."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ReduceMean", ["image"], ["colour"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["colour", "mixing"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, CROP, CROP, 3))
    out = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, (1, mixing.shape[1]))
    _write(path, nodes, {"mixing": (mixing / 255).astype(np.float32)}, image, [out])


def write_detector(path: Path, gain: float) -> None:
    """One anchor a cell, moved by nothing, scored by ``sigmoid(gain * (brightness - 0.5))``."""
    from onnx import TensorProto, helper

    cells = (TILE // CELL) ** 2
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["means"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Transpose", ["means"], ["grid"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["grid", "flat"], ["cells"]),
        helper.make_node("MatMul", ["cells", "grey"], ["brightness"]),
        helper.make_node("Add", ["brightness", "offset"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("MatMul", ["cells", "still"], ["boxes"]),
    ]
    weights = {
        "flat": np.array([1, cells, 3], np.int64),
        "grey": np.full((3, 1), gain / 3 / 255, np.float32),
        "offset": np.full(1, -gain / 2, np.float32),
        "still": np.zeros((3, 4), np.float32),
    }
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, TILE, TILE, 3))
    outs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, (1, cells, 4)),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, (1, cells, 1)),
    ]
    _write(path, nodes, weights, image, outs)


def _variant(root: Path, path: Path, precision: str, size: int, outputs: dict[str, tuple[int, ...]]) -> Variant:
    return Variant(
        name=f"onnx-{precision}",
        format="onnx",
        precision=precision,  # type: ignore[arg-type]
        files=(file_record(root, path),),
        inputs=(Tensor(role="input", name="image", shape=(1, size, size, 3), dtype="float32"),),
        outputs=tuple(Tensor(role=name, name=name, shape=shape, dtype="float32") for name, shape in outputs.items()),
    )


PROVENANCE = Provenance(
    architecture="three nodes",
    parameters=9,
    datasets=("none",),
    dataset_sha256="0" * 64,
    seed=0,
    versions={},
    trained=datetime(2026, 1, 1, tzinfo=timezone.utc),
)


@pytest.fixture
def provenance() -> Provenance:
    """Where the weights of a test come from."""
    return PROVENANCE


def _evaluation(root: Path, paths: list[Path]) -> EvaluationSet:
    return EvaluationSet(description="painted", n=1, files=tuple(file_record(root, path) for path in paths))


def paint_classifier_set(root: Path, labels: Sequence[str], each: int = 10) -> EvaluationSet:
    """Noisy squares of one colour, the first three labels for red, green and blue."""
    rng = np.random.default_rng(0)
    paths = []
    for channel, label in enumerate(labels[:3]):
        folder = root / "evaluation" / "classifier" / label
        folder.mkdir(parents=True)
        for number in range(each):
            picture = rng.integers(0, 60, (CROP, CROP, 3), np.uint8)
            picture[..., channel] += 150
            paths.append(folder / f"{number}.png")
            cv2.imwrite(str(paths[-1]), picture[..., ::-1])
    return _evaluation(root, paths)


def paint_detector_set(root: Path, pictures: int = 8) -> EvaluationSet:
    """Dark fields where some cells are bright: those are the galaxies."""
    rng = np.random.default_rng(0)
    folder = root / "evaluation" / "detector"
    folder.mkdir(parents=True)
    truth: dict[str, list[list[int]]] = {}
    for number in range(pictures):
        picture = rng.integers(0, 40, (TILE, TILE, 3), np.uint8)
        name = f"{number}.png"
        truth[name] = []
        for x in range(0, TILE, CELL):
            for y in range(0, TILE, CELL):
                if rng.random() < 0.5:
                    picture[y : y + CELL, x : x + CELL] += 200
                    truth[name].append([x, y, x + CELL, y + CELL])
        cv2.imwrite(str(folder / name), picture)
    (folder / BOXES_FILE).write_text(json.dumps(truth))
    return _evaluation(root, [*(folder / name for name in truth), folder / BOXES_FILE])


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Bundle]:
    """Makes a bundle whose fp32 networks are right, and whose int8 ones are what the caller asks for.

    Red, green and blue are the first three labels.
    """

    def make(
        mixing: np.ndarray | None = None,
        gain: float = 20.0,
        labels: tuple[str, ...] = ("red", "green", "blue"),
        scheme: str = "colour",
        **classifier_fields: float,
    ) -> Bundle:
        root = Path(tempfile.mkdtemp(dir=tmp_path))
        cells = (TILE // CELL) ** 2
        faithful = 8 * np.eye(3, len(labels))
        for precision, matrix, slope in (("fp32", faithful, 20.0), ("int8", mixing, gain)):
            write_classifier(root / f"classifier-{precision}.onnx", faithful if matrix is None else matrix)
            write_detector(root / f"detector-{precision}.onnx", slope)
        detector = DetectorStage(
            labels=("galaxy",),
            scheme="galaxy",
            preprocess=Preprocess(TILE, TILE),
            provenance=PROVENANCE,
            anchors=AnchorSpec((AnchorLevel(CELL, (float(CELL),)),), ratios=(1.0,)),
            tile_overlap=0,
            evaluation=paint_detector_set(root),
            variants=tuple(
                _variant(
                    root,
                    root / f"detector-{p}.onnx",
                    p,
                    TILE,
                    {"boxes": (1, cells, 4), "scores": (1, cells, 1)},
                )
                for p in ("fp32", "int8")
            ),
        )
        classifier = ClassifierStage(
            labels=labels,
            scheme=scheme,
            preprocess=Preprocess(CROP, CROP),
            provenance=PROVENANCE,
            evaluation=paint_classifier_set(root, labels),
            **classifier_fields,
            variants=tuple(
                _variant(root, root / f"classifier-{p}.onnx", p, CROP, {"probabilities": (1, len(labels))})
                for p in ("fp32", "int8")
            ),
        )
        manifest = Manifest(
            name="tiny",
            version="1",
            created=datetime(2026, 1, 1, tzinfo=timezone.utc),
            description="for tests",
            licence="none",
            detector=detector,
            classifier=classifier,
        )
        return save(manifest, root)

    return make


def classifier_row(
    variant: str = "onnx-int8",
    drop: tuple[float, float, float] | None = (0.0, 0.0, 0.0),
    agreement: tuple[float, float, float] = (1.0, 0.99, 1.0),
    lost: int = 0,
    n: int = 500,
    coverage: Interval | None = None,
    class_drops: tuple[ClassDrop, ...] = (),
) -> ClassifierRow:
    """Figures of a classifier as they might be; of float itself without a drop."""
    paired = drop is not None
    return ClassifierRow(
        variant,
        "onnxruntime 1.31",
        "int8",
        n=n,
        accuracy=Interval(0.9, 0.87, 0.93),
        balanced_accuracy=Interval(0.89, 0.85, 0.92),
        macro_f1=Interval(0.88, 0.85, 0.91),
        calibration_error=0.02,
        recalls=(ClassRecall("round", n, Interval(0.9, 0.87, 0.93)), ClassRecall("merger", 0, None)),
        reliability=(ReliabilityBin(0.91, Interval(0.9, 0.87, 0.93), n),),
        coverage=coverage,
        selective_accuracy=coverage and Interval(0.97, 0.95, 0.98),
        agreement=Interval(*agreement) if paired else None,
        drop=Interval(*drop) if drop else None,
        balanced_drop=Interval(*drop) if drop else None,
        macro_f1_drop=Interval(*drop) if drop else None,
        lost=lost if paired else None,
        gained=0 if paired else None,
        mcnemar_p=1.0 if paired else None,
        class_drops=class_drops,
    )


def compared(*rows: ClassifierRow) -> Comparison:
    """A comparison of these rows with float."""
    float_row = classifier_row("onnx-fp32", drop=None, n=rows[0].n if rows else 500)
    stage = StageReport("classifier", "painted", "test", "onnx-fp32", (float_row, *rows))
    return Comparison("tiny", 0, 1000, Gate(), (stage,))


@pytest.fixture(name="classifier_row", scope="session")
def _classifier_row() -> Callable[..., ClassifierRow]:
    return classifier_row


@pytest.fixture(name="compared", scope="session")
def _compared() -> Callable[..., Comparison]:
    return compared
