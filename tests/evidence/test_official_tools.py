"""The shipped bundle read by the runtimes' own tools, without edgegal: same answers, same figures, to the picture."""

import contextlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgegal import runtimes, zoo
from edgegal.benchmarks.comparison import compare_bundle
from edgegal.benchmarks.comparison.figures import SCORE_FLOOR
from edgegal.benchmarks.comparison.report import Comparison, Gate
from edgegal.bundle import Bundle, Variant
from edgegal.bundle.evaluation import BOXES_FILE
from edgegal.inference import open_detector
from edgegal.preprocess import network_input

pytestmark = pytest.mark.slow

Outputs = Mapping[str, np.ndarray]
Runner = Callable[[np.ndarray], Outputs]
"""A picture as OpenCV reads it, ``(h, w, 3)`` uint8 BGR, to outputs by name."""

FORMATS = ("tflite", "onnx", "openvino")
STAGES = ("detector", "classifier")


def _litert(path: Path) -> Runner:
    """LiteRT's new interface, of which edgegal uses the older."""
    from ai_edge_litert.compiled_model import CompiledModel

    model = CompiledModel.from_file(str(path))
    (signature,) = model.get_signature_list()
    shapes = {d["name"]: d["shape"] for d in model.get_output_tensor_details(signature).values()}

    def run(picture: np.ndarray) -> Outputs:
        image = model.create_input_buffer_by_name(signature, "image")
        image.write(np.ascontiguousarray(picture[None, :, :, ::-1], np.float32))
        outputs = {name: model.create_output_buffer_by_name(signature, name) for name in shapes}
        model.run_by_name(signature, {"image": image}, outputs)
        return {
            name: buffer.read(int(np.prod(shapes[name])), np.float32).reshape(shapes[name])
            for name, buffer in outputs.items()
        }

    return run


def _onnxruntime(path: Path) -> Runner:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(picture: np.ndarray) -> Outputs:
        image = np.ascontiguousarray(picture[None, :, :, ::-1], np.float32)
        return dict(zip(names, session.run(names, {"image": image}), strict=True))

    return run


def _openvino(path: Path) -> Runner:
    """OpenVINO does the preprocessing too: from 8-bit BGR to what the network takes, inside the compiled graph."""
    import openvino
    from openvino.preprocess import ColorFormat, PrePostProcessor

    core = openvino.Core()
    steps = PrePostProcessor(core.read_model(path))
    steps.input().tensor().set_element_type(openvino.Type.u8).set_color_format(ColorFormat.BGR)
    steps.input().preprocess().convert_color(ColorFormat.RGB).convert_element_type(openvino.Type.f32)
    hint = {"INFERENCE_PRECISION_HINT": "f32"} if "fp32" in path.name else {}
    compiled = core.compile_model(steps.build(), "CPU", hint)
    names = [port.get_any_name() for port in compiled.outputs]

    def run(picture: np.ndarray) -> Outputs:
        results = compiled([picture[None]])
        return {name: results[place] for place, name in enumerate(names)}

    return run


OPEN = {"tflite": _litert, "onnx": _onnxruntime, "openvino": _openvino}


@pytest.fixture(scope="module")
def galaxies() -> Bundle:
    """The shipped bundle."""
    return zoo.resolve("galaxies")


@pytest.fixture(scope="module")
def comparison(galaxies: Bundle) -> Comparison:
    """What ``edgegal compare`` says of it. The intervals are of no interest here."""
    return compare_bundle(galaxies, Gate(), resamples=20)


def _rows(comparison: Comparison, stage: str) -> dict[str, Any]:
    return {row.variant: row for report in comparison.stages if report.stage == stage for row in report.rows}


def _variants(bundle: Bundle, stage: str, format: str) -> list[Variant]:
    found = [v for v in bundle.manifest.stages[stage].variants if v.format == format]  # type: ignore[index]
    assert len(found) >= 2
    return found


def _pictures(bundle: Bundle, stage: str) -> dict[Path, np.ndarray]:
    """Pictures of the evaluation set by path, straight from the folder."""
    paths = sorted((bundle.root / "evaluation" / stage).rglob("*.png"))
    assert paths
    return {path: cv2.imread(str(path)) for path in paths}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("stage", STAGES)
