"""TensorRT: the graph keeps TensorRT's rules and answers as Keras, and the script builds whole engines or none.

There is no TensorRT where these tests run. A stand-in for ``trtexec`` shows what the script does with it.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegal import runtimes
from edgegal.errors import InputError
from edgegal.metrics.signal import compare
from edgegal.preprocess import network_input

pytestmark = pytest.mark.host

pytest.importorskip("keras")
onnx = pytest.importorskip("onnx")

from edgegal.export import EXPORTERS, Calibration  # noqa: E402
from edgegal.export.registry import Order  # noqa: E402

METADATA = '{"stage": "classifier", "note": "spiralé"}'
LEAST_SQNR = {"fp16": 45, "int8": 15}


@pytest.fixture(scope="module")
def write(classifier: Any, make_sky: Callable[[int, int], np.ndarray], tmp_path_factory: Any) -> Callable[..., Any]:
    """Writes the classifier in a precision, into a folder with a space in its name; each choice once."""
    calibration = Calibration(make_sky(16, 3), "sky", "train", 3)
    done: dict[Any, Any] = {}

    def written(precision: str, keep_float: tuple[str, ...] = ()) -> Any:
        if (precision, keep_float) not in done:
            target = tmp_path_factory.mktemp("tensor rt") / f"classifier-{precision}"
            order = Order(classifier, precision, calibration, target, METADATA, keep_float)
            done[precision, keep_float] = EXPORTERS["tensorrt"].load().convert(order)
        return done[precision, keep_float]

    return written


@pytest.mark.parametrize("precision", LEAST_SQNR)
def test_the_graph_answers_as_keras_in_the_runtime_that_checks_it(
    precision: str, classifier: Any, write: Callable[..., Any], make_sky: Callable[[int, int], np.ndarray]
) -> None:
    pictures = make_sky(6, 4)
    runtime = runtimes.choose({EXPORTERS["tensorrt"].checked_by})
    adapter = runtimes.load(runtime, write(precision).files[0])
    found = np.concatenate([adapter.infer(network_input(p))["probabilities"] for p in pictures])
    ratio = compare(classifier(pictures)["probabilities"], found).sqnr_db
    assert ratio is not None
    assert ratio > LEAST_SQNR[precision]


def test_scales_stand_in_the_graph_as_tensorrt_reads_them(write: Callable[..., Any]) -> None:
    model = onnx.load(write("int8").files[0])
    onnx.checker.check_model(model, full_check=True)
    graph = model.graph
    constants = {w.name: onnx.numpy_helper.to_array(w) for w in graph.initializer}
    pairs = [n for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert {(constants[n.input[2]].dtype.name, int(constants[n.input[2]].any())) for n in pairs} == {("int8", 0)}
    made_by = {name: n for n in graph.node for name in n.output}
    first, *others = (n for n in graph.node if n.op_type == "Conv")
    assert first.input[1] in constants, "the picture has no sign to spend a bit on"
    assert others
    for node in others:
        picture, weights = (made_by[name] for name in node.input[:2])
        assert picture.op_type == weights.op_type == "DequantizeLinear"
        assert constants[picture.input[1]].ndim == 0, "one scale for activations"
        channels = constants[made_by[weights.input[0]].input[0]].shape[0]
        assert constants[weights.input[1]].shape == (channels,), "a scale for each channel of weights"
        assert all(constants[bias].dtype == np.float32 for bias in node.input[2:])


def test_shapes_are_fixed(write: Callable[..., Any]) -> None:
    graph = onnx.load(write("int8").files[0]).graph
    for value in (*graph.input, *graph.output):
        assert all(axis.dim_value > 0 for axis in value.type.tensor_type.shape.dim)


def test_an_operation_is_kept_in_float(write: Callable[..., Any]) -> None:
    name = [n.name for n in onnx.load(write("fp16").files[0]).graph.node if n.op_type == "Conv"][1]
    graph = onnx.load(write("int8", (name,)).files[0]).graph
    node = next(n for n in graph.node if n.name == name)
    assert node.input[1] in {w.name for w in graph.initializer}
    with pytest.raises(InputError, match="tensorrt classifier has no operation 'nowhere'"):
        write("int8", ("nowhere",))


def test_the_graph_says_what_it_is_and_the_recipe_where_the_engine_is_built(write: Callable[..., Any]) -> None:
    converted = write("int8")
    assert {p.key: p.value for p in onnx.load(converted.files[0]).metadata_props} == {"edgegal": METADATA}
    assert [p.name for p in converted.files] == ["classifier-int8-tensorrt.onnx", "classifier-int8-tensorrt.sh"]
    assert "on the device" in converted.recipe


@pytest.mark.parametrize("checker", [["sh", "-n"], ["dash", "-n"], ["shellcheck"]])
def test_the_script_is_a_sound_shell_script(checker: list[str], write: Callable[..., Any]) -> None:
    if shutil.which(checker[0]) is None:
        pytest.skip(f"{checker[0]} is not installed")
    done = subprocess.run([*checker, write("int8").files[1]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def stand_in(folder: Path, body: str) -> Path:
    """A program called ``trtexec`` in a folder for PATH."""
    folder.mkdir()
    program = folder / "trtexec"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return folder


WORKS = 'for a; do case $a in --saveEngine=*) echo "$@" > "${a#--saveEngine=}" ;; esac; done'
FAILS = f"{WORKS}; echo 'out of memory' >&2; exit 7"


def run(script: Path, *arguments: str, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", script, *arguments], capture_output=True, text=True, env={"PATH": f"{path}:/usr/bin:/bin"}
    )


def test_the_script_builds_the_engine_beside_the_graph(write: Callable[..., Any], tmp_path: Path) -> None:
    graph, script = write("int8").files
    done = run(script, path=str(stand_in(tmp_path / "bin", WORKS)))
    engine = script.with_name("classifier-int8.engine")
    assert done.returncode == 0, done.stderr
    asked = engine.read_text()
    assert f"--onnx={graph}" in asked
    assert "--stronglyTyped" in asked
    assert "--int8" not in asked
    assert sorted(p.name for p in script.parent.iterdir()) == sorted([graph.name, script.name, engine.name])
    engine.unlink()


def test_the_script_writes_where_it_is_told(write: Callable[..., Any], tmp_path: Path) -> None:
    done = run(write("int8").files[1], str(tmp_path / "my.engine"), path=str(stand_in(tmp_path / "bin", WORKS)))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "my.engine").is_file()


def test_a_build_that_fails_leaves_the_engine_of_before(write: Callable[..., Any], tmp_path: Path) -> None:
    engine = tmp_path / "my.engine"
    engine.write_text("before")
    done = run(write("int8").files[1], str(engine), path=str(stand_in(tmp_path / "bin", FAILS)))
    assert done.returncode == 7
    assert "out of memory" in done.stderr
    assert engine.read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bin", "my.engine"]


@pytest.mark.skipif(Path("/usr/src/tensorrt/bin/trtexec").exists(), reason="TensorRT is here")
def test_without_trtexec_the_script_says_where_to_run_it(write: Callable[..., Any], tmp_path: Path) -> None:
    done = run(write("int8").files[1], path=str(tmp_path))
    assert done.returncode == 3
    assert "run this on the Jetson" in done.stderr


def test_without_the_graph_the_script_says_so(write: Callable[..., Any], tmp_path: Path) -> None:
    script = shutil.copy(write("int8").files[1], tmp_path)
    done = run(Path(script), path=str(stand_in(tmp_path / "bin", WORKS)))
    assert done.returncode == 2
    assert "classifier-int8-tensorrt.onnx is not here" in done.stderr
