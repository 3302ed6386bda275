"""Write the pin files: what pip resolves today for each environment, on each Python, as one file with markers.

Run by ``make pins``. Nothing is installed; versions only, no addresses, so the files hold for any index or mirror.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["main", "merge"]

ROOT = Path(__file__).resolve().parent.parent

ENVIRONMENTS: Mapping[str, str] = {
    "device": "demo,tflite,test",
    "host": "all,dev",
    "legacy": "demo,tflite-legacy,test",
}
"""Pin file to the extras of edgegal that it covers."""

LEGACY_BELOW = (3, 12)
"""tflite-runtime has no wheel for this Python and later."""

# Builds edgegal itself; pinned too, since the environments build without isolation.
BUILD = "setuptools>=77"


def resolve(python: Path, extras: str) -> dict[str, str]:
    """Version of each package that pip would install for `extras` on one Python, edgegal itself left out."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        inner = Path(folder) / "bin" / "python"
        pip = [inner, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--upgrade", "pip"], check=True)
        report = Path(folder) / "report.json"
        wanted = [f"{ROOT}[{extras}]", BUILD]
        subprocess.run([*pip, "install", "--dry-run", "--ignore-installed", "--report", report, *wanted], check=True)
        found = json.loads(report.read_text())["install"]
    versions = {item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"] for item in found}
    del versions["edgegal"]
    return versions


def merge(resolved: Mapping[tuple[int, int], Mapping[str, str]]) -> list[str]:
    """Constraint lines that give every Python the versions resolved for it.

    A package that resolves alike everywhere gets one line; otherwise one line per run of Pythons with the same
    version, told apart by ``python_version``. A Python that does not need the package puts no bound on it.
    """
    lines = []
    for name in sorted({name for versions in resolved.values() for name in versions}):
        runs: list[tuple[tuple[int, int], str]] = []
        for python in sorted(resolved):
            version = resolved[python].get(name)
            if version is not None and (not runs or runs[-1][1] != version):
                runs.append((python, version))
        for i, (first, version) in enumerate(runs):
            bounds = []
            if i > 0:
                bounds.append(f"python_version >= '{first[0]}.{first[1]}'")
            if i + 1 < len(runs):
                following = runs[i + 1][0]
                bounds.append(f"python_version < '{following[0]}.{following[1]}'")
            lines.append(f"{name}=={version}" + (f"; {' and '.join(bounds)}" if bounds else ""))
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Resolve every environment on every Python given and write ``constraints/*.txt``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="+", type=Path, help="Interpreters to pin for.")
    parser.add_argument("--only", choices=sorted(ENVIRONMENTS), help="Pin one environment.")
    options = parser.parse_args(arguments)
    for name, extras in ENVIRONMENTS.items():
        if options.only not in (None, name):
            continue
        resolved = {}
        for python in options.pythons:
            ask = "import sys; print(*sys.version_info[:2])"
            said = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.split()
            version = (int(said[0]), int(said[1]))
            if name == "legacy" and version >= LEGACY_BELOW:
                continue
            sys.stderr.write(f"{name} on Python {version[0]}.{version[1]}\n")
            resolved[version] = resolve(python, extras)
        pythons = ", ".join(f"{major}.{minor}" for major, minor in sorted(resolved))
        head = f"# What edgegal[{extras}] resolves to on Python {pythons}. Written by `make pins`; do not edit."
        (ROOT / "constraints" / f"{name}.txt").write_text("\n".join([head, *merge(resolved)]) + "\n")


if __name__ == "__main__":
    main()
