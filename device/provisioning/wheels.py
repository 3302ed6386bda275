"""edgegal as a wheel, for the card."""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from edgegal.errors import InputError, MissingPartError

__all__ = ["build_wheel", "read_wheels"]

_SOURCES = ("edgegal", "tuner", "export", "benchmarks", "device", "pyproject.toml", "README.md", "LICENSE")


def read_wheels(paths: Sequence[Path]) -> dict[str, bytes]:
    """File name to contents of wheels.

    Raises
    ------
    InputError
        One is missing or no wheel, or none is edgegal's own.
    """
    for path in paths:
        if path.suffix != ".whl" or not zipfile.is_zipfile(path):
            raise InputError(f"{path} is not a wheel", "make one in a checkout: pip wheel --no-deps .")
    if sum(path.name.startswith("edgegal-") for path in paths) != 1:
        raise InputError("exactly one of the wheels must be edgegal's own", "make one in a checkout: pip wheel .")
    return {path.name: path.read_bytes() for path in paths}


def build_wheel(checkout: Path) -> tuple[str, bytes]:
    """File name and contents of the wheel of a checkout; the checkout is not written to.

    Raises
    ------
    MissingPartError
        The folder is no checkout, or pip cannot build here.
    """
    mend = "give --wheel FILE, made in a checkout with: pip wheel --no-deps ."
    if not (checkout / "pyproject.toml").is_file():
        raise MissingPartError("this edgegal does not run from a checkout, so there is no source to build", mend)
    # A copy: setuptools would leave its build folder behind, and take up what stands in an old one.
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.mkdir()
        for name in _SOURCES:
            origin = checkout / name
            if origin.is_dir():
                shutil.copytree(origin, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(origin, source / name)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, str(source)]
        if importlib.util.find_spec("setuptools") is not None:
            command.append("--no-build-isolation")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            last = (done.stderr.strip() or "no word from pip").splitlines()[-1]
            raise MissingPartError(f"pip cannot build the wheel: {last}", mend)
        return wheels[0].name, wheels[0].read_bytes()
