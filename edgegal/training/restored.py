"""A network to go on training, from a bundle.

For the device, batch normalisation is multiplied into the convolution before it. Training needs it back: with the mean
and variance of what comes into it, and with the factor and offset that leave the network's answers as they were. The
float ONNX variant is read, where layers keep their names.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

from edgegal import runtimes
from edgegal.bundle import Bundle
from edgegal.bundle.evaluation import read_classifier_set, read_detector_set
from edgegal.bundle.manifest import ClassifierStage, DetectorStage, Variant
from edgegal.errors import InputError, MissingPartError
from edgegal.frames import View
from edgegal.inference import open_variant
from edgegal.preprocess import network_input

__all__ = ["restore"]

_BATCH = 16

_LEAST_SPREAD = 0.05
"""Standard deviation a channel is taken to have at least: one that is silent on the pictures at hand would otherwise be
given weights without bound."""

_TOLERANCE = 1e-3
"""Difference of answers, absolute and relative, up to which two networks are one."""


def restore(model: keras.Model, bundle: Bundle, stage: DetectorStage | ClassifierStage) -> None:
    """Give a network the weights of a stage of a bundle.

    Means and variances are those on the bundle's own evaluation pictures; they move with the first steps of training.

    Parameters
    ----------
    model
        Of the architecture, width, classes and input size of the stage; convolutions and dense layers, each with a
        bias or a normalisation of its own.
    bundle
        With the stage's float ONNX variant and evaluation pictures.
    stage
        Of the bundle.

    Raises
    ------
    InputError
        The bundle lacks one of these, `model` is another network, or of a kind whose layers are not found again.
    BundleError
        A file of it was changed.
    MissingPartError
        onnx or ONNX Runtime is not installed.
    """
    variant = _float_onnx(stage, bundle)
    entry = runtimes.choose({variant.format}, "onnxruntime")
    pictures = (read_detector_set if isinstance(stage, DetectorStage) else read_classifier_set)(bundle)[0]
    try:
        norms = _fill(model, bundle.model_path(variant))
    except ValueError as error:
        raise _another(bundle, stage, str(error)) from error
    _measure(model, norms, pictures)
    adapter = open_variant(bundle, variant, entry, 1)
    answers, ours = adapter.infer(network_input(pictures[:1])), model(network_input(pictures[:1]), training=False)
    for tensor in variant.outputs:
        here = ops.convert_to_numpy(ours[tensor.role])
        if not np.allclose(here, answers[tensor.name], _TOLERANCE, _TOLERANCE):
            raise _another(bundle, stage, f"it answers with other {tensor.role}")


def _float_onnx(stage: DetectorStage | ClassifierStage, bundle: Bundle) -> Variant:
    for variant in stage.variants:
        if (variant.format, variant.precision) == ("onnx", "fp32"):
            return variant
    raise InputError(
        f"bundle {bundle.manifest.name} has no float ONNX variant to take weights from",
        "export it with --format onnx, or give the folder of the trained network",
    )


def _another(bundle: Bundle, stage: DetectorStage | ClassifierStage, why: str) -> InputError:
    return InputError(
        f"cannot go on from bundle {bundle.manifest.name}: {why}",
        f"give the architecture and weights it was trained with, as {stage.provenance.architecture!r} has it",
    )


def _fill(model: keras.Model, file: Path) -> list[tuple[Any, Any]]:
    """Copy the weights of an ONNX file by the names of the layers; the normalised convolutions with their norms.

    Raises
    ------
    ValueError
        The layers are others.
    InputError
        They are of a kind that converters do not keep.
    """
    folded = list(_folded(file))
    used: set[int] = set()
    norms = []
    for layer in _leaves(model):
        if not layer.weights or isinstance(layer, layers.BatchNormalization):
            continue
        if not isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.Dense):
            raise _not_found_again(layer.name)
        index = _index(folded, layer.name)
        used.add(index)
        norm = _give(layer, folded[index])
        if norm is not None:
            norms.append((layer, norm))
    if len(used) != len(folded):
        raise ValueError("it has more layers")
    for layer in set(_leaves(model)) - {norm for _, norm in norms}:
        if isinstance(layer, layers.BatchNormalization):
            raise _not_found_again(layer.name)
    return norms


def _index(folded: Sequence["_Folded"], name: str) -> int:
    """Where the layer of that name is; `ValueError` when it is not, or twice."""
    # Converters call the network within one of their own, where the names of its layers get a number.
    found = [i for i, layer in enumerate(folded) if layer.names & {name, f"{name}_1"}]
    if len(found) != 1:
        raise ValueError(f"layer {name} is there twice" if found else f"it has no layer {name}")
    return found[0]


def _give(layer: Any, folded: "_Folded") -> Any | None:
    """Give a layer its weights; the normalisation that the bias went to, None when it has a bias itself."""
    kernel = _as_keras(layer, folded.kernel)
    if kernel.shape != tuple(layer.kernel.shape):
        raise ValueError(f"layer {layer.name} is {kernel.shape} there, not {tuple(layer.kernel.shape)}")
    if layer.use_bias:
        layer.set_weights([kernel, folded.bias])
        return None
    norm = _norm_after(layer)
    layer.set_weights([kernel])
    norm.set_weights(_only_adding(folded.bias, norm.epsilon))
    return norm


def _not_found_again(layer: str) -> InputError:
    """What is shared between maps or normalises something else than a convolution, converters write as they please."""
    return InputError(
        f"layer {layer} of this architecture cannot be taken out of a bundle",
        "give the folder of the trained network",
    )


class _Folded(NamedTuple):
    """A convolution or dense layer of an ONNX file, and the factors and offsets of its channels that follow it."""

    names: set[str]
    """The parts of its names."""
    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]


def _folded(file: Path) -> Iterator[_Folded]:
    """Every convolution and dense layer, in the order of the file."""
    try:
        import onnx
    except ImportError as error:
        raise MissingPartError(
            f"reading the weights of a bundle needs onnx: {error}", "pip install 'edgegal[export]'"
        ) from None
    graph = onnx.load(str(file)).graph
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    following = {name: node for node in reversed(graph.node) for name in node.input}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            yield _with_what_follows(node, constants, following)


def _with_what_follows(
    node: Any, constants: Mapping[str, NDArray[np.float32]], following: Mapping[str, Any]
) -> _Folded:
    if node.input[1] not in constants:
        raise ValueError(f"its layer {node.name} has no weights of its own")
    kernel = constants[node.input[1]]
    channels = kernel.shape[0 if node.op_type == "Conv" else 1]
    bias = constants[node.input[2]] if len(node.input) > 2 else np.zeros(channels, np.float32)
    names = {part for name in (node.name, *node.input, *node.output) for part in name.split("/")}
    for step in ("Mul", "Add"):
        after = following.get(node.output[0])
        values = [constants[i] for i in after.input if i in constants] if after else []
        if after is None or after.op_type != step or len(values) != 1 or values[0].size != channels:
            continue
        vector = values[0].reshape(-1)
        kernel = kernel * vector.reshape(-1, 1, 1, 1) if step == "Mul" else kernel
        bias = bias * vector if step == "Mul" else bias + vector
        node = after
    return _Folded(names, kernel, bias)


def _only_adding(bias: NDArray[np.float32], epsilon: float) -> list[NDArray[np.float32]]:
    """Factor, offset, mean and variance of a normalisation that adds a bias and does nothing else."""
    ones = np.ones_like(bias)
    return [ones * np.sqrt(1 + epsilon), bias, 0 * ones, ones]


def _as_keras(layer: Any, kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The kernel with its axes in Keras's order."""
    if isinstance(layer, layers.Dense):
        return kernel
    return kernel.transpose((2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0))


