"""Every adapter keeps the one interface, on the same tiny network."""

import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from edgegal.errors import InputError
from edgegal.runtimes import RUNTIMES, load

DEVICE = ["litert", "tflite-runtime", "onnxruntime", "openvino"]
KERAS = pytest.param("keras", marks=pytest.mark.host)
EVERY = [*DEVICE, KERAS]


def by_role(outputs):
    """TFLite's converter invents names: tell the two outputs by their shapes."""
    return {"features" if values.ndim == 4 else "probabilities": values for values in outputs.values()}


@pytest.mark.parametrize("runtime", EVERY)
def test_float_outputs_are_those_of_the_definition(runtime, open_tiny, tiny, batch):
    outputs = by_role(open_tiny(runtime).infer(batch))
    for role, wanted in tiny.reference(batch).items():
        assert outputs[role].dtype == np.float32
        assert_allclose(outputs[role], wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("runtime", "precision"),
    [*((r, "int8") for r in DEVICE), ("litert", "int8-edges"), ("tflite-runtime", "int8-edges")],
)
def test_int8_outputs_are_near_and_come_as_floats(runtime, precision, open_tiny, tiny, batch):
    outputs = by_role(open_tiny(runtime, precision).infer(batch))
    for role, wanted in tiny.reference(batch).items():
        assert outputs[role].dtype == np.float32
        # Of a range of 4; the weights for OpenVINO have seven bits.
        assert_allclose(outputs[role], wanted, atol=0.05 if runtime == "openvino" else 0.03)
        assert not np.array_equal(outputs[role], wanted.astype(np.float32))


@pytest.mark.parametrize(
    ("runtime", "precision", "executed"),
    [
        *((r, p, p) for r in DEVICE for p in ("fp32", "int8")),
        ("litert", "int8-edges", "int8"),
        ("tflite-runtime", "int8-edges", "int8"),
        pytest.param("keras", "fp32", "fp32", marks=pytest.mark.host),
    ],
)
def test_the_precision_reported_is_the_one_that_ran(runtime, precision, executed, open_tiny):
    assert open_tiny(runtime, precision).executed_precision() == executed


@pytest.mark.parametrize("runtime", EVERY)
def test_an_adapter_describes_its_file(runtime, open_tiny):
    adapter = open_tiny(runtime)
    (image,) = adapter.inputs
    assert image.single == (1, 8, 8, 3)
    assert image.dtype == "float32"
    assert image.scale is None
    assert sorted(o.single for o in adapter.outputs) == [(1, 4), (1, 6, 6, 4)]
    assert len({o.name for o in adapter.outputs}) == 2
    assert adapter.name == runtime
    assert adapter.provider
    assert adapter.version[0].isdigit()


@pytest.mark.parametrize("runtime", ["litert", "tflite-runtime"])
def test_integer_edges_carry_their_scale(runtime, open_tiny):
    adapter = open_tiny(runtime, "int8-edges")
    for tensor in adapter.inputs + adapter.outputs:
        assert tensor.dtype == "int8"
        assert tensor.scale > 0
        assert -128 <= tensor.zero_point <= 127


@pytest.mark.parametrize("runtime", EVERY)
def test_results_stay_when_the_next_picture_runs(runtime, open_tiny, batch):
    adapter = open_tiny(runtime)
    first = adapter.infer(batch)
    kept = {name: values.copy() for name, values in first.items()}
    second = adapter.infer(255 - batch)
    for name, values in first.items():
        assert_array_equal(values, kept[name])
        assert not np.array_equal(values, second[name])
        assert values.flags.writeable


@pytest.mark.parametrize("runtime", EVERY)
def test_the_layout_of_a_batch_in_memory_does_not_matter(runtime, open_tiny, batch):
    adapter = open_tiny(runtime)
    scattered = np.asfortranarray(batch)
    assert not scattered.flags.c_contiguous
    reversed_twice = np.ascontiguousarray(batch[:, ::-1])[:, ::-1]
    read_only = batch.copy()
    read_only.flags.writeable = False
    wanted = adapter.infer(batch)
    for same in (scattered, reversed_twice, read_only):
        for name, values in adapter.infer(same).items():
            assert_allclose(values, wanted[name], atol=1e-6)


