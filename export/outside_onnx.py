"""ONNX files from outside, with nodes added that take pictures as edgegal gives them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgegal import __version__
from edgegal.errors import InputError
from edgegal.export.model_info import Activation, Input, ModelInfo
from edgegal.export.network import OnnxNetwork
from edgegal.export.outside_fit import OpenShape, chosen_outputs, described, one_input, picture_size

__all__ = ["onnx_network"]

# Quantising weights per channel came with it.
_LEAST_OPSET = 13

# Before everything of the model, so that no name of it meets one that is added.
_PREFIX = "net/"

_ACTIVATIONS: dict[Activation, str] = {"none": "Identity", "softmax": "Softmax", "sigmoid": "Sigmoid"}
_INTEGER = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "ConvInteger")


def onnx_network(path: Path, info: ModelInfo) -> OnnxNetwork:
    """An ``.onnx`` file; `InputError` when it is damaged, does not run, or is not what `info` says."""
    model = _upgraded(_read(path), path)
    initialised = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name: _shape(value) for value in model.graph.input if value.name not in initialised}
    name = one_input(inputs, path)
    kind = next(value.type.tensor_type.elem_type for value in model.graph.input if value.name == name)
    if kind != TensorProto.FLOAT:
        raise InputError(f"{path} takes {TensorProto.DataType.Name(kind).lower()}", "export it with float32 inputs")
    size = picture_size(inputs[name], info, path)
    chosen = chosen_outputs([value.name for value in model.graph.output], info, path)
    _check_values(model, path)
    roles = {role: (_PREFIX + output, activation) for role, (output, activation) in chosen.items()}
    graph = _wrapped(onnx.compose.add_prefix(model, _PREFIX), _PREFIX + name, roles, info.input, size)
    parameters = sum(values.size for values in _constants(model) if values.dtype.kind == "f")
    producer = {model.producer_name: model.producer_version} if model.producer_name else {}
    description = described(info, size, parameters, {"edgegal": __version__, **producer}, path)
    return OnnxNetwork(_with_shapes(graph, (1, size, size, 3), path), description, info.licence)


def _read(path: Path) -> Any:
    try:
        onnx.checker.check_model(str(path))
        return onnx.load(path)
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable ONNX model: {_first_line(error)}") from error


def _upgraded(model: Any, path: Path) -> Any:
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    if opset is None or opset >= _LEAST_OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, _LEAST_OPSET)
    except RuntimeError as error:
        raise InputError(
            f"{path} is of opset {opset}, and cannot be made {_LEAST_OPSET}: {_first_line(error)}",
            f"export it again with opset {_LEAST_OPSET} or later",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _shape(value: Any) -> OpenShape:
    sides = value.type.tensor_type.shape.dim
    return tuple(side.dim_value if side.HasField("dim_value") else None for side in sides)


def _constants(model: Any) -> Iterator[NDArray[Any]]:
    tensors = [*model.graph.initializer]
    for node in model.graph.node:
        if node.op_type == "Constant":
            tensors += [attribute.t for attribute in node.attribute if attribute.name == "value"]
    return (numpy_helper.to_array(tensor) for tensor in tensors)


def _check_values(model: Any, path: Path) -> None:
    """Weights are finite floats: what was quantised already has no float to compare with."""
    integer = next((node.op_type for node in model.graph.node if node.op_type in _INTEGER), None)
    if integer:
        raise InputError(f"{path} is quantised already: it has {integer}", "give the float model it was made from")
    # Single infinities are limits (Clip), no weights.
    if any(
        np.isnan(values).any() or (values.size > 1 and np.isinf(values).any())
        for values in _constants(model)
        if values.dtype.kind == "f"
    ):
        raise InputError(f"{path}: the weights are not all finite", "train it again")


def _wrapped(model: Any, picture: str, roles: dict[str, tuple[str, Activation]], info: Input, size: int) -> Any:
    """The model between nodes that make its input `picture` of ``image``, and roles of its outputs."""
    weights, offsets = info.mixture
    constants = [
        numpy_helper.from_array(weights.T[:, :, None, None], "prepare/weights"),
        numpy_helper.from_array(offsets, "prepare/offsets"),
    ]
    before, tensor = [], "image"

    def step(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        before.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    if not (info.plain and info.layout == "nhwc"):
        tensor = step("Transpose", [tensor], "prepare/nchw", perm=[0, 3, 1, 2])
    if not info.plain:
        # One convolution for colour, mean and scale: an integer file rounds once, not thrice.
        tensor = step("Conv", [tensor, *(constant.name for constant in constants)], "prepare/mixed")
    if info.layout == "nhwc" and not info.plain:
        tensor = step("Transpose", [tensor], "prepare/nhwc", perm=[0, 2, 3, 1])
    step("Identity", [tensor], picture)
    after = [
        helper.make_node(_ACTIVATIONS[kind], [source], [role], name=role) for role, (source, kind) in roles.items()
    ]
    graph = helper.make_graph(
        [*before, *model.graph.node, *after],
        model.graph.name or "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, size, size, 3))],
        [helper.make_tensor_value_info(role, TensorProto.FLOAT, None) for role in roles],
        [*model.graph.initializer, *([] if info.plain else constants)],
    )
    wrapped = helper.make_model(
        graph,
        opset_imports=model.opset_import,
        functions=model.functions,
        producer_name=model.producer_name,
        ir_version=max(model.ir_version, 8),
    )
    wrapped.graph.sparse_initializer.extend(model.graph.sparse_initializer)
    return wrapped


def _with_shapes(model: Any, shape: tuple[int, ...], path: Path) -> Any:
    """The model with the shapes of its outputs, which only running it tells for sure."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        values = session.run(None, {"image": np.zeros(shape, np.float32)})
    except Exception as error:  # ONNX Runtime has a class of its own for every way to fail.
        raise InputError(f"{path} does not run in ONNX Runtime: {_first_line(error)}") from error
    outputs = [
        helper.make_tensor_value_info(output.name, TensorProto.FLOAT, value.shape)
        for output, value in zip(model.graph.output, values, strict=True)
    ]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    del model.graph.value_info[:]
    return model
