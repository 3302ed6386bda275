"""Where in a network quantisation loses what it loses: signal to noise, layer by layer.

Two figures tell the layers at fault from those that only pass errors on. `LayerError.sqnr_db` compares a layer's
output in the two files: it falls along the network and shows where the error has become large.
`LayerError.own_sqnr_db` compares the quantised layer with the float layer when both read what the float network
computes: the loss if this layer alone were quantised. It counts the quantisation of the layer's inputs, of its weights
and, in formats that store activations as integers (TFLite, ONNX), of its output. So an activation with a wrong
range is charged to the layer that writes it and to those that read it; in TFLite and ONNX it becomes float only when
all of them are kept in float, in OpenVINO for each that is. Errors of different layers may cancel each other (NNCF
corrects biases so that they do): the sum of all own errors is no forecast of the whole.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgegal.benchmarks.layers.probe import MOVING, LayerProbe
from edgegal.bundle.manifest import Format
from edgegal.errors import GateFailedError, InputError, MissingPartError
from edgegal.frames import View
from edgegal.metrics.signal import sqnr_db
from edgegal.preprocess import network_input
from edgegal.runtimes import RUNTIMES, load

__all__ = ["LayerError", "layer_errors", "layers_to_keep"]

_RUNTIMES = {"tflite": "litert", "onnx": "onnxruntime", "openvino": "openvino"}
_PROBES = {
    "tflite": "edgegal.benchmarks.layers.tflite",
    "onnx": "edgegal.benchmarks.layers.onnx",
    "openvino": "edgegal.benchmarks.layers.openvino",
}


@dataclass(frozen=True)
class LayerError:
    """What quantisation does to one layer.

    Attributes
    ----------
    name
        As `edgegal.export.registry.Order.keep_float` takes it. TFLite: the output tensor in the float file; ONNX:
        the node in the float graph after ``quant_pre_process``; OpenVINO: the friendly name in the float IR.
    kind
        Type of the operation, as the format calls it.
    sqnr_db
        Signal to quantisation noise of its output with the errors of all layers before it, over all pictures; None
        when the two files agree exactly.
    own_sqnr_db
        The same when its inputs are the float network's: what the layer itself loses; None when it loses nothing.
    """

    name: str
    kind: str
    sqnr_db: float | None
    own_sqnr_db: float | None


def layer_errors(format: Format, float_file: Path, quantised_file: Path, pictures: View) -> tuple[LayerError, ...]:
    """Compare the two files layer by layer, each in its own runtime, on one processor core.

    Parameters
    ----------
    format
        Of both files.
    float_file, quantised_file
        Two exports of one network.
    pictures
        ``(n, h, w, 3)`` uint8 RGB of the network's input size. They are taken one by one, so their number costs time
        and no memory; 16 are enough to rank layers.

    Returns
    -------
    tuple of LayerError
        In execution order.

    Raises
    ------
    InputError
        The format cannot be opened layer by layer, the files do not run or do not belong together, or the pictures do
        not fit.
    MissingPartError
        A package is not installed.
    GateFailedError
        A layer gives values that are not finite.
    """
    if not len(pictures):
        raise InputError("no pictures to look into layers with")
    if format not in _PROBES:
        raise InputError(f"{format} files cannot be opened layer by layer", f"use: {', '.join(_PROBES)}")
    for path in (float_file, quantised_file):
        _check_runs(format, path, pictures)
    probe = _open(format, float_file, quantised_file)
    signal, noise, own = np.zeros((3, len(probe.layers)))
    for picture in pictures:
        batch = network_input(picture)
        reference, found = probe.run_float(batch), probe.run_quantised(batch)
        alone = probe.run_alone(batch, reference)
        for row, layer in enumerate(probe.layers):
            expected = reference[layer.tensor]
            signal[row] += _energy(expected)
            noise[row] += _energy(found[layer.tensor] - expected)
            own[row] += _energy(alone[layer.tensor] - expected)
    for path, sums in ((float_file, signal), (quantised_file, noise + own)):
        if not np.isfinite(sums).all():
            first = probe.layers[int(np.argmin(np.isfinite(sums)))]
            raise GateFailedError(f"{path}: values that are not finite, first in layer {first.name}")
    return tuple(
        LayerError(layer.name, layer.kind, sqnr_db(s, n), sqnr_db(s, o))
        for layer, s, n, o in zip(probe.layers, map(float, signal), map(float, noise), map(float, own), strict=True)
    )


def layers_to_keep(layers: Sequence[LayerError], count: int) -> tuple[str, ...]:
    """Names of the `count` layers to keep in float: those that lose most by themselves, worst first.

    Layers that lose nothing and those that only move values are left out, so there may be fewer.
    """
    # In float, what only moves values would cost a conversion and win nothing.
    losing = [
        (layer.own_sqnr_db, layer.name)
        for layer in layers
        if layer.own_sqnr_db is not None and layer.kind not in MOVING
    ]
    return tuple(name for _, name in sorted(losing, key=lambda pair: pair[0])[:count])


def _check_runs(format: Format, path: Path, pictures: View) -> None:
    """Let the runtime itself judge the file, before it is rewritten."""
    takes = load(RUNTIMES[_RUNTIMES[format]], path).inputs[0].shape[1:]
    if pictures.shape[1:] != takes:
        raise InputError(f"{path} takes pictures of shape {takes}, not {pictures.shape[1:]}")


def _open(format: Format, float_file: Path, quantised_file: Path) -> LayerProbe:
    try:
        probe: LayerProbe = importlib.import_module(_PROBES[format]).open_probe(float_file, quantised_file)
    except ImportError as error:
        raise MissingPartError(
            f"looking into {format} layers does not work here: {error}", "pip install 'edgegal[export]'"
        ) from error
    return probe


def _energy(values: NDArray[np.floating]) -> float:
    flat = values.astype(np.float64).ravel()
    return float(flat @ flat)
