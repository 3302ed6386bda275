"""TFLite files opened layer by layer, by rewriting the flatbuffer: activations become outputs, or inputs.

Nothing is asked of the interpreter that hides the kernels a file really runs on: XNNPACK executes these graphs as it
executes the originals.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgegal.benchmarks.layers.probe import MOVING, Layer, LayerProbe, Values, check_same_network
from edgegal.errors import InputError

__all__ = ["open_probe"]

_KINDS = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
_NUMBERS = {getattr(schema.TensorType, name) for name in ("FLOAT32", "UINT8", "INT8", "INT16")}


def open_probe(float_file: Path, quantised_file: Path) -> LayerProbe:
    """The two files as `LayerProbe`.

    Raises
    ------
    InputError
        One has more than one graph, or they do not belong together.
    """
    return _TFLiteProbe(float_file, quantised_file)


class _Graph:
    """A flatbuffer's one graph, open for rewriting."""

    def __init__(self, path: Path) -> None:
        self._model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
        if len(self._model.subgraphs) != 1:
            raise InputError(f"{path} has {len(self._model.subgraphs)} graphs: only those of one have layers in a row")
        self.graph = self._model.subgraphs[0]

    def name(self, index: int) -> str:
        name: str = self.graph.tensors[index].name.decode()
        return name

    def shape(self, index: int) -> tuple[int, ...]:
        return tuple(map(int, self.graph.tensors[index].shape))

    def activations(self) -> Iterator[tuple[str, int, str]]:
        """What operators write, in execution order: name and index of the tensor, kind of the operator."""
        for operator in self.graph.operators:
            code = self._model.operatorCodes[operator.opcodeIndex]
            # Codes that do not fit the old 8-bit field stand in the new one.
            kind = _KINDS[max(code.builtinCode, code.deprecatedBuiltinCode)]
            for index in map(int, operator.outputs):
                if self.graph.tensors[index].type in _NUMBERS:
                    yield self.name(index), index, kind

    def expose(self, tensors: dict[str, int]) -> dict[str, int]:
        """Make the tensors the outputs."""
        self.graph.outputs = np.array(list(tensors.values()), np.int32)
        return tensors

    def cut(self, tensors: dict[str, int]) -> dict[str, int]:
        """Make the tensors inputs, for whoever reads them, and what was written to them the outputs."""
        written = {}
        for name, index in tensors.items():
            twin = copy.copy(self.graph.tensors[index])
            twin.name = f"{name}/alone".encode()
            self.graph.tensors.append(twin)
            written[name] = len(self.graph.tensors) - 1
        moved = {tensors[name]: index for name, index in written.items()}
        for operator in self.graph.operators:
            operator.outputs = np.array([moved.get(int(index), int(index)) for index in operator.outputs], np.int32)
        # A tensor that nobody reads would be an input without effect, which the interpreter refuses to allocate.
        read = {int(index) for operator in self.graph.operators for index in operator.inputs}
        inputs = [int(index) for index in self.graph.inputs]
        self.graph.inputs = np.array([*inputs, *(i for i in tensors.values() if i in read)], np.int32)
        return self.expose(written)

    def load(self) -> Interpreter:
        # Signatures name inputs and outputs that are no longer those of the graph.
        self._model.signatureDefs = []
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        interpreter = Interpreter(model_content=bytes(builder.Output()), num_threads=1)
        interpreter.allocate_tensors()
        return interpreter


class _Runner:
    def __init__(self, graph: _Graph, outputs: dict[str, int]) -> None:
        self._interpreter = graph.load()
        self._outputs = outputs
        self._inputs = self._interpreter.get_input_details()
        self._details = {d["index"]: d for d in self._interpreter.get_tensor_details()}

    def run(self, values: Values) -> Values:
        for details in self._inputs:
            self._interpreter.set_tensor(details["index"], _quantised(values[details["name"]], details))
        self._interpreter.invoke()
        return {
            name: _real(self._interpreter.get_tensor(index), self._details[index])
            for name, index in self._outputs.items()
        }


class _TFLiteProbe(LayerProbe):
    def __init__(self, float_file: Path, quantised_file: Path) -> None:
        real, integer, cut = _Graph(float_file), _Graph(quantised_file), _Graph(quantised_file)
        ends = {real.name(index) for index in real.graph.outputs}
        written = {
            name: (index, kind) for name, index, kind in real.activations() if kind not in MOVING or name in ends
        }
        found = {name: index for name, index, _ in integer.activations()}
        alike = [
            name
            for name, (index, _) in written.items()
            if name in found and real.shape(index) == integer.shape(found[name])
        ]
        self.layers = tuple(Layer(name, written[name][1], name) for name in alike)
        same_outputs = ends == {integer.name(index) for index in integer.graph.outputs}
        check_same_network(float_file, quantised_file, same_outputs, len(alike), len(written))
        self._input = real.name(real.graph.inputs[0])
        tensors = {name: found[name] for name in alike}
        self._float = _Runner(real, real.expose({name: written[name][0] for name in alike}))
        self._quantised = _Runner(integer, integer.expose(tensors))
        self._alone = _Runner(cut, cut.cut(tensors))

    def run_float(self, batch: NDArray[np.float32]) -> Values:
        return self._float.run({self._input: batch})

    def run_quantised(self, batch: NDArray[np.float32]) -> Values:
        return self._quantised.run({self._input: batch})

    def run_alone(self, batch: NDArray[np.float32], activations: Values) -> Values:
        return self._alone.run({**activations, self._input: batch})


def _quantised(values: NDArray[Any], details: dict[str, Any]) -> NDArray[Any]:
    scale, zero_point = details["quantization"]
    if not scale:
        return values.astype(details["dtype"])
    limits = np.iinfo(details["dtype"])
    return np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max).astype(details["dtype"])


def _real(stored: NDArray[Any], details: dict[str, Any]) -> NDArray[Any]:
    scale, zero_point = details["quantization"]
    return (stored.astype(np.float32) - zero_point) * np.float32(scale) if scale else stored
