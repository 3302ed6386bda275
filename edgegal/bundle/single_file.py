"""A model file alone as a bundle: what the manifest says of a variant, read from the file itself.

`edgegal export` puts the description of a network into every file it writes. From that and from the tensors the
runtime finds, a bundle of one variant is made in a temporary folder. Nothing is trusted: the metadata must fit the
manifest's schema, and the tensors what it says. What the file does not carry stays unsaid: parity, accuracy, licence.
"""

import atexit
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from edgegal import runtimes
from edgegal.bundle.manifest import (
    ClassifierDescription,
    ClassifierStage,
    DetectorDescription,
    DetectorStage,
    Format,
    Manifest,
    Precision,
    Quantization,
    StageName,
    Tensor,
    Variant,
)
from edgegal.bundle.outputs import output_shapes
from edgegal.bundle.store import Bundle, file_record, save
from edgegal.errors import InputError
from edgegal.runtimes import RuntimeAdapter, TensorInfo
from edgegal.runtimes.tflite import read_embedded

__all__ = ["FORMATS", "open_file"]

FORMATS: Mapping[str, Format] = {".tflite": "tflite", ".onnx": "onnx", ".xml": "openvino"}
"""Format of a model file by its suffix."""

# What a bundle may hold at most.
_MAX_BYTES = 512 * 2**20


class _Metadata(BaseModel):
    """What `edgegal export` writes into a file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    stage: StageName
    precision: Precision
    description: ClassifierDescription | DetectorDescription
    exported_with: dict[str, str]
    quantization: Quantization | None = None


def open_file(path: Path) -> Bundle:
    """Make a bundle of one model file: ``.tflite``, ``.onnx``, or ``.xml`` with its ``.bin`` beside it.

    It lies in a temporary folder that goes when the process ends.

    Raises
    ------
    InputError
        There is no such file, it is no model, or it carries no description that fits it.
    MissingPartError
        No runtime for its format is installed.
    """
    format, sources = _format(path), _sources(path)
    adapter, metadata = _read(path, format)
    folder = Path(tempfile.mkdtemp(prefix="edgegal-file-"))
    try:
        files = _copied(sources, folder, _name(path, metadata))
        variant = _variant(format, metadata, adapter, files, folder)
        bundle = save(_manifest(path, metadata, variant), folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Bundle(folder, bundle.manifest, path)


def _format(path: Path) -> Format:
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise InputError(f"{path} is no model file", f"give one that ends in {', '.join(FORMATS)}") from None


def _sources(path: Path) -> list[Path]:
    """The file and what it needs beside it."""
    sources = [path, path.with_suffix(".bin")] if _format(path) == "openvino" else [path]
    for source in sources:
        if not source.is_file():
            raise InputError(f"no file {source}", "" if source == path else f"put it beside {path}: it has the weights")
        if source.stat().st_size > _MAX_BYTES:
            raise InputError(f"{source} is larger than any compact network")
    return sources


def _read(path: Path, format: Format) -> tuple[RuntimeAdapter, _Metadata]:
    # tflite-runtime runs a file unchecked: one that carries nothing is turned away before.
    if format == "tflite" and read_embedded(path) is None:
        raise _undescribed(path)
    adapter = runtimes.load(runtimes.choose({format}), path)
    text = adapter.embedded
    if text is None:
        raise _undescribed(path)
    metadata = _parsed(text, path)
    _check(adapter, metadata, path)
    return adapter, metadata


def _copied(sources: list[Path], folder: Path, name: str) -> list[Path]:
    """Copies, under a name that a manifest takes: what is hashed is what is run, whatever becomes of the originals."""
    copies = []
    for source in sources:
        try:
            copies.append(Path(shutil.copyfile(source, folder / f"{name}{source.suffix.lower()}")))
        except OSError as error:
            raise InputError(f"{source} cannot be copied to {folder.parent}: {error.strerror or error}") from error
    return copies


def _undescribed(path: Path) -> InputError:
    return InputError(
        f"{path} does not say what it is: it carries no description by edgegal",
        "open the bundle it belongs to, or export it again: edgegal export",
    )


def _parsed(text: str, path: Path) -> _Metadata:
    try:
        # Not from the text: pydantic's own parser takes NaN, which no manifest may hold.
        metadata = _Metadata.model_validate(json.loads(text, parse_constant=_no_constant))
    except ValidationError as error:
        raise InputError(f"the metadata in {path}: {_first(error)}", "export it again with this version") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"the metadata in {path} is not JSON: {error}", "get the file again") from error
    expected: StageName = "detector" if isinstance(metadata.description, DetectorDescription) else "classifier"
    if metadata.stage != expected:
        raise InputError(f"the metadata in {path} describes a {expected} and calls it a {metadata.stage}")
    return metadata


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


def _first(error: ValidationError) -> str:
    """The first thing wrong, and where."""
    first = error.errors(include_input=False)[0]
    where, what = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def _check(adapter: RuntimeAdapter, metadata: _Metadata, path: Path) -> None:
    """The tensors of the file are those of a network of this description."""
    preprocess = metadata.description.preprocess
    expected = {"input": (1, preprocess.height, preprocess.width, 3), **output_shapes(metadata.description)}
    found = {"input": adapter.inputs[0].single, **{tensor.name: tensor.single for tensor in adapter.outputs}}
    for role, shape in expected.items():
        if found.get(role) != shape:
            raise InputError(
                f"{path} has {role} {found.get(role, 'nowhere')}, its own metadata makes it {shape}",
                "export it again: edgegal export",
            )


def _variant(format: Format, metadata: _Metadata, adapter: RuntimeAdapter, files: list[Path], folder: Path) -> Variant:
    integers = adapter.inputs[0].scale is not None
    roles = output_shapes(metadata.description)
    return Variant(
        name=f"{format}-{metadata.precision}{'-io' if integers else ''}",
        format=format,
        precision=metadata.precision,
        files=tuple(file_record(folder, file) for file in files),
        inputs=(_tensor("input", adapter.inputs[0]),),
        outputs=tuple(_tensor(info.name, info) for info in adapter.outputs if info.name in roles),
        quantization=metadata.quantization,
    )


def _tensor(role: str, info: TensorInfo) -> Tensor:
    return Tensor(
        role=role,
        name=info.name,
        shape=info.shape,
        dtype=info.dtype,
        scale=info.scale,
        zero_point=info.zero_point,
    )


def _name(path: Path, metadata: _Metadata) -> str:
    """What the bundle is called: the file's name in the letters of a manifest."""
    return re.sub(r"[^a-z0-9.-]+", "-", path.stem.lower()).strip(".-") or metadata.stage


def _manifest(path: Path, metadata: _Metadata, variant: Variant) -> Manifest:
    description = metadata.description
    values = {field: getattr(description, field) for field in type(description).model_fields}
    kind = DetectorStage if isinstance(description, DetectorDescription) else ClassifierStage
    return Manifest(
        name=_name(path, metadata),
        version="0",
        created=datetime.fromtimestamp(path.stat().st_mtime, timezone.utc),
        description=f"One {variant.format} file, described by its own metadata.",
        licence="not stated in the file",
        **{metadata.stage: kind(**values, variants=(variant,))},  # type: ignore[arg-type]
    )