@pytest.mark.parametrize("runtime", EVERY)
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (np.zeros((8, 8, 3), np.float32), "not float32 8 x 8 x 3"),
        (np.zeros((1, 3, 8, 8), np.float32), "not float32 1 x 3 x 8 x 8"),
        (np.zeros((1, 9, 8, 3), np.float32), "not float32 1 x 9 x 8 x 3"),
        (np.zeros((1, 8, 8, 3), np.uint8), "not uint8 1 x 8 x 8 x 3"),
        (np.zeros((1, 8, 8, 3)), "not float64 1 x 8 x 8 x 3"),
    ],
)
def test_a_batch_of_another_shape_or_type_is_refused_with_both(runtime, wrong, named, open_tiny, batch):
    adapter = open_tiny(runtime)
    before = adapter.infer(batch)
    with pytest.raises(InputError, match=r"takes float32 (1|n) x 8 x 8 x 3, ") as error:
        adapter.infer(wrong)
    assert named in error.value.message
    for name, values in adapter.infer(batch).items():
        assert_array_equal(values, before[name])


@pytest.mark.parametrize("runtime", DEVICE)
def test_a_static_file_takes_one_picture_at_a_time(runtime, open_tiny, batch):
    with pytest.raises(InputError, match="2 x 8 x 8 x 3"):
        open_tiny(runtime).infer(np.concatenate([batch, batch]))


@pytest.mark.host
def test_keras_takes_any_number_of_pictures(open_tiny, batch):
    adapter = open_tiny("keras")
    many = adapter.infer(np.concatenate([batch, 255 - batch]))
    for name, values in adapter.infer(255 - batch).items():
        assert_allclose(many[name][1:], values, atol=1e-6)


@pytest.mark.parametrize("runtime", EVERY)
def test_more_threads_give_the_same_answer(runtime, open_tiny, batch):
    one, two = open_tiny(runtime, threads=1), open_tiny(runtime, threads=2)
    assert two.threads == 2
    for name, values in one.infer(batch).items():
        assert_allclose(two.infer(batch)[name], values, atol=1e-6)


@pytest.mark.parametrize("runtime", EVERY)
def test_a_file_that_edgegal_did_not_export_carries_no_description(runtime, open_tiny):
    assert open_tiny(runtime).embedded is None


@pytest.mark.parametrize("runtime", ["litert", "tflite-runtime"])
def test_a_tflite_file_carries_its_description_in_a_zip_behind_it(runtime, network_file, tmp_path, batch):
    path = tmp_path / "described.tflite"
    path.write_bytes(network_file(runtime).read_bytes())
    with zipfile.ZipFile(path, "a") as zipped:
        zipped.writestr("labels.txt", "spiral")
        zipped.writestr("edgegal.json", '{"stage": "écliptique"}')
    adapter = load(RUNTIMES[runtime], path)
    assert adapter.embedded == '{"stage": "écliptique"}'
    plain = load(RUNTIMES[runtime], network_file(runtime)).infer(batch)
    for name, values in adapter.infer(batch).items():
        assert_array_equal(values, plain[name])


def test_an_openvino_output_keeps_its_name_where_compiling_swaps_its_last_operations(tmp_path):
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    image = ops.parameter((1, 8, 8, 3), np.float32, name="image")
    image.output(0).set_names({"image"})
    lines = ops.reshape(image, [1, 64, 3], special_zero=False)
    lines.output(0).set_names({"a name before the role"})
    scores = ops.sigmoid(lines)
    scores.output(0).set_names({"scores"})
    openvino.save_model(openvino.Model([ops.result(scores)], [image], "tiny"), tmp_path / "net.xml")
    adapter = load(RUNTIMES["openvino"], tmp_path / "net.xml")
    assert [output.name for output in adapter.outputs] == ["scores"]
    assert list(adapter.infer(np.zeros((1, 8, 8, 3), np.float32))) == ["scores"]


# --- files that are damaged


def damaged_copies(data):
    rng = random.Random(0)
    yield b""
    yield b"Once upon a time\n" * 50
    yield bytes(len(data))
    for share in (0.05, 0.5, 0.95):
        yield data[: int(share * len(data))]
    for _ in range(12):
        damaged = bytearray(data)
        for _ in range(8):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        yield bytes(damaged)