def _leaves(model: keras.Model) -> Iterator[Any]:
    """All layers, those of nested networks in their place."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        else:
            yield layer


def _norm_after(layer: Any) -> Any:
    """The normalisation a convolution goes into; `InputError` when it goes elsewhere."""
    following = [node.operation for node in layer._outbound_nodes]
    if len(following) != 1 or not isinstance(following[0], layers.BatchNormalization):
        raise _not_found_again(layer.name)
    return following[0]


class _Counted(layers.BatchNormalization):  # type: ignore[misc]
    """A normalisation that counts what comes into it: `sums` is ``(3, channels)``, how many, their sum, of squares."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.sums = np.zeros((3, 1))

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not isinstance(inputs, keras.KerasTensor):
            values = ops.convert_to_numpy(inputs).astype(np.float64).reshape(-1, inputs.shape[-1])
            self.sums = self.sums + np.stack([np.ones_like(values), values, values**2]).sum(axis=1)
        return super().call(inputs, training=False)


def _measure(model: keras.Model, norms: list[tuple[Any, Any]], pictures: View) -> None:
    """Give every normalisation the mean and variance it meets on some pictures; the network's answers stay.

    Kernels are scaled so that what they give has a variance of 1, as those of a new network do: a step of training then
    moves them as far.
    """
    counting = keras.models.clone_model(model, clone_function=_counting, recursive=True)
    counting.set_weights(model.get_weights())
    for start in range(0, len(pictures), _BATCH):
        counting(network_input(pictures[start : start + _BATCH]), training=False)
    counted = {layer.name: layer.sums for layer in _leaves(counting) if isinstance(layer, _Counted)}
    for layer, norm in norms:
        count, total, squares = counted[norm.name]
        mean = total / count
        variance = np.maximum(squares / count - mean**2, 0)
        spread = np.maximum(np.sqrt(variance), _LEAST_SPREAD)
        offset = norm.get_weights()[1] + mean
        kernel = layer.get_weights()[0]
        depthwise = isinstance(layer, layers.DepthwiseConv2D)
        layer.set_weights([kernel / (spread[:, None] if depthwise else spread)])
        variance = variance / spread**2
        norm.set_weights([spread * np.sqrt(variance + norm.epsilon), offset, mean / spread, variance])


def _counting(layer: Any) -> Any:
    kind = _Counted if isinstance(layer, layers.BatchNormalization) else type(layer)
    return kind.from_config(layer.get_config())
