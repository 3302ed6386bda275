"""OpenVINO IR files opened layer by layer, by rewiring the graph: activations become results, or parameters.

In an IR the quantisers stand before the operations that need them, so they belong to the layer that reads.
"""

from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from edgegal.benchmarks.layers.probe import MOVING, Layer, LayerProbe, Values, check_same_network
from edgegal.errors import InputError
from edgegal.runtimes.openvino import shared_core

__all__ = ["open_probe"]

_WEIGHTED = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")
_FUNCTIONS = ("Clamp", "Relu", "PRelu", "HSwish", "Swish", "Elu")
_NO_LAYERS = ("Parameter", "Constant", "Result", "FakeQuantize", "Convert")

# Full floats outside the quantised operations: half precision, where a processor has it, is another error than asked.
_SETTINGS = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}


def open_probe(float_file: Path, quantised_file: Path) -> LayerProbe:
    """The two files as `LayerProbe`.

    Raises
    ------
    InputError
        One has no static shapes, or they do not belong together.
    """
    return _OpenVINOProbe(float_file, quantised_file)


class _Graph:
    """One IR, open for rewiring."""

    def __init__(self, core: Any, path: Path) -> None:
        self.model = core.read_model(path)
        if self.model.is_dynamic():
            raise InputError(f"{path} leaves sizes open, and layers need fixed ones", "export it with edgegal export")
        self.outputs = {name for port in self.model.outputs for name in port.get_names()}
        self.operations = self._activations()

    def _activations(self) -> dict[str, Any]:
        """Operations with one output that depends on the input, in execution order."""
        reached, found = {self.model.inputs[0].get_node().get_friendly_name()}, {}
        for node in self.model.get_ordered_ops():
            if reached.isdisjoint(source.get_node().get_friendly_name() for source in node.input_values()):
                continue
            reached.add(node.get_friendly_name())
            if node.get_type_name() not in _NO_LAYERS and node.get_output_size() == 1:
                found[node.get_friendly_name()] = node
        return found

    def layers(self) -> list[Layer]:
        """Operations with what belongs to each: its bias, which quantisers may shift, and its activation function."""
        taken: set[str] = set()
        layers = []
        for name, node in self.operations.items():
            if name in taken or (node.get_type_name() in MOVING and not _is_output(node)):
                continue
            end = node
            while (reader := self._only_reader(end)) is not None and (
                reader.get_type_name() in _FUNCTIONS or (end is node and self._is_bias(node, reader))
            ):
                end = reader
                taken.add(end.get_friendly_name())
            layers.append(Layer(name, node.get_type_name(), end.get_friendly_name()))
        return layers

    @staticmethod
    def _only_reader(node: Any) -> Any:
        readers = [target.get_node() for target in node.output(0).get_target_inputs()]
        return readers[0] if len(readers) == 1 else None

    def _is_bias(self, node: Any, reader: Any) -> bool:
        if node.get_type_name() not in _WEIGHTED or reader.get_type_name() != "Add":
            return False
        sources = {value.get_node().get_friendly_name() for value in reader.input_values()}
        return (sources - {node.get_friendly_name()}).isdisjoint(self.operations)

    def expose(self, names: list[str]) -> Any:
        """The graph with those operations' outputs as results."""
        results = [openvino.opset13.result(self.operations[name].output(0)) for name in names]
        return openvino.Model(results, self.model.get_parameters(), "exposed")

    def cut(self, names: list[str]) -> Any:
        """The graph with those operations' outputs as results, and as parameters for whoever reads them."""
        parameters = {}
        for name in names:
            port = self.operations[name].output(0)
            parameter = openvino.opset13.parameter(port.get_shape(), port.get_element_type(), name)
            for reader in port.get_target_inputs():
                reader.replace_source_output(parameter.output(0))
            parameters[name] = parameter
        results = [openvino.opset13.result(self.operations[name].output(0)) for name in names]
        return openvino.Model(results, [*self.model.get_parameters(), *parameters.values()], "cut")


def _is_output(node: Any) -> bool:
    return any(target.get_node().get_type_name() == "Result" for target in node.output(0).get_target_inputs())


def _alike(name: str, real: _Graph, integer: _Graph) -> bool:
    shape = real.operations[name].get_output_shape(0)
    return name in integer.operations and integer.operations[name].get_output_shape(0) == shape


class _OpenVINOProbe(LayerProbe):
    def __init__(self, float_file: Path, quantised_file: Path) -> None:
        core = shared_core()
        real, integer, cut = _Graph(core, float_file), _Graph(core, quantised_file), _Graph(core, quantised_file)
        whole = real.layers()
        self.layers = tuple(layer for layer in whole if _alike(layer.tensor, real, integer))
        same_outputs = real.outputs == integer.outputs
        check_same_network(float_file, quantised_file, same_outputs, len(self.layers), len(whole))
        self._names = [layer.tensor for layer in self.layers]
        self._float = core.compile_model(real.expose(self._names), "CPU", _SETTINGS)
        self._quantised = core.compile_model(integer.expose(self._names), "CPU", _SETTINGS)
        self._alone = core.compile_model(cut.cut(self._names), "CPU", _SETTINGS)

    def run_float(self, batch: NDArray[np.float32]) -> Values:
        return self._run(self._float, [batch])

    def run_quantised(self, batch: NDArray[np.float32]) -> Values:
        return self._run(self._quantised, [batch])

    def run_alone(self, batch: NDArray[np.float32], activations: Values) -> Values:
        return self._run(self._alone, [batch, *(activations[name] for name in self._names)])

    def _run(self, compiled: Any, inputs: list[NDArray[Any]]) -> Values:
        # Without sharing the results are copies.
        results = compiled(inputs)
        return {name: np.asarray(results[place]) for place, name in enumerate(self._names)}
