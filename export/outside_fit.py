"""Where a model from outside and the TOML file that describes it must agree."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeAlias

from pydantic import ValidationError

from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription
from edgegal.errors import InputError
from edgegal.export.model_info import Activation, ModelInfo, Output

__all__ = ["OpenShape", "chosen_outputs", "described", "one_input", "picture_size"]

OpenShape: TypeAlias = tuple[int | None, ...]
"""A shape, batch first, with None for each size left open."""


def one_input(inputs: Mapping[str, OpenShape], path: Path) -> str:
    """Name of the only input."""
    if len(inputs) != 1:
        raise InputError(
            f"{path} has {len(inputs)} inputs: {', '.join(inputs)}", "give a model that takes one picture and no more"
        )
    return next(iter(inputs))


def picture_size(shape: OpenShape, info: ModelInfo, path: Path) -> int:
    """Side of the square picture that an input of `shape` takes, the size of `info` where the model leaves it open."""
    layout = info.input.layout
    shown = f"({', '.join('?' if side is None else str(side) for side in shape)})"
    if len(shape) != 4:
        raise InputError(f"{path} takes an input of shape {shown}, no batch of pictures {layout}")
    sides, channels = (shape[1:3], shape[3]) if layout == "nhwc" else (shape[2:], shape[1])
    if channels not in (None, info.input.channels):
        other = "nchw" if layout == "nhwc" else "nhwc"
        turned = shape[1] if layout == "nhwc" else shape[3]
        mend = f'set layout = "{other}" in input' if turned == info.input.channels else "set colour in input"
        raise InputError(f"{path} takes {shown}: no {info.input.channels} channels in the layout {layout}", mend)
    if shape[0] not in (None, 1):
        raise InputError(f"{path} takes batches of {shape[0]}", "save it with an open batch, or one of 1")
    known = {side for side in sides if side is not None}
    if len(known) > 1:
        raise InputError(f"{path} takes {shown}: tiles and crops are square")
    if not known and info.input.size is None:
        raise InputError(f"{path} takes pictures of any size", "set size in input: the side it was trained on")
    size = info.input.size or known.pop()
    if known - {size}:
        raise InputError(f"{path} takes {shown}, and size in input is {size}", "leave size out")
    return size


def chosen_outputs(names: Collection[str], info: ModelInfo, path: Path) -> dict[str, tuple[str, Activation]]:
    """For each role the name of the output that has it, and what is still to be applied to its values."""
    chosen = {}
    for role in type(info.outputs).model_fields:
        output: Output = getattr(info.outputs, role)
        name = next(iter(names)) if output.name is None and len(names) == 1 else output.name
        if name is None or name not in names:
            what = f"has {len(names)} outputs" if name is None else f"has no output {name!r}"
            raise InputError(f"{path} {what}", f"set name in outputs.{role} to one of: {', '.join(names)}")
        chosen[role] = name, output.activation
    return chosen


def described(
    info: ModelInfo, size: int, parameters: int, versions: dict[str, str], path: Path
) -> ClassifierDescription | DetectorDescription:
    """The description of the model at `path` with `parameters` weights, written with `versions`."""
    try:
        return info.description(size, parameters, versions, path)
    except ValidationError as error:
        raise InputError(f"{path}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
