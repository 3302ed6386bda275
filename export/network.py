"""The float network that exporters start from and variants are compared with."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription, StageName
from edgegal.bundle.outputs import output_shapes
from edgegal.errors import InputError
from edgegal.frames import View
from edgegal.preprocess import network_input

__all__ = ["FloatNetwork", "KerasNetwork", "OnnxNetwork", "keras_form", "need_tensorflow", "read_network"]

_BATCH = 32


class FloatNetwork(ABC):
    """A trained network in the form it was trained in, and what it is.

    Every form takes ``image`` float32 ``(n, h, w, 3)`` RGB 0-255 and gives its outputs under the names of their roles.
    """

    description: ClassifierDescription | DetectorDescription
    licence: str

    @property
    def stage(self) -> StageName:
        """The stage of a bundle it becomes."""
        return "detector" if isinstance(self.description, DetectorDescription) else "classifier"

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """``(1, h, w, 3)``: devices see one picture at a time, and a static batch is what every exporter does best."""
        return 1, self.description.preprocess.height, self.description.preprocess.width, 3

    @property
    @abstractmethod
    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each output for a batch of one, by role."""

    @abstractmethod
    def __call__(self, pictures: View) -> dict[str, NDArray[np.float32]]:
        """Float outputs by role, ``(n, ...)`` each, of pictures ``(n, h, w, 3)`` uint8 RGB."""


@dataclass(frozen=True, eq=False)
class KerasNetwork(FloatNetwork):
    """A Keras model.

    Attributes
    ----------
    model
        Keras model with input ``image`` float32 ``(None, h, w, 3)`` RGB 0-255 and a dictionary of outputs by role.
    description
        What it is.
    licence
        Licence of the weights, where they come with one; empty for those trained here.
    """

    model: Any
    description: ClassifierDescription | DetectorDescription
    licence: str = ""

    @property
    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        return {role: (1, *tensor.shape[1:]) for role, tensor in self.model.output.items()}

    @cached_property
    def static(self) -> Any:
        """The same network, same weights, with a batch of exactly one."""
        import keras

        image = keras.Input(batch_shape=self.input_shape, name="image")
        # A fixed name: operations are called after it, and whoever keeps one in float names it in another run.
        return keras.Model(image, self.model(image, training=False), name="network")

    def __call__(self, pictures: View) -> dict[str, NDArray[np.float32]]:
        parts = [
            self.model.predict_on_batch(network_input(pictures[i : i + _BATCH]))
            for i in range(0, len(pictures), _BATCH)
        ]
        return {role: np.concatenate([p[role] for p in parts]).astype(np.float32) for role in parts[0]}


@dataclass(frozen=True, eq=False)
class OnnxNetwork(FloatNetwork):
    """An ONNX graph, run by ONNX Runtime.

    Attributes
    ----------
    graph
        ``ModelProto`` of opset 13 or later with the one input ``image`` float32 ``(1, h, w, 3)`` RGB 0-255 and outputs
        named by role, static in all shapes.
    description
        What it is.
    licence
        Licence of the weights, where they come with one.
    """

    graph: Any
    description: ClassifierDescription | DetectorDescription
    licence: str = ""

    @property
    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            output.name: tuple(side.dim_value for side in output.type.tensor_type.shape.dim)
            for output in self.graph.graph.output
        }

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        return onnxruntime.InferenceSession(self.graph.SerializeToString(), providers=["CPUExecutionProvider"])

    def __call__(self, pictures: View) -> dict[str, NDArray[np.float32]]:
        roles = list(self.output_shapes)
        answers = [self._session.run(roles, {"image": network_input(picture)}) for picture in pictures]
        return {role: np.concatenate(values) for role, values in zip(roles, zip(*answers, strict=True), strict=True)}


def keras_form(network: FloatNetwork, format: str) -> KerasNetwork:
    """The network as Keras model, for a format that is written from nothing else; `InputError` when it is none."""
    if not isinstance(network, KerasNetwork):
        raise InputError(
            f"{format} is written from a Keras model, and this {network.stage} is none",
            "give the .keras file or the SavedModel it was made from, or leave this format out with --format",
        )
    return network


def read_network(folder: Path) -> KerasNetwork:
    """The trained network in `folder`, checked to be what its description says.

    Raises
    ------
    InputError
        The folder is not a trained model, the model does not fit its description, or Keras does not run on TensorFlow
        (the one backend the exporters understand).
    MissingPartError
        Keras is not installed.
    """
    from edgegal.models.artefact import load_trained

    model, description = load_trained(folder)
    need_tensorflow()
    network = KerasNetwork(model, description)
    _check(network, folder)
    return network


def need_tensorflow() -> None:
    """`InputError` when Keras runs on another backend: the exporters understand this one alone."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise InputError(f"Keras runs on {keras.backend.backend()} here", "export with KERAS_BACKEND=tensorflow")


def _check(network: KerasNetwork, folder: Path) -> None:
    outputs = network.model.output
    if not isinstance(outputs, dict):
        raise InputError(f"{folder}: the outputs of the model have no names", "train it with: edgegal train")
    found, expected = network.output_shapes, output_shapes(network.description)
    if found != expected:
        raise InputError(f"{folder}: model.json asks for outputs {expected}, the model gives {found}")
    shape = tuple(network.model.inputs[0].shape[1:])
    if shape != network.input_shape[1:]:
        raise InputError(f"{folder}: model.json asks for input {network.input_shape[1:]}, the model takes {shape}")
    if not all(math.isfinite(float(np.abs(w).sum())) for w in network.model.get_weights()):
        raise InputError(f"{folder}: the weights are not all finite", "train it again")
