"""Which runtimes exist, which are installed, and which one to take for a file format."""

import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgegal.errors import InputError, MissingPartError
from edgegal.runtimes.base import RuntimeAdapter

__all__ = ["RUNTIMES", "RuntimeEntry", "choose", "installed", "load"]


@dataclass(frozen=True)
class RuntimeEntry:
    """A runtime edgegal can drive.

    Attributes
    ----------
    name
        What ``--runtime`` takes.
    format
        The file format it runs.
    package
        Import name whose presence means the runtime is installed.
    adapter
        ``module:class`` of the adapter, imported when a file is loaded.
    install
        Command that installs it.
    """

    name: str
    format: str
    package: str
    adapter: str
    install: str


RUNTIMES: Mapping[str, RuntimeEntry] = {
    entry.name: entry
    for entry in (
        # In order of preference; the figures behind it stand in docs/decisions/0010-order-of-runtimes.md.
        RuntimeEntry(
            "litert",
            "tflite",
            "ai_edge_litert",
            "edgegal.runtimes.tflite:LiteRTAdapter",
            "pip install 'edgegal[tflite]'",
        ),
        RuntimeEntry(
            "tflite-runtime",
            "tflite",
            "tflite_runtime",
            "edgegal.runtimes.tflite:TFLiteRuntimeAdapter",
            "pip install 'edgegal[tflite-legacy]' on Python below 3.12",
        ),
        RuntimeEntry(
            "openvino",
            "openvino",
            "openvino",
            "edgegal.runtimes.openvino:OpenVINOAdapter",
            "pip install 'edgegal[openvino]'",
        ),
        RuntimeEntry(
            "onnxruntime",
            "onnx",
            "onnxruntime",
            "edgegal.runtimes.onnxruntime:OnnxRuntimeAdapter",
            "pip install 'edgegal[onnx]'",
        ),
        RuntimeEntry("keras", "keras", "keras", "edgegal.runtimes.keras:KerasAdapter", "pip install 'edgegal[train]'"),
    )
}


def entry(name: str) -> RuntimeEntry:
    """The registry entry called `name`; `InputError` naming the known ones otherwise."""
    try:
        return RUNTIMES[name]
    except KeyError:
        raise InputError(f"unknown runtime {name!r}", f"use one of: {', '.join(RUNTIMES)}") from None


def installed() -> tuple[RuntimeEntry, ...]:
    """Runtimes whose package is present, in order of preference. Presence is no proof: ``edgegal doctor`` infers."""
    return tuple(e for e in RUNTIMES.values() if importlib.util.find_spec(e.package) is not None)


def choose(formats: Iterable[str], name: str | None = None) -> RuntimeEntry:
    """The runtime to use for one of `formats`.

    Parameters
    ----------
    formats
        File formats on offer.
    name
        A runtime the user asked for; the best one installed when None.

    Raises
    ------
    InputError
        The name is unknown, or the runtime cannot run any of the formats.
    MissingPartError
        The runtime, or any runtime at all for the formats, is not installed.
    """
    offered = set(formats)
    present = installed()
    if name is not None:
        asked = entry(name)
        if asked.format not in offered:
            raise InputError(
                f"runtime {name} runs {asked.format} files, and there are only {', '.join(sorted(offered))}"
            )
        if asked not in present:
            raise MissingPartError(f"runtime {name} is not installed", asked.install)
        return asked
    for candidate in present:
        if candidate.format in offered:
            return candidate
    lines = [e.install for e in RUNTIMES.values() if e.format in offered]
    raise MissingPartError(f"no runtime for {', '.join(sorted(offered))} files is installed", " or ".join(lines))


def load(runtime: RuntimeEntry, path: Path, threads: int = 1) -> RuntimeAdapter:
    """Load a model file.

    Raises
    ------
    InputError
        The file is missing, is not a model of the runtime's format, or takes something else than one float picture.
    MissingPartError
        The runtime's package is absent or does not work here.
    """
    if threads < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    if not path.is_file():
        raise InputError(f"no model file {path}")
    module_name, class_name = runtime.adapter.split(":")
    module = importlib.import_module(module_name)
    adapter: RuntimeAdapter = getattr(module, class_name)(path, threads)
    if len(adapter.inputs) != 1:
        raise InputError(f"{path} has {len(adapter.inputs)} inputs; edgegal runs graphs of one")
    picture = adapter.inputs[0]
    if picture.dtype != "float32" and picture.scale is None:
        raise InputError(f"{path} takes {picture.dtype}; edgegal feeds float32 or quantised integers with their scale")
    return adapter
