"""The floors of the house: who may import whom, and what the device path never loads.

The first half reads the source of every module, imports inside functions included; the second starts each verb of the
device path for real and looks at what its process loaded.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent

# Import name of each folder that holds packages, as [tool.setuptools.package-dir] maps them.
FOLDERS = {
    "edgegal": "edgegal",
    "benchmarks": "edgegal.benchmarks",
    "device": "edgegal.device",
    "export": "edgegal.export",
    "tuner": "edgegal.tuner",
}

CORE = {
    *("anchors", "bundle", "detections", "errors", "frames", "inference", "labels", "machine", "metrics"),
    *("preprocess", "runtimes", "settings", "sky", "slicing", "zoo"),
}

# What a floor may import besides itself and the core. The command line stands on top and may import all.
ABOVE: Mapping[str, set[str]] = {
    "benchmarks": {"reports"},
    "data": set(),
    "demo": {"benchmarks", "device", "reports"},
    "device": set(),
    "doctor": {"device"},
    "explain": {"models"},
    "export": {"benchmarks", "data", "models", "training"},
    "models": set(),
    "reports": set(),
    "training": {"data", "models", "reports"},
    "tuner": {"data", "models", "training"},
}
TOP = {"cli", "__main__"}

# Floors that run on the small computer at the telescope, and what never loads there.
DEVICE_PATH = {*CORE, "benchmarks", "demo", "device", "doctor", "edgegal"}
HEAVY = {
    *("jax", "keras", "keras_tuner", "matplotlib", "nncf", "onnx", "scipy", "sklearn", "tensorboard", "tensorflow"),
    *("tf2onnx", "torch"),
}
EXCEPTIONS: Mapping[tuple[str, str], str] = {
    ("edgegal.runtimes.keras", "keras"): "the float reference; imported only when a .keras file is loaded",
    ("edgegal.benchmarks.layers.onnx", "onnx"): "rewrites a graph to look into it; loaded for --per-layer only",
    ("edgegal.doctor.probe", "keras"): "tries the runtime keras in a process of its own, where it is installed",
}


def modules() -> Iterator[tuple[str, Path]]:
    """Import name and file of every module."""
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            inner = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join((package, *(inner[:-1] if inner[-1] == "__init__" else inner))), path


MODULES = dict(modules())


def floor(module: str) -> str:
    """The room of ``edgegal.ROOM...``; ``edgegal`` for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def imports(path: Path, top_level_only: bool = False) -> Iterator[str]:
    """Every module a file imports, as a full name; ``from a import b`` gives ``a.b`` where that is a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"), path.name)
    nodes = (n for s in tree.body if not _for_types_only(s) for n in ([s] if top_level_only else ast.walk(s)))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import in line {node.lineno}"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module
        elif isinstance(node, ast.Call) and _imports_by_name(node):
            yield str(node.args[0].value)  # type: ignore[attr-defined]


def _for_types_only(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"


def _imports_by_name(call: ast.Call) -> bool:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    return name in ("import_module", "__import__") and bool(call.args) and isinstance(call.args[0], ast.Constant)


@pytest.mark.host
def test_every_module_stands_on_a_floor() -> None:
    known = CORE | set(ABOVE) | TOP | {"edgegal"}
    assert {floor(m) for m in MODULES} <= known


@pytest.mark.host
@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_its_own_floor_and_those_below(module: str) -> None:
    here = floor(module)
    if here in TOP:
        return
    allowed = CORE | {"edgegal"} | ABOVE.get(here, set()) | ({here} - CORE)
    wanted = {floor(name) for name in imports(MODULES[module]) if name.split(".")[0] == "edgegal"}
    assert wanted <= allowed


@pytest.mark.host
@pytest.mark.parametrize("module", [m for m in MODULES if floor(m) in DEVICE_PATH])
def test_the_device_path_names_no_heavy_package(module: str) -> None:
    wanted = {name.split(".")[0] for name in imports(MODULES[module])}
    excused = {package for (excused_module, package) in EXCEPTIONS if excused_module == module}
    assert wanted & HEAVY <= excused


@pytest.mark.host
def test_every_exception_is_needed() -> None:
    for module, package in EXCEPTIONS:
        assert package in {name.split(".")[0] for name in imports(MODULES[module])}


@pytest.mark.host
@pytest.mark.parametrize("module", [m for m in MODULES if floor(m) == "cli"])
def test_a_verb_imports_its_work_only_when_called(module: str) -> None:
    outside = {
        name
        for name in imports(MODULES[module], top_level_only=True)
        if name.split(".")[0] not in {*sys.stdlib_module_names, "typer"}
    }
    light = {"edgegal", "edgegal.errors"}
    assert {name for name in outside if not name.startswith("edgegal.cli")} <= light


# Writes the names of all loaded modules when the process ends, whichever way it does.
_WATCHED = """
import atexit, json, pathlib, sys
loaded = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: loaded.write_text(json.dumps(sorted(sys.modules))))
from edgegal.cli import main
main()
"""


def run_verb(words: list[str], folder: Path) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run ``edgegal WORDS`` in its own process; what it said, and the top-level packages it loaded."""
    loaded = folder / "modules.json"
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED, str(loaded), *words],
        cwd=folder,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done, {name.split(".")[0] for name in json.loads(loaded.read_text())}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small starry picture and a Raspberry Pi boot partition's files."""
    rng = np.random.default_rng(5)
    picture = rng.normal(30, 4, (300, 400, 3))
    picture[140:170, 190:220] += 90
    cv2.imwrite(str(tmp_path / "sky.png"), np.clip(picture, 0, 255).astype(np.uint8))
    boot = tmp_path / "boot"
    boot.mkdir()
    (boot / "config.txt").write_text("arm_64bit=1\n")
    (boot / "cmdline.txt").write_text("console=tty1 root=PARTUUID=1-02 rootwait\n")
    (boot / "kernel8.img").write_bytes(b"\0")
    (boot / "issue.txt").write_text("Raspberry Pi reference 2024-11-19\nGenerated using pi-gen, stage2\n")
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1xq8kKqz5yY9mR1m3o7wq8 me@desk\n")
    return tmp_path


