"""The labelled pictures that travel in a bundle, so that a device can check the networks it runs.

``evaluation/classifier/<label>/<n>.png`` for a classifier, ``evaluation/detector/<n>.png`` with
``evaluation/detector/boxes.json`` (file name to list of boxes ``x0, y0, x1, y1`` in pixels) for a detector; pictures
are 8-bit RGB at the network's input size.
"""

import json
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from edgegal.bundle.manifest import ClassifierStage, DetectorStage, EvaluationSet
from edgegal.bundle.store import Bundle
from edgegal.errors import BundleError, InputError
from edgegal.frames import View

__all__ = ["BOXES_FILE", "read_classifier_set", "read_detector_set"]

BOXES_FILE = "boxes.json"


def read_classifier_set(bundle: Bundle) -> tuple[View, NDArray[np.int32]]:
    """Pictures ``(n, h, w, 3)`` uint8 RGB and labels ``(n,)``, indices into the classifier's labels.

    Raises
    ------
    InputError
        The bundle has no classifier, or no evaluation set for it.
    BundleError
        A file was changed, or does not fit the stage.
    """
    stage, evaluation = _evaluation(bundle, bundle.manifest.classifier, "classifier")
    pictures, labels = [], []
    for record in evaluation.files:
        path = bundle.path(record)
        label = PurePosixPath(record.path).parent.name
        if label not in stage.labels:
            raise BundleError(f"{path}: {label!r} is no label of the classifier")
        pictures.append(_read_picture(path, stage))
        labels.append(stage.labels.index(label))
    return np.stack(pictures), np.array(labels, np.int32)


def read_detector_set(bundle: Bundle) -> tuple[View, list[NDArray[np.float32]]]:
    """Pictures ``(n, h, w, 3)`` uint8 RGB, and for each the true boxes ``(k, 4)`` x0, y0, x1, y1 in pixels.

    Raises
    ------
    InputError
        The bundle has no detector, or no evaluation set for it.
    BundleError
        A file was changed, or does not fit the stage.
    """
    stage, evaluation = _evaluation(bundle, bundle.manifest.detector, "detector")
    truth: dict[str, NDArray[np.float32]] = {}
    pictures: dict[str, View] = {}
    for record in evaluation.files:
        path = bundle.path(record)
        if path.name == BOXES_FILE:
            truth = _read_boxes(path)
        else:
            pictures[path.name] = _read_picture(path, stage)
    if truth.keys() != pictures.keys():
        odd = sorted(truth.keys() ^ pictures.keys())
        raise BundleError(f"{bundle.root}: pictures and {BOXES_FILE} of the evaluation set differ in {odd[0]}")
    return np.stack(list(pictures.values())), [truth[name] for name in pictures]


def _evaluation(
    bundle: Bundle, stage: ClassifierStage | DetectorStage | None, name: str
) -> tuple[ClassifierStage | DetectorStage, EvaluationSet]:
    if stage is None:
        raise InputError(f"bundle {bundle.manifest.name} has no {name}")
    if stage.evaluation is None or not stage.evaluation.files:
        raise InputError(f"bundle {bundle.manifest.name} has no evaluation set for its {name}")
    return stage, stage.evaluation


def _read_picture(path: Path, stage: ClassifierStage | DetectorStage) -> View:
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    size = (stage.preprocess.height, stage.preprocess.width)
    if pixels is None or pixels.shape[:2] != size:
        raise BundleError(f"{path} is not a picture of {size[1]}x{size[0]} pixels")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _read_boxes(path: Path) -> dict[str, NDArray[np.float32]]:
    try:
        raw = json.loads(path.read_bytes())
        boxes = {str(name): np.array(rows, np.float32).reshape(-1, 4) for name, rows in raw.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(f"{path} does not hold lists of boxes: {error}") from error
    if not all(np.isfinite(b).all() and (b[:, 2:] > b[:, :2]).all() for b in boxes.values()):
        raise BundleError(f"{path} holds a box without area")
    return boxes
