import json
import os
import subprocess
import sys

import pytest

from edgegal.errors import InputError
from edgegal.runtimes import RUNTIMES, choose, installed, load

DEVICE = ["litert", "tflite-runtime", "onnxruntime", "openvino"]
FORMATS = ["onnx", "openvino", "tflite"]

# Runs with some packages absent, as they are where nobody installed them: the finder does not find them.
ABSENT = """
import importlib.machinery, json, sys
hidden = set(sys.argv[1].split(","))
class Without(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in hidden else super().find_spec(name, path, target)
sys.meta_path = [Without if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
"""
REPORT = """
from edgegal.errors import EdgegalError
try:
    answer = {"result": task()}
except EdgegalError as error:
    answer = {"code": error.exit_code, "message": error.message, "mend": error.mend}
print(json.dumps(answer))
"""


def without(packages, task, folder=None):
    """What `task`, lines of Python ending in a return, answers in a process that lacks `packages`."""
    body = "def task():\n" + "".join(f"    {line}\n" for line in task.splitlines())
    environment = {**os.environ, "PYTHONPATH": str(folder)} if folder else None
    done = subprocess.run(
        [sys.executable, "-c", ABSENT + body + REPORT, packages],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def package_of(runtime):
    return RUNTIMES[runtime].package


EVERY_PACKAGE = ",".join(entry.package for entry in RUNTIMES.values())


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_absent_runtime_that_was_asked_for_is_exit_3_with_its_install_line(runtime):
    answer = without(
        package_of(runtime),
        f"from edgegal.runtimes import RUNTIMES, choose\n"
        f"return choose([RUNTIMES[{runtime!r}].format], {runtime!r}).name",
    )
    assert answer["code"] == 3
    assert answer["message"] == f"runtime {runtime} is not installed"
    assert answer["mend"].startswith("pip install 'edgegal[")


def test_no_runtime_at_all_is_exit_3_with_every_way_out():
    answer = without(EVERY_PACKAGE, f"from edgegal.runtimes import choose\nreturn choose({FORMATS}).name")
    assert answer["code"] == 3
    assert "onnx, openvino, tflite" in answer["message"]
    for extra in ("[tflite]", "[onnx]", "[openvino]"):
        assert extra in answer["mend"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_file_for_an_absent_runtime_is_exit_3(runtime, tmp_path):
    path = tmp_path / "model"
    path.touch()
    answer = without(
        package_of(runtime),
        f"from pathlib import Path; from edgegal.runtimes import RUNTIMES, load\n"
        f"return load(RUNTIMES[{runtime!r}], Path({str(path)!r})).name",
    )
    assert answer["code"] == 3
    assert f"runtime {runtime} does not work here" in answer["message"]


@pytest.mark.parametrize("runtime", DEVICE)
def test_a_runtime_whose_package_is_broken_is_exit_3(runtime, tmp_path):
    """Installed, and its shared library is not: found by name, fails at import."""
    package = tmp_path / package_of(runtime)
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('libgone.so.1: cannot open shared object file')\n")
    model = tmp_path / "model"
    model.touch()
    answer = without(
        "nothing",
        f"from pathlib import Path; from edgegal.runtimes import RUNTIMES, load\n"
        f"return load(RUNTIMES[{runtime!r}], Path({str(model)!r})).name",
        tmp_path,
    )
    assert answer["code"] == 3
    assert "libgone.so.1" in answer["message"]
    assert "pip install" in answer["mend"]


def test_looking_for_runtimes_imports_none():
    answer = without(
        "nothing",
        "import sys; from edgegal import runtimes; runtimes.installed()\n"
        "return sorted({e.package for e in runtimes.RUNTIMES.values()} & set(sys.modules))",
    )
    assert answer["result"] == []


@pytest.mark.parametrize("hidden", [[], ["litert"], ["litert", "tflite-runtime"], ["litert", "openvino"]])
def test_the_best_installed_runtime_is_taken(hidden):
    rest = [entry.name for entry in installed() if entry.name not in [*hidden, "keras"]]
    if not rest:
        pytest.skip("no other runtime is installed")
    packages = ",".join(package_of(name) for name in hidden) or "nothing"
    answer = without(packages, f"from edgegal.runtimes import choose\nreturn choose({FORMATS}).name")
    assert answer["result"] == rest[0]


def test_only_a_runtime_for_the_formats_on_offer_is_taken():
    for entry in installed():
        chosen = choose([entry.format])
        assert chosen.format == entry.format
        assert choose([*FORMATS, "keras"], entry.name) is entry


def test_an_unknown_runtime_is_exit_2_with_the_known_ones():
    with pytest.raises(InputError, match="unknown runtime 'tensorrt'") as error:
        choose(FORMATS, "tensorrt")
    assert error.value.exit_code == 2
    assert all(name in error.value.mend for name in RUNTIMES)


def test_a_runtime_that_cannot_run_what_is_there_is_exit_2():
    with pytest.raises(InputError, match=r"runtime onnxruntime runs onnx files, and there are only openvino, tflite"):
        choose(["tflite", "openvino"], "onnxruntime")


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(threads, tmp_path):
    with pytest.raises(InputError, match=f"threads must be at least 1, not {threads}"):
        load(RUNTIMES["litert"], tmp_path / "model", threads)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no model file .*gone\.tflite"):
        load(RUNTIMES["litert"], tmp_path / "gone.tflite")