VERBS = {
    "help": ["--help"],
    "version": ["--version"],
    "bundle": ["bundle", "info"],
    "run": ["run", "sky.png", "--bundle", "galaxies", "--out", "out"],
    "bench": ["bench", "galaxies", "--precision", "int8", "--samples", "2", "--seconds", "0", "--frames", "1"],
    "service": ["service", "--help"],
    "calibrate": ["calibrate", "--help"],
    "flash": ["flash", "--boot", "boot", "--hostname", "scope", "--user", "me", "--ssh-key", "key.pub", "--dry-run"],
    "demo": ["demo", "--out", "out"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_of_the_device_path_runs_and_loads_nothing_heavy(verb: str, folder: Path) -> None:
    done, loaded = run_verb(VERBS[verb], folder)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "edgegal" in loaded
    assert not loaded & HEAVY


def test_the_doctor_prints_one_document_and_loads_nothing_heavy(tmp_path: Path) -> None:
    done, loaded = run_verb(["doctor", "--json"], tmp_path)
    document = json.loads(done.stdout)
    assert document["can_infer"] is (done.returncode == 0) is True
    assert {f["topic"] for f in document["findings"]} == {"software", "system", "accelerator", "camera", "runtime"}
    assert all(f["mend"] for f in document["findings"] if f["state"] == "trouble")
    assert "Traceback" not in done.stderr
    assert "edgegal" in loaded
    assert not loaded & HEAVY


def test_help_loads_neither_numpy_nor_opencv(folder: Path) -> None:
    _, loaded = run_verb(["--help"], folder)
    assert not loaded & {"numpy", "cv2", "pydantic"}
