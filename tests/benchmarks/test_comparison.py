import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edgegal.benchmarks.comparison import LabelledPictures, compare_bundle, record_accuracy
from edgegal.benchmarks.report import Gate
from edgegal.bundle import Bundle, file_record, open_bundle, save
from edgegal.bundle.manifest import EvaluationSet
from edgegal.errors import DatasetError, GateFailedError, InputError

pytestmark = pytest.mark.host

SWAPPED = np.roll(8 * np.eye(3), 1, axis=0)
"""Takes every colour for another."""


def test_faithful_variants_pass_with_nothing_lost(make_bundle: Callable[..., Bundle]) -> None:
    comparison = compare_bundle(make_bundle(), Gate())
    comparison.check()
    rows = {(s.stage, r.variant): r for s in comparison.stages for r in s.rows}
    assert set(rows) == {(s, f"onnx-{p}") for s in ("detector", "classifier") for p in ("fp32", "int8")}
    classifier, detector = rows["classifier", "onnx-int8"], rows["detector", "onnx-int8"]
    assert classifier.n == 30
    assert (classifier.accuracy.value, classifier.agreement, classifier.drop.value) == (1.0, 1.0, 0.0)
    assert (detector.average_precision_50.value, detector.agreement, detector.drop.value) == (1.0, 1.0, 0.0)


def test_broken_variants_of_both_stages_are_named(make_bundle: Callable[..., Bundle]) -> None:
    with pytest.raises(GateFailedError) as caught:
        compare_bundle(make_bundle(mixing=SWAPPED, gain=-20.0), Gate()).check()
    assert "classifier onnx-int8 lost 1.0000" in caught.value.message
    assert "detector onnx-int8 lost" in caught.value.message
    assert "fp32" not in caught.value.message


def test_given_pictures_replace_the_classifiers_own_whatever_their_size(make_bundle: Callable[..., Bundle]) -> None:
    red = np.zeros((5, 40, 40, 3), np.uint8)
    red[..., 0] = 200
    labelled = LabelledPictures("reds", "test", red, np.array([0, 0, 0, 0, 2], np.int32))
    stages = {s.stage: s for s in compare_bundle(make_bundle(), Gate(), labelled=labelled).stages}
    assert (stages["classifier"].dataset, stages["classifier"].split) == ("reds", "test")
    assert stages["classifier"].rows[0].accuracy.value == 0.8


def test_figures_are_recorded_with_their_circumstances_and_renewed(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    comparison = compare_bundle(bundle, Gate())
    again = record_accuracy(record_accuracy(bundle, comparison), comparison)
    stored = open_bundle(again.root).manifest
    (figure,) = stored.stages["classifier"].variants[1].accuracy
    assert (figure.metric, figure.value, figure.n, figure.split) == ("accuracy", 1.0, 30, "evaluation")
    assert figure.low < figure.high == 1.0
    assert figure.measured.runtime == "onnxruntime"
    assert figure.measured.executed_precision == "fp32"
    assert stored.stages["detector"].variants[0].accuracy[0].metric == "AP@.5"


def test_without_a_float_variant_the_mend_is_a_reference(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    stage = bundle.manifest.stages["classifier"]
    quantised = stage.model_copy(update={"variants": stage.variants[1:]})
    manifest = bundle.manifest.model_copy(update={"classifier": quantised, "detector": None})
    with pytest.raises(InputError, match="no fp32 variant to compare with") as caught:
        compare_bundle(save(manifest, bundle.root), Gate())
    assert "--reference" in caught.value.mend


def test_fields_without_galaxies_are_no_evaluation_set(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    folder = bundle.root / "evaluation" / "detector"
    truth = json.loads((folder / "boxes.json").read_text())
    (folder / "boxes.json").write_text(json.dumps({name: [] for name in truth}))
    stage = bundle.manifest.stages["detector"]
    records = tuple(file_record(bundle.root, path) for path in sorted(folder.iterdir()))
    evaluation = EvaluationSet(description="empty sky", n=len(truth), files=records)
    changed = bundle.manifest.model_copy(update={"detector": stage.model_copy(update={"evaluation": evaluation})})
    with pytest.raises(InputError, match="empty sky has no true box"):
        compare_bundle(save(changed, bundle.root), Gate())


@pytest.fixture
def folder_set(tmp_path: Path) -> Path:
    """Forty pictures of each colour, a folder a class; a share of them falls to the test split."""
    for channel, label in enumerate(("red", "green", "blue")):
        (tmp_path / "colours" / label).mkdir(parents=True)
        picture = np.zeros((24, 24, 3), np.uint8)
        picture[..., 2 - channel] = 200
        for number in range(40):
            cv2.imwrite(str(tmp_path / "colours" / label / f"{label}-{number}.png"), picture)
    return tmp_path / "colours"


def test_the_verb_takes_a_datasets_test_split_by_class_name(
    make_bundle: Callable[..., Bundle], folder_set: Path
) -> None:
    from edgegal.cli.compare import app

    # The folder's classes come sorted (blue, green, red), the classifier's do not.
    done = CliRunner().invoke(app, [str(make_bundle().root), "--data", f"folder:{folder_set}", "--json"])
    assert done.exit_code == 0, done.exception
    row = json.loads(done.stdout)["stages"][1]["rows"][0]
    assert 1 <= row["n"] < 120
    assert row["accuracy"]["value"] == 1.0

    (folder_set / "red").rename(folder_set / "crimson")
    done = CliRunner().invoke(app, [str(make_bundle().root), "--data", f"folder:{folder_set}"])
    assert isinstance(done.exception, DatasetError)
    assert "crimson: no class of the classifier" in done.exception.message


def test_the_verb_prints_the_document_then_fails(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    report = tmp_path / "reports" / "compare.md"
    program = (
        "import sys\n"
        "from edgegal.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        "    heavy = {'tensorflow', 'keras', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "    print('heavy:', sorted(heavy), file=sys.stderr)\n"
    )
    bundle = str(make_bundle(mixing=SWAPPED).root)
    arguments = ["compare", bundle, "--json", "--markdown", str(report), "--record"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert "classifier onnx-int8 lost 1.0000" in done.stderr
    assert "Traceback" not in done.stderr
    assert "heavy: []" in done.stderr
    document = json.loads(done.stdout)
    assert [len(s["rows"]) for s in document["stages"]] == [2, 2]
    assert document["gate"]["passed"] is False
    assert "Failed" in report.read_text()
    # A figure that fails the gate is still a figure.
    recorded = open_bundle(Path(bundle)).manifest.stages["classifier"].variants[1].accuracy
    assert [a.value for a in recorded] == [0.0]
