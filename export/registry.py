"""Which formats can be written, in which precisions, and the module that does it."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from edgegal.bundle.manifest import Format, Precision
from edgegal.errors import InputError, MissingPartError
from edgegal.export.calibration import Calibration
from edgegal.export.network import FloatNetwork

__all__ = ["EXPORTERS", "Converted", "Converter", "Exporter", "Order", "exporter"]


@dataclass(frozen=True)
class Order:
    """What an exporter is asked to write.

    Attributes
    ----------
    network
        The float network.
    precision
        Precision wanted.
    calibration
        Pictures for the ranges of activations; None for precisions that need none.
    keep_float
        Operations of an integer file to leave in float, by the names that its format gives them.
    integer_io
        Whether an integer file takes and gives integers with their scale, where the format can; else floats.
    target
        Path to write to, without suffix; its folder exists.
    metadata
        JSON to embed in the file.
    """

    network: FloatNetwork
    precision: Precision
    calibration: Calibration | None
    target: Path
    metadata: str
    keep_float: tuple[str, ...] = ()
    integer_io: bool = False

    def __post_init__(self) -> None:
        if self.keep_float and self.precision in ("fp32", "fp16"):
            raise InputError(f"{self.precision} files are float: there is nothing to keep in float", "leave it out")

    @property
    def ranges(self) -> Calibration:
        """The calibration of an integer precision."""
        if self.calibration is None:
            raise InputError(f"{self.precision} needs calibration pictures", "name a dataset with --calibration")
        return self.calibration


@dataclass(frozen=True)
class Converted:
    """What an exporter wrote: the file to load first, then those that must lie beside it; and how it was quantised."""

    files: tuple[Path, ...]
    recipe: str


class Converter(Protocol):
    """What a module named in `EXPORTERS` offers."""

    def convert(self, order: Order) -> Converted:
        """Write the file or files; their output tensors bear the names of the network's roles."""
        ...


@dataclass(frozen=True)
class Exporter:
    """One file format.

    Attributes
    ----------
    format
        Name in manifests and on the command line.
    precisions
        What it can write.
    module
        Module with the function `Converter.convert`, imported at first use.
    checked_by
        The format whose runtime runs the first file for parity: this one, unless devices alone can run it.
    selective
        Precisions in which it can leave operations in float.
    """

    format: Format
    precisions: tuple[Precision, ...]
    module: str
    checked_by: Format
    selective: tuple[Precision, ...]

    def load(self) -> Converter:
        """The converter; `MissingPartError` when a package it needs is absent."""
        try:
            return cast(Converter, importlib.import_module(self.module))
        except ImportError as error:
            raise MissingPartError(
                f"exporting to {self.format} does not work here: {error}", "pip install 'edgegal[export]'"
            ) from error


EXPORTERS: Mapping[str, Exporter] = {
    e.format: e
    for e in (
        Exporter(
            "tflite",
            ("fp32", "fp16", "dynamic", "int8", "int16x8"),
            "edgegal.export.tflite",
            checked_by="tflite",
            # The converter's debugger, which can, writes int8 whatever else is asked.
            selective=("int8",),
        ),
        Exporter(
            "onnx",
            ("fp32", "fp16", "dynamic", "int8"),
            "edgegal.export.onnx",
            checked_by="onnx",
            selective=("dynamic", "int8"),
        ),
        Exporter(
            "openvino",
            ("fp32", "fp16", "dynamic", "int8"),
            "edgegal.export.openvino",
            checked_by="openvino",
            selective=("dynamic", "int8"),
        ),
        # The graph that the engine is built from is ONNX. Engines are built on the device, and fit no other.
        Exporter("tensorrt", ("fp16", "int8"), "edgegal.export.tensorrt", checked_by="onnx", selective=("int8",)),
    )
}


def exporter(name: str) -> Exporter:
    """The exporter of a format; `InputError` naming the known ones otherwise."""
    try:
        return EXPORTERS[name]
    except KeyError:
        raise InputError(f"unknown format {name!r}", f"use: {', '.join(EXPORTERS)}") from None
