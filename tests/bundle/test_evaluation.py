"""Evaluation sets: what lies in the bundle is what comes out, in order, in RGB, and nothing that was changed."""

import json

import cv2
import numpy as np
import pytest

from edgegal.bundle import Bundle, file_record, save
from edgegal.bundle.evaluation import read_classifier_set, read_detector_set
from edgegal.bundle.manifest import EvaluationSet
from edgegal.errors import BundleError, InputError

SIDE = 32


def _png(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
    return path


def _pictures(n, side=SIDE):
    return np.random.default_rng(7).integers(0, 256, (n, side, side, 3), np.uint8)


def _with_set(bundle: Bundle, stage: str, paths) -> Bundle:
    records = tuple(file_record(bundle.root, path) for path in paths)
    evaluation = EvaluationSet(description="noise", n=len(paths), files=records)
    updated = bundle.manifest.stages[stage].model_copy(update={"evaluation": evaluation})
    return save(bundle.manifest.model_copy(update={stage: updated}), bundle.root)


def _classifier_set(bundle: Bundle, pictures, labels) -> Bundle:
    folder = bundle.root / "evaluation" / "classifier"
    names = bundle.manifest.classifier.labels
    paths = [_png(folder / names[i] / f"{n:04d}.png", p) for n, (p, i) in enumerate(zip(pictures, labels, strict=True))]
    return _with_set(bundle, "classifier", paths)


def _detector_set(bundle: Bundle, pictures, boxes) -> Bundle:
    folder = bundle.root / "evaluation" / "detector"
    paths = [_png(folder / f"{n:04d}.png", p) for n, p in enumerate(pictures)]
    text = boxes if isinstance(boxes, str) else json.dumps(boxes)
    (folder / "boxes.json").write_text(text)
    return _with_set(bundle, "detector", [*paths, folder / "boxes.json"])


def _classifier_side(bundle: Bundle) -> int:
    return bundle.manifest.classifier.preprocess.width


def test_a_classifier_set_comes_back_as_it_was(bundle):
    pictures, labels = _pictures(3, _classifier_side(bundle)), [1, 0, 1]
    found, indices = read_classifier_set(_classifier_set(bundle, pictures, labels))
    np.testing.assert_array_equal(found, pictures)
    np.testing.assert_array_equal(indices, labels)
    assert indices.dtype == np.int32


def test_a_detector_set_comes_back_with_its_boxes(bundle):
    pictures = _pictures(2)
    truth = {"0001.png": [], "0000.png": [[1, 2, 9.5, 12], [0, 0, 3, 3]]}
    found, boxes = read_detector_set(_detector_set(bundle, pictures, truth))
    np.testing.assert_array_equal(found, pictures)
    np.testing.assert_array_equal(boxes[0], np.array([[1, 2, 9.5, 12], [0, 0, 3, 3]], np.float32))
    assert boxes[1].shape == (0, 4)


def test_a_changed_picture_is_refused(bundle):
    changed = _classifier_set(bundle, _pictures(1, _classifier_side(bundle)), [0])
    path = changed.root / changed.manifest.classifier.evaluation.files[0].path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match="was changed"):
        read_classifier_set(changed)


def test_a_picture_of_another_size_is_refused(bundle):
    with pytest.raises(BundleError, match="is not a picture of 32x32"):
        read_detector_set(_detector_set(bundle, _pictures(1, 16), {"0000.png": []}))


def test_a_folder_that_is_no_label_is_refused(bundle):
    path = _png(bundle.root / "evaluation" / "classifier" / "teapot" / "0.png", _pictures(1, 32)[0])
    with pytest.raises(BundleError, match="'teapot' is no label"):
        read_classifier_set(_with_set(bundle, "classifier", [path]))


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        '{"0000.png": [[1, 2, 3]]}',
        '{"0000.png": [["a", 1, 2, 3]]}',
        '{"0000.png": 3}',
        '{"0000.png": [[5, 5, 5, 9]]}',
        '{"0000.png": [[0, 0, NaN, 9]]}',
        '{"other.png": []}',
        "{}",
    ],
)
def test_boxes_that_are_none_are_refused(bundle, text):
    with pytest.raises(BundleError):
        read_detector_set(_detector_set(bundle, _pictures(1), text))


def test_a_bundle_without_a_set_says_so(bundle):
    manifest = bundle.manifest.model_copy(
        update={"detector": bundle.manifest.detector.model_copy(update={"evaluation": None}), "classifier": None}
    )
    with pytest.raises(InputError, match="no evaluation set for its detector"):
        read_detector_set(Bundle(bundle.root, manifest))
    with pytest.raises(InputError, match="has no classifier"):
        read_classifier_set(Bundle(bundle.root, manifest))
