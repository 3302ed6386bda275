"""The command line: one thin module per verb, imported only when its verb is called.

``--help`` reads the table below and nothing else, so it costs no more than the parser itself.
"""

import contextlib
import importlib
import logging
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from edgegal import __version__
from edgegal.errors import EdgegalError

__all__ = ["app", "main"]

VERBS: Mapping[str, str] = {
    "demo": "The whole main job on the shipped bundle and embedded sky: minutes, no network.",
    "run": "Stream frames through detection, then classification.",
    "service": "Let a run start with the computer: install, status, logs, uninstall.",
    "calibrate": "Make master bias, dark and flat frames of many exposures.",
    "bench": "Measure latency per stage, format, precision and runtime on this machine.",
    "doctor": "What is installed, which runtimes really infer, and what to do about the rest.",
    "bundle": "Look into a bundle, verify it, pack it.",
    "data": "Datasets: list, download, information, splits, contact sheets, conversion, simulated sky.",
    "train": "Train a classifier or a detector.",
    "tune": "Search for a compact classifier with Keras Tuner.",
    "export": "Quantise and convert a trained network to TFLite, ONNX and OpenVINO, with parity.",
    "compare": "Compare every quantised variant with float; exit 1 when one lost too much.",
    "evaluate": "Measure how well detectors find galaxies, side by side with each other and with sep.",
    "explain": "Show what a classifier looked at.",
    "config": "Show or check the settings file.",
    "flash": "Prepare a Raspberry Pi boot partition that installs edgegal at first boot.",
}


_EXTRAS: Mapping[str, str] = {
    **dict.fromkeys(("astropy", "fastapi", "jinja2", "uvicorn"), "device"),
    **dict.fromkeys(
        (
            *("PIL", "galsim", "h5py", "keras", "keras_tuner", "matplotlib", "pooch", "requests", "scipy", "sep"),
            *("sklearn", "tensorflow", "yaml"),
        ),
        "train",
    ),
    **dict.fromkeys(("nncf", "onnx", "tf2onnx"), "export"),
    "skimage": "demo",
}
"""Which extra brings an optional package."""


class _LazyGroup(TyperGroup):
    """Commands from `VERBS`; module ``edgegal.cli.<verb>`` defines ``app`` and is imported when its verb is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        module: Any = importlib.import_module(f"edgegal.cli.{cmd_name}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_LazyGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgegal {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log what is being done."),
) -> None:
    """Galaxy detection and morphology classification on the computer at the telescope."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    0 fine, 1 a gate failed, 2 bad usage or input, 3 a needed part is missing, 130 interrupted. ``EDGEGAL_DEBUG=1``
    shows the traceback of an error instead of its one line.

    Parameters
    ----------
    arguments
        What to do; None for the command line of this process, which then ends here whatever threads are left.
    """
    try:
        _obey(arguments)
    except SystemExit as ended:
        ours = arguments is None  # The process's own command line: whoever calls with another goes on afterwards.
        if ours and any(thread.name.startswith("edgegal-") for thread in threading.enumerate()):
            # A part of a run that hangs in a library brings the process down when it comes back to an interpreter that
            # is ending. What had to be written is.
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
        raise


def _obey(arguments: list[str] | None) -> NoReturn:
    try:
        app(args=arguments)
    except EdgegalError as error:
        if os.environ.get("EDGEGAL_DEBUG"):
            raise
        _say(f"error: {error.message}", error.mend)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "edgegal" or os.environ.get("EDGEGAL_DEBUG"):
            raise
        _say(f"error: this needs the package {package}", f"pip install 'edgegal[{_EXTRAS.get(package, 'all')}]'")
        sys.exit(3)
    except MemoryError as error:
        if os.environ.get("EDGEGAL_DEBUG"):
            raise
        _say(f"error: not enough memory: {error}", "give smaller frames")
        sys.exit(2)
    except OSError as error:
        if os.environ.get("EDGEGAL_DEBUG"):
            raise
        _say(f"error: {error.filename or 'system'}: {error.strerror or error}")
        sys.exit(2)
    sys.exit(0)


def _say(line: str, mend: str = "") -> None:
    typer.echo(f"edgegal: {line}", err=True)
    if mend:
        typer.echo(f"  mend: {mend}", err=True)
