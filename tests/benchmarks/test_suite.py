import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgegal.benchmarks.latency import SingleStream
from edgegal.benchmarks.suite import Suite, measure
from edgegal.bundle import Bundle
from edgegal.errors import BundleError, InputError

pytestmark = pytest.mark.host

QUICK = SingleStream(samples=3, seconds=0, warm_up_calls=1, warm_up_seconds=0)
VARIANT_ROWS = {
    f"{row}/onnx-{precision}/onnxruntime"
    for row in ("detector/infer", "detector/decode", "classifier/infer", "frame/end-to-end")
    for precision in ("fp32", "int8")
}


def test_every_step_of_every_variant_is_timed(make_bundle: Callable[..., Bundle]) -> None:
    seen: list[tuple[int, int, str]] = []
    suite = Suite(scenario=QUICK, frame_samples=2)
    run = measure(make_bundle(), suite, progress=lambda *told: seen.append(told))
    names = {row.name for row in run.benchmarks}
    assert names == {"frame/view", "detector/input", "classifier/input"} | VARIANT_ROWS
    assert seen == [(i, len(names), row.name) for i, row in enumerate(run.benchmarks)]
    rows = {row.name: row for row in run.benchmarks}
    assert len(rows["detector/infer/onnx-fp32/onnxruntime"].statistics) == 3
    assert len(rows["frame/end-to-end/onnx-fp32/onnxruntime"].statistics) == 2
    facts = rows["classifier/infer/onnx-int8/onnxruntime"].extra
    # The graph is called int8 and holds floats: the bench says what ran, not what the label says.
    assert (facts["precision"], facts["executed_precision"]) == ("int8", "fp32")
    assert facts["provider"] == "CPUExecutionProvider"
    assert facts["load_s"] > 0


def test_precision_narrows_the_rows(make_bundle: Callable[..., Bundle]) -> None:
    run = measure(make_bundle(), Suite(precision="int8", runtime="onnxruntime", scenario=QUICK, frame_samples=1))
    variants = {row.params["variant"] for row in run.benchmarks} - {None}
    assert variants == {"onnx-int8"}


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        (Suite(precision="fp16", scenario=QUICK), "no fp16 variant"),
        (Suite(runtime="litert", scenario=QUICK), "runs tflite files"),
        (Suite(runtime="abacus", scenario=QUICK), "unknown runtime 'abacus'"),
    ],
)
def test_what_the_bundle_has_not_is_refused(make_bundle: Callable[..., Bundle], suite: Suite, message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure(make_bundle(), suite)


def test_a_changed_file_is_never_timed(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    path = bundle.root / "classifier-int8.onnx"
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    with pytest.raises(BundleError, match="was changed"):
        measure(bundle, Suite(scenario=QUICK))


def test_the_verb_prints_one_document_and_imports_nothing_heavy(
    make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    program = (
        "import sys\n"
        "from edgegal.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        "    heavy = {'tensorflow', 'keras', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "    print('heavy:', sorted(heavy), file=sys.stderr)\n"
    )
    arguments = ["bench", str(make_bundle().root), "--samples", "2", "--seconds", "0", "--frames", "1", "--json"]

    def call(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *arguments, "--out", str(tmp_path / "out"), *more]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    first = call()
    assert first.returncode == 0, first.stderr
    assert "heavy: []" in first.stderr
    assert {row["name"] for row in json.loads(first.stdout)["benchmarks"]} >= VARIANT_ROWS
    (saved,) = (tmp_path / "out").iterdir()

    # A baseline a thousand times faster: everything got slower.
    document = json.loads(saved.read_text())
    for row in document["benchmarks"]:
        row["stats"]["data"] = [value / 1000 for value in row["stats"]["data"]]
    baseline = tmp_path / "baseline.json"
    baseline.write_text(json.dumps(document))
    second = call("--baseline", str(baseline))
    assert second.returncode == 1
    assert "slower than the baseline" in second.stderr
    assert "frame/end-to-end/onnx-fp32/onnxruntime" in second.stderr
    assert "Traceback" not in second.stderr
