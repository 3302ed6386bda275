"""ONNX files opened layer by layer, by rewriting the graph: activations become outputs, or inputs.

Outputs are taken behind the quantiser of an activation, so ONNX Runtime still fuses each layer into its integer kernel.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgegal.benchmarks.layers.probe import MOVING, Layer, LayerProbe, Values, check_same_network

__all__ = ["open_probe"]


def open_probe(float_file: Path, quantised_file: Path) -> LayerProbe:
    """The two files as `LayerProbe`.

    Raises
    ------
    InputError
        They do not belong together.
    """
    return _OnnxProbe(float_file, quantised_file)


def _prepared(path: Path) -> Any:
    """The float graph as the exporter quantises it: only there do nodes have the names of the quantised file."""
    with tempfile.TemporaryDirectory(prefix="edgegal-layers-") as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        return onnx.load(prepared)


def _shapes(model: Any) -> dict[str, tuple[int | None, ...]]:
    """Shape of each float activation; None for a side that the file leaves open."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: tuple(side.dim_value or None for side in value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }


def _computed(graph: Any) -> dict[str, Any]:
    """Node that writes each tensor that depends on the input, in execution order."""
    reached, nodes = {graph.input[0].name}, {}
    for node in graph.node:
        if reached & set(node.input):
            reached |= set(node.output)
            nodes.update(dict.fromkeys(node.output, node))
    return nodes


def _behind_quantiser(graph: Any, tensor: str) -> tuple[Any, Any] | None:
    """The QuantizeLinear and DequantizeLinear nodes a tensor runs through, if it does."""
    first = next((n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == tensor), None)
    if first is None:
        return None
    second = next((n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] == first.output[0]), None)
    return None if second is None else (first, second)


def _with_outputs(model: Any, tensors: Iterable[str]) -> Any:
    del model.graph.output[:]
    for name in tensors:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return model


def _cut(model: Any, shapes: dict[str, tuple[int | None, ...]]) -> dict[str, str]:
    """Make the tensors inputs, for whoever reads them; returns what was written to them, to be outputs."""
    graph, written = model.graph, {}
    for tensor in shapes:
        pair = _behind_quantiser(graph, tensor)
        written[tensor] = f"{tensor}/alone"
        for node in graph.node:
            for place, name in enumerate(node.output):
                if name == tensor:
                    node.output[place] = written[tensor]
        if pair is None:
            continue
        for node in pair:
            # At the end, where everything that it reads has been written.
            twin = graph.node.add()
            twin.CopyFrom(node)
            twin.name = f"{node.name}/alone"
            twin.input[0] = written[tensor]
            written[tensor] = twin.output[0] = f"{node.output[0]}/alone"
    read = {name for node in graph.node for name in node.input}
    for tensor, shape in shapes.items():
        if tensor in read:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, shape))
    return written


class _Runner:
    def __init__(self, model: Any, outputs: dict[str, str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        content = _with_outputs(model, outputs.values()).SerializeToString()
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._inputs = [value.name for value in self._session.get_inputs()]
        self._tensors = list(outputs)

    def run(self, values: Values) -> Values:
        found = self._session.run(None, {name: values[name] for name in self._inputs})
        return dict(zip(self._tensors, found, strict=True))


class _OnnxProbe(LayerProbe):
    def __init__(self, float_file: Path, quantised_file: Path) -> None:
        real, integer = _prepared(float_file), onnx.load(quantised_file)
        ends = {value.name for value in real.graph.output}
        shapes, found = _shapes(real), _computed(integer.graph)
        written = {
            tensor: node
            for tensor, node in _computed(real.graph).items()
            if tensor in shapes and (node.op_type not in MOVING or tensor in ends)
        }
        alike = {tensor: shapes[tensor] for tensor in written if tensor in found}
        names = {node.name for node in real.graph.node}
        self.layers = tuple(
            # Where an activation function was fused, the quantised file's node is the one worth naming.
            Layer(node.name, node.op_type, tensor)
            for tensor in alike
            for node in [found[tensor] if found[tensor].name in names else written[tensor]]
        )
        same_outputs = ends == {value.name for value in integer.graph.output}
        check_same_network(float_file, quantised_file, same_outputs, len(alike), len(written))
        self._input = real.graph.input[0].name
        pairs = {tensor: _behind_quantiser(integer.graph, tensor) for tensor in alike}
        cut = onnx.ModelProto()
        cut.CopyFrom(integer)
        self._float = _Runner(real, {tensor: tensor for tensor in alike})
        self._quantised = _Runner(integer, {t: pair[1].output[0] if pair else t for t, pair in pairs.items()})
        self._alone = _Runner(cut, _cut(cut, alike))

    def run_float(self, batch: NDArray[np.float32]) -> Values:
        return self._float.run({self._input: batch})

    def run_quantised(self, batch: NDArray[np.float32]) -> Values:
        return self._quantised.run({self._input: batch})

    def run_alone(self, batch: NDArray[np.float32], activations: Values) -> Values:
        return self._alone.run({**activations, self._input: batch})