def test_outputs_are_those_of_the_runtimes_own_interface(galaxies: Bundle, stage: str, format: str) -> None:
    # Preprocessing inside the graph is folded into the first layers there, so that floats round otherwise.
    atol = 1e-5 if format == "openvino" else 1e-6
    for variant in _variants(galaxies, stage, format):
        run = OPEN[format](galaxies.model_path(variant))
        adapter = runtimes.load(runtimes.choose({format}), galaxies.model_path(variant))
        for picture in [*_pictures(galaxies, stage).values()][:40]:
            ours, theirs = adapter.infer(network_input(np.ascontiguousarray(picture[..., ::-1]))), run(picture)
            assert ours.keys() == theirs.keys()
            for name, values in ours.items():
                np.testing.assert_allclose(values, theirs[name], rtol=1e-6, atol=atol, err_msg=f"{variant.name} {name}")


@pytest.mark.parametrize("format", FORMATS)
def test_accuracy_is_that_of_counting_the_runtimes_own_answers(
    galaxies: Bundle, comparison: Comparison, format: str
) -> None:
    labels = galaxies.manifest.stages["classifier"].labels
    rows = _rows(comparison, "classifier")
    for variant in _variants(galaxies, "classifier", format):
        run = OPEN[format](galaxies.model_path(variant))
        right = [
            path.parent.name == labels[int(run(picture)["probabilities"].argmax())]
            for path, picture in _pictures(galaxies, "classifier").items()
        ]
        assert rows[variant.name].n == len(right)
        assert rows[variant.name].accuracy.value == pytest.approx(np.mean(right), abs=1e-12)


def test_openvinos_model_api_gives_the_same_classes_and_accuracy(galaxies: Bundle, comparison: Comparison) -> None:
    pytest.importorskip("model_api", reason="openvino-model-api needs Python 3.11")
    from model_api.adapters import OpenvinoAdapter, create_core
    from model_api.models import ClassificationModel

    labels = galaxies.manifest.stages["classifier"].labels
    rows = _rows(comparison, "classifier")
    for variant in _variants(galaxies, "classifier", "openvino"):
        path = galaxies.model_path(variant)
        hint = {"INFERENCE_PRECISION_HINT": "f32"} if variant.precision == "fp32" else {}
        configuration = {"labels": list(labels), "topk": 1, "output_raw_scores": True}
        model = ClassificationModel(
            OpenvinoAdapter(create_core(), str(path), device="CPU", plugin_config=hint), configuration, preload=True
        )
        adapter = runtimes.load(runtimes.RUNTIMES["openvino"], path)
        right = []
        for file, picture in _pictures(galaxies, "classifier").items():
            rgb = np.ascontiguousarray(picture[..., ::-1])
            theirs, ours = model(rgb), adapter.infer(network_input(rgb))["probabilities"][0]
            assert theirs.top_labels[0].id == int(ours.argmax())
            np.testing.assert_allclose(theirs.raw_scores, ours, rtol=1e-6, atol=1e-6)
            right.append(theirs.top_labels[0].name == file.parent.name)
        assert rows[variant.name].accuracy.value == pytest.approx(np.mean(right), abs=1e-12)


@pytest.mark.parametrize("format", FORMATS)
def test_average_precision_is_that_of_pycocotools(galaxies: Bundle, comparison: Comparison, format: str) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    boxes = json.loads((galaxies.root / "evaluation" / "detector" / BOXES_FILE).read_text())
    pictures = _pictures(galaxies, "detector")
    truth = [
        {"image_id": path.name, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
        | {"area": (x1 - x0) * (y1 - y0)}
        for path in pictures
        for x0, y0, x1, y1 in boxes[path.name]
    ]
    reference = COCO()
    reference.dataset = {
        "images": [{"id": path.name} for path in pictures],
        "annotations": [{**row, "id": number} for number, row in enumerate(truth, start=1)],
        "categories": [{"id": 1}],
    }
    rows = _rows(comparison, "detector")
    for variant in _variants(galaxies, "detector", format):
        detector = open_detector(galaxies, runtimes.choose({format}).name, variant.precision)
        assert detector.variant == variant
        found = [
            {"image_id": path.name, "category_id": 1, "score": float(score)}
            | {"bbox": [*map(float, box[:2]), *map(float, box[2:] - box[:2])]}
            for path, picture in pictures.items()
            for detections in [detector.detect(np.ascontiguousarray(picture[..., ::-1]), SCORE_FLOOR)]
            for box, score in zip(detections.boxes, detections.scores, strict=True)
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            reference.createIndex()
            evaluation = COCOeval(reference, reference.loadRes(found), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        assert rows[variant.name].average_precision_50.value == pytest.approx(evaluation.stats[1], abs=1e-6)
        assert rows[variant.name].mean_average_precision.value == pytest.approx(evaluation.stats[0], abs=1e-6)
        assert rows[variant.name].average_recall_1.value == pytest.approx(evaluation.stats[6], abs=1e-6)
