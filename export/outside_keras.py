"""Keras models and TensorFlow SavedModels from outside, wrapped to take pictures as edgegal gives them."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal import __version__
from edgegal.errors import InputError, MissingPartError
from edgegal.export.model_info import Activation, Input, ModelInfo
from edgegal.export.network import KerasNetwork, need_tensorflow
from edgegal.export.outside_fit import OpenShape, chosen_outputs, described, one_input, picture_size

__all__ = ["keras_network", "saved_model_network"]

_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class _Model:
    """A model as a Keras layer.

    Attributes
    ----------
    call
        Maps a tensor of pictures to the outputs by name.
    inputs
        Shape of each input by name, the batch first; None for an open size.
    outputs
        Names of the outputs.
    weights
        All weights, those that are not trained too.
    """

    call: Callable[[Any], Mapping[str, Any]]
    inputs: Mapping[str, OpenShape]
    outputs: tuple[str, ...]
    weights: list[NDArray[Any]]


def keras_network(path: Path, info: ModelInfo) -> KerasNetwork:
    """A ``.keras`` or ``.h5`` file; `InputError` when it is damaged, unsafe, never built or not what `info` says."""
    keras = _keras()
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras lets through whatever a damaged file provokes.
        raise _unreadable(path, str(error) or type(error).__name__) from error
    if not model.built or not getattr(model, "inputs", None):
        raise InputError(
            f"{path} was never built: it does not know the shape of its input",
            "begin it with keras.Input, or call it once on pictures, and save it again",
        )
    names = _output_names(model)
    return _wrapped(
        _Model(
            call=lambda pictures: _named(model(pictures, training=False), names),
            inputs={tensor.name: tuple(tensor.shape) for tensor in model.inputs},
            outputs=names,
            weights=model.get_weights(),
        ),
        path,
        info,
    )


def saved_model_network(path: Path, info: ModelInfo) -> KerasNetwork:
    """The folder of a SavedModel, by its serving signature; `InputError` when it is damaged or not what `info` says."""
    keras = _keras()
    if not (path / "saved_model.pb").is_file():
        raise InputError(f"{path} is no SavedModel: it has no saved_model.pb", "write one with model.export(FOLDER)")
    try:
        layer = keras.layers.TFSMLayer(path, call_endpoint=_SIGNATURE)
        signature = layer._reloaded_obj.signatures[_SIGNATURE]
    except Exception as error:  # TensorFlow lets through whatever a damaged folder provokes.
        raise _unreadable(path, str(error) or type(error).__name__) from error
    return _wrapped(
        _Model(
            call=layer,
            inputs={name: _sides(spec) for name, spec in signature.structured_input_signature[1].items()},
            outputs=tuple(sorted(signature.structured_outputs)),
            weights=layer.get_weights(),
        ),
        path,
        info,
    )


def _keras() -> Any:
    try:
        import keras
    except ImportError as error:
        raise MissingPartError(f"reading a Keras model needs Keras: {error}", "pip install 'edgegal[export]'") from None
    need_tensorflow()
    return keras


def _sides(spec: Any) -> OpenShape:
    return tuple(spec.shape) if spec.shape.rank is not None else ()


def _output_names(model: Any) -> tuple[str, ...]:
    """Keys where the outputs are a dictionary, else names of the layers that give them."""
    import keras

    if isinstance(model, keras.Sequential):
        return (model.layers[-1].name,)
    return tuple(model.output if isinstance(model.output, dict) else model.output_names)


def _named(values: Any, names: tuple[str, ...]) -> Mapping[str, Any]:
    if isinstance(values, dict):
        return values
    return dict(zip(names, values if isinstance(values, list | tuple) else [values], strict=True))


_UNKNOWN_CLASS = re.compile(r"(?:Could not locate class|Unknown layer:) '([^']+)'")


def _unreadable(path: Path, reason: str) -> InputError:
    """The error for a model that cannot be read, with the mend where the reason is one of the known."""
    if "Lambda" in reason and "safe_mode" in reason:
        return InputError(
            f"{path} has a Lambda layer: Python code in the file, which is not run",
            "put layers of Keras in its place (such as Rescaling), or write a SavedModel with model.export(FOLDER)",
        )
    if unknown := _UNKNOWN_CLASS.search(reason):
        return InputError(
            f"{path} has a layer of the class {unknown[1]}, whose code is not in the file",
            "write a SavedModel with model.export(FOLDER), which needs no code",
        )
    if "No model config" in reason:
        return InputError(f"{path} holds weights without their model", "save the whole with model.save(FILE.keras)")
    return InputError(f"{path} is not a readable model: {reason.splitlines()[0]}")


def _wrapped(model: _Model, path: Path, info: ModelInfo) -> KerasNetwork:
    """The model between layers that make its input of a picture, and its outputs' roles of what it gives."""
    import keras

    name = one_input(model.inputs, path)
    size = picture_size(model.inputs[name], info, path)
    chosen = chosen_outputs(model.outputs, info, path)
    if not all(math.isfinite(float(np.abs(weight).sum())) for weight in model.weights):
        raise InputError(f"{path}: the weights are not all finite", "train it again")
    image = keras.Input((size, size, 3), name="image")
    try:
        values = model.call(_prepared(image, info.input))
    except Exception as error:  # A layer of any package may refuse its input in its own way.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} does not take {info.input.shape(size)} as {name}: {reason}") from error
    outputs = {role: _activated(values[output], activation, role) for role, (output, activation) in chosen.items()}
    versions = {"edgegal": __version__, "keras": str(keras.__version__)}
    description = described(info, size, sum(int(weight.size) for weight in model.weights), versions, path)
    return KerasNetwork(keras.Model(image, outputs), description, info.licence)


def _prepared(image: Any, info: Input) -> Any:
    """What the model takes, of a picture RGB 0-255."""
    import keras

    if not info.plain:
        weights, offsets = info.mixture
        # One convolution for colour, mean and scale: every format has it, and an integer file rounds once, not thrice.
        mix = keras.layers.Conv2D(info.channels, 1, trainable=False, name="prepare")
        image = mix(image)
        mix.set_weights([weights[None, None], offsets])
    return keras.layers.Permute((3, 1, 2))(image) if info.layout == "nchw" else image


def _activated(values: Any, activation: Activation, role: str) -> Any:
    import keras

    if activation == "none":
        # An output that is named for its role, whatever layer gives it.
        return keras.layers.Identity(name=role)(values)
    return keras.layers.Activation(activation, name=role)(values)
