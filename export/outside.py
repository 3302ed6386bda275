"""Networks to export: those that `edgegal train` wrote, and models from outside that a TOML file describes."""

from pathlib import Path

import numpy as np

from edgegal.bundle.manifest import ClassifierDescription
from edgegal.bundle.outputs import output_shapes
from edgegal.errors import InputError
from edgegal.export.model_info import ModelInfo, read_model_info
from edgegal.export.network import FloatNetwork, read_network

__all__ = ["open_network"]

_KERAS = (".keras", ".h5", ".hdf5")
_ONNX = ".onnx"
_PICKLED = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
_EXPORTED = (".tflite", ".xml", ".engine")

# Probabilities of half-precision models sum to 1 within this.
_SUM_TOLERANCE = 5e-3


def open_network(path: Path) -> FloatNetwork:
    """The network that a MODEL argument names.

    Parameters
    ----------
    path
        A folder of ``edgegal train``, or the TOML file of a model from outside (`edgegal.export.model_info`).

    Raises
    ------
    InputError
        It is neither, or the model is not what its description says, or cannot be exported.
    MissingPartError
        A package that reads the model is not installed.
    """
    if path.suffix.lower() == ".toml":
        return _outside(path)
    if _is_weights(path):
        raise InputError(
            f"{path} alone does not say what it takes and gives",
            f'describe it in a TOML file with model = "{path.name}", as in docs/how-to/export-your-own-model.md',
        )
    return read_network(path)


def _is_weights(path: Path) -> bool:
    return (path / "saved_model.pb").is_file() or path.suffix.lower() in (*_KERAS, _ONNX, *_PICKLED, *_EXPORTED)


def _outside(toml: Path) -> FloatNetwork:
    info = read_model_info(toml)
    path = toml.parent / info.model
    network = _read(path, info)
    _check_shapes(network, info, path)
    _check_answers(network, path)
    return network


def _read(path: Path, info: ModelInfo) -> FloatNetwork:
    """The model, wrapped to take pictures and to give its outputs by role; each kind by the module that knows it."""
    suffix = path.suffix.lower()
    if suffix in _PICKLED:
        raise InputError(
            f"{path} holds pickled Python, which can do anything when it is opened", "export it to ONNX first"
        )
    if suffix in _EXPORTED:
        raise InputError(f"{path} was exported already", "give the model it was made from")
    if not path.exists():
        raise InputError(f"no model {path}", "model is a path from the TOML file that names it")
    if suffix == _ONNX:
        from edgegal.export.outside_onnx import onnx_network

        return onnx_network(path, info)
    from edgegal.export import outside_keras

    if path.is_dir():
        return outside_keras.saved_model_network(path, info)
    if suffix in _KERAS:
        return outside_keras.keras_network(path, info)
    raise InputError(f"{path} is of no known kind", "give .keras, .h5, .onnx or the folder of a SavedModel")


def _check_shapes(network: FloatNetwork, info: ModelInfo, path: Path) -> None:
    found, expected = network.output_shapes, output_shapes(network.description)
    for role, shape in expected.items():
        if found[role] == shape:
            continue
        if found[role][:-1] == shape[:-1] and role != "boxes":
            raise InputError(
                f"{path} gives {found[role][-1]} {role} and there are {len(info.labels)} labels",
                "name each class in labels, in the order of the output",
            )
        raise InputError(f"{path} gives {role} {found[role]}, its TOML file asks for {shape}", _shape_mend(role))


def _shape_mend(role: str) -> str:
    return "name the output that has them" if role == "probabilities" else "anchors or the names of the outputs differ"


def _check_answers(network: FloatNetwork, path: Path) -> None:
    """Run it once: wrong activations show in the values."""
    pictures = np.random.default_rng(0).integers(0, 256, (2, *network.input_shape[1:])).astype(np.uint8)
    answers = network(pictures)
    for role, values in answers.items():
        if not np.isfinite(values).all():
            raise InputError(f"{path} gives {role} that are not finite", "look at mean, scale and the weights")
        if role != "boxes" and not (values.min() >= -_SUM_TOLERANCE and values.max() <= 1 + _SUM_TOLERANCE):
            wanted = "softmax" if isinstance(network.description, ClassifierDescription) else "sigmoid"
            raise InputError(
                f"{path} gives {role} from {values.min():.3g} to {values.max():.3g}, not within 0 to 1",
                f'when these are logits, set activation = "{wanted}" in outputs.{role}',
            )
    if isinstance(network.description, ClassifierDescription):
        sums = answers["probabilities"].sum(axis=1)
        if np.abs(sums - 1).max() > _SUM_TOLERANCE:
            raise InputError(
                f"{path} gives probabilities that sum to {sums[np.abs(sums - 1).argmax()]:.3g}, not to 1",
                "a classifier tells one class from the others: give an output behind a softmax, or its logits",
            )