# tflite-runtime checks nothing and dies of such files: only the hashes of a bundle stand before it.
_CLOSE_THEN_SIGNAL = """
import gc, os, signal, sys
from pathlib import Path
from edgegal.runtimes import RUNTIMES, load

entry, path = RUNTIMES[sys.argv[1]], Path(sys.argv[2])
first, second = load(entry, path), load(entry, path)
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("runtime", DEVICE)
def test_a_signal_still_interrupts_after_networks_were_closed_in_the_order_they_were_opened(runtime, network_file):
    """In a process of its own: OpenVINO leaves signals a stack that is gone, on processors with AMX."""
    command = [sys.executable, "-c", _CLOSE_THEN_SIGNAL, runtime, str(network_file(runtime))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "interrupted"), done.stderr


@pytest.mark.parametrize("runtime", ["litert", "onnxruntime", "openvino", KERAS])
def test_a_damaged_file_is_an_input_error_or_still_a_network(runtime, network_file, tmp_path, batch, capfd):
    source = network_file(runtime)
    path = tmp_path / source.name
    if runtime == "openvino":
        shutil.copy(source.with_suffix(".bin"), tmp_path)
    refused = []
    for data in damaged_copies(source.read_bytes()):
        path.write_bytes(data)
        try:
            load(RUNTIMES[runtime], path).infer(batch)
        except InputError as error:
            refused.append(error.message)
    assert len(refused) >= 5
    assert all(str(path) in message and "\n" not in message for message in refused)
    assert capfd.readouterr().out == "", "standard output belongs to the documents of verbs"


def test_an_openvino_file_needs_its_weights_whole(network_file, tmp_path):
    source = network_file("openvino")
    path = Path(shutil.copy(source, tmp_path))
    with pytest.raises(InputError, match=r"fp32\.xml is not an OpenVINO model") as caught:
        load(RUNTIMES["openvino"], path)
    assert "another runtime" in caught.value.mend
    path.with_suffix(".bin").write_bytes(source.with_suffix(".bin").read_bytes()[:40])
    with pytest.raises(InputError, match=r"fp32\.xml is not an OpenVINO model"):
        load(RUNTIMES["openvino"], path)


@pytest.mark.parametrize("runtime", DEVICE)
def test_the_file_of_another_format_is_refused(runtime, network_file, tmp_path):
    network_file(runtime)
    path = tmp_path / "model.xml"
    shutil.copy(Path(__file__), path)
    with pytest.raises(InputError, match=r"model\.xml is not an? "):
        load(RUNTIMES[runtime], path)


def test_a_graph_of_two_inputs_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")

    def write(inputs, kind):
        values = [onnx.helper.make_tensor_value_info(name, kind, (1, 2)) for name in inputs]
        total = onnx.helper.make_tensor_value_info("total", kind, (1, 2))
        graph = onnx.helper.make_graph([onnx.helper.make_node("Sum", list(inputs), ["total"])], "g", values, [total])
        opset = onnx.helper.make_opsetid("", 17)
        path = tmp_path / "sum.onnx"
        onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
        return path

    with pytest.raises(InputError, match=r"sum\.onnx has 2 inputs"):
        load(RUNTIMES["onnxruntime"], write("ab", onnx.TensorProto.FLOAT))
    with pytest.raises(InputError, match=r"sum\.onnx takes double"):
        load(RUNTIMES["onnxruntime"], write("a", onnx.TensorProto.DOUBLE))


@pytest.mark.host
def test_the_stored_tflite_files_are_what_the_converter_writes(tiny, tmp_path, network_file, batch):
    tiny.write_tflite(tmp_path)
    for precision in ("fp32", "int8", "int8-edges"):
        fresh = load(RUNTIMES["litert"], tmp_path / f"{precision}.tflite")
        stored = load(RUNTIMES["litert"], network_file("litert", precision))
        for role, values in by_role(fresh.infer(batch)).items():
            assert_allclose(by_role(stored.infer(batch))[role], values, atol=0.01)
