import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from edgegal.benchmarks.comparison import LabelledPictures, compare_bundle, record_accuracy
from edgegal.benchmarks.comparison.verdict import Gate
from edgegal.bundle import Bundle, file_record, open_bundle, save
from edgegal.bundle.manifest import ClassifierDescription, EvaluationSet, Provenance
from edgegal.errors import DatasetError, EdgegalError, GateFailedError, InputError
from edgegal.preprocess import Preprocess

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
    assert (classifier.accuracy.value, classifier.agreement.value, classifier.drop.value) == (1.0, 1.0, 0.0)
    assert (detector.average_precision_50.value, detector.agreement.value, detector.drop.value) == (1.0, 1.0, 0.0)
    assert [(d.variant, d.total) for s in comparison.stages for d in s.disagreements] == [("onnx-int8", 0)] * 2


def test_broken_variants_of_both_stages_are_named(make_bundle: Callable[..., Bundle]) -> None:
    with pytest.raises(GateFailedError) as caught:
        compare_bundle(make_bundle(mixing=SWAPPED, gain=-20.0), Gate()).check()
    assert "classifier onnx-int8: accuracy drop 1.0000" in caught.value.message
    assert "detector onnx-int8: AP@.5 drop" in caught.value.message
    assert "fp32" not in caught.value.message


def test_given_pictures_replace_the_classifiers_own_whatever_their_size(make_bundle: Callable[..., Bundle]) -> None:
    red = np.zeros((5, 40, 40, 3), np.uint8)
    red[..., 0] = 200
    labelled = LabelledPictures("reds", "test", red, np.array([0, 0, 0, 0, 2], np.int32))
    stages = {s.stage: s for s in compare_bundle(make_bundle(), Gate(), labelled=[labelled]).stages}
    assert (stages["classifier"].dataset, stages["classifier"].split) == ("reds", "test")
    assert stages["classifier"].rows[0].accuracy.value == 0.8


def test_figures_are_recorded_with_their_circumstances_and_renewed(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    comparison = compare_bundle(bundle, Gate())
    again = record_accuracy(record_accuracy(bundle, comparison), comparison)
    stored = open_bundle(again.root).manifest
    figure, balanced = stored.stages["classifier"].variants[1].accuracy
    assert (balanced.metric, balanced.value) == ("balanced accuracy", 1.0)
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


def test_the_verb_prints_the_document_and_writes_all_reports_then_fails(
    make_bundle: Callable[..., Bundle], tmp_path: Path
) -> None:
    report, junit, page, summary = (tmp_path / "reports" / name for name in ("a.md", "b.xml", "c.html", "d.md"))
    program = (
        "import sys\n"
        # A device has no package that only datasets need.
        "sys.modules.update(dict.fromkeys(['sep', 'pooch', 'h5py'], None))\n"
        "from edgegal.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        "    heavy = {'tensorflow', 'keras', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "    print('heavy:', sorted(heavy), file=sys.stderr)\n"
    )
    bundle = str(make_bundle(mixing=SWAPPED).root)
    arguments = ["compare", bundle, "--json", "--markdown", str(report), "--record", "--bootstrap", "200"]
    arguments += ["--junit", str(junit), "--html", str(page), "--github"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "GITHUB_STEP_SUMMARY": str(summary)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "classifier onnx-int8: accuracy drop 1.0000" in done.stderr
    assert "Traceback" not in done.stderr
    assert "heavy: []" in done.stderr
    document = json.loads(done.stdout)
    assert [len(s["rows"]) for s in document["stages"]] == [2, 2]
    assert document["gate"]["passed"] is False
    assert document["resamples"] == 200
    assert "Failed" in report.read_text()
    assert summary.read_text() == report.read_text() + "\n"
    assert len(ElementTree.parse(junit).findall(".//failure")) == len(document["gate"]["failures"])
    # Stdout is the document alone.
    assert "::error title=edgegal compare tiny::classifier onnx-int8%3A" not in done.stderr
    assert "::error title=edgegal compare tiny::classifier onnx-int8: accuracy drop" in done.stderr
    assert page.read_text().count("<figure>") == 24
    assert not list(report.parent.glob(".*"))
    # A figure that fails the gate is still a figure.
    recorded = open_bundle(Path(bundle)).manifest.stages["classifier"].variants[1].accuracy
    assert [a.value for a in recorded] == [0.0, 0.0]


FIVE = ("round", "in-between", "cigar", "edge-on", "spiral")
"""Red galaxies are round here, green ones in between, blue ones cigars."""


@pytest.fixture
def coloured_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The shared set of five classes, of squares: ten of each colour, of which three green ones are called round."""
    monkeypatch.setenv("EDGEGAL_SHARED_DATA", str(tmp_path / "shared"))
    folder = tmp_path / "shared" / "gz2_kaggle_5class"
    folder.mkdir(parents=True)
    lines = ["file,label_name,split"]
    for channel, label in enumerate(FIVE[:3]):
        for number in range(10):
            picture = np.zeros((24, 24, 3), np.uint8)
            picture[..., 2 - channel] = 200
            cv2.imwrite(str(folder / f"{label}{number}.png"), picture)
            called = "round" if label == "in-between" and number < 3 else label
            lines.append(f"{label}{number}.png,{called},test")
    (folder / "labels.csv").write_text("\n".join(lines))
    return "gz2_kaggle_5class"


def test_a_classifier_is_judged_in_a_coarser_scheme(make_bundle: Callable[..., Bundle], coloured_set: str) -> None:
    from edgegal.cli.compare import app

    bundle = str(make_bundle(labels=FIVE, scheme="gz2-5class").root)
    own, coarse = (
        json.loads(CliRunner().invoke(app, [bundle, "--data", coloured_set, *words, "--json"]).stdout)["stages"][1]
        for words in ([], ["--scheme", "h4"])
    )
    assert own["rows"][0]["accuracy"]["value"] == pytest.approx(27 / 30)
    assert coarse["dataset"] == "gz2_kaggle_5class in h4"
    # What was called round is in between: smooth, either way.
    assert [row["accuracy"]["value"] for row in coarse["rows"]] == [1.0, 1.0]
    assert [(r["label"], r["n"]) for r in coarse["rows"][0]["recalls"]] == [
        *(("smooth", 30), ("spiral", 0), ("edge-on", 0), ("merger", 0))
    ]


def test_several_sets_in_one_table(make_bundle: Callable[..., Bundle], coloured_set: str, folder_set: Path) -> None:
    from edgegal.cli.compare import app

    for old, new in (("red", "round"), ("green", "in-between"), ("blue", "cigar")):
        (folder_set / old).rename(folder_set / new)
    bundle = str(make_bundle(labels=FIVE, scheme="gz2-5class").root)
    words = ["--data", coloured_set, "--data", f"folder:{folder_set}", "--split", "all"]
    done = CliRunner().invoke(app, [bundle, *words])
    assert done.exit_code == 0, done.exception
    assert "classifier on 2 sets" in done.stdout
    assert "gz2_kaggle_5class (all, n=30)" in done.stdout
    assert f"folder:{folder_set} (all, n=120)" in done.stdout


def test_answers_withheld_are_told_and_recorded(make_bundle: Callable[..., Bundle], coloured_set: str) -> None:
    from edgegal.cli.bundle import app as bundle_app
    from edgegal.cli.compare import app

    # Pure colours are 8 * 200 / 255 above the others: a highest probability of .9925.
    for threshold, coverage in ((0.99, 1.0), (0.995, 0.0)):
        bundle = make_bundle(labels=FIVE, scheme="gz2-5class", abstain_below=threshold)
        words = [str(bundle.root), "--data", coloured_set, "--scheme", "h4", "--record", "--json"]
        row = json.loads(CliRunner().invoke(app, words).stdout)["stages"][1]["rows"][1]
        assert row["coverage"]["value"] == coverage
        assert (row["selective_accuracy"] is None) == (coverage == 0)
        (variant, _) = open_bundle(bundle.root).manifest.stages["classifier"].variants
        recorded = {a.metric: (a.value, a.n) for a in variant.accuracy}
        assert recorded["answered"] == (coverage, 30)
        assert recorded.get("accuracy of answers") == ((1.0, 30) if coverage else None)
        assert "accuracy of answers" in (bundle.root / "CARD.md").read_text()
        told = CliRunner().invoke(bundle_app, ["info", str(bundle.root)]).stdout
        assert f"uncertain below {threshold}" in told
        # One headline a set; the rest is for the card.
        assert "accuracy of answers" not in told


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--scheme", "h4"], "are for datasets"),
        (["--framing", "whole"], "are for datasets"),
        (["--max-drop", "nan"], "--max-drop nan is no limit"),
        (["--worst-class-drop", "-0.1"], "--worst-class-drop -0.1 is no limit"),
        (["--min-agreement", "inf"], "--min-agreement inf is no limit"),
        (["--junit", "."], "is no file"),
        (["--github"], "GITHUB_STEP_SUMMARY"),
        (["--data", "gz2_kaggle_5class", "--scheme", "h4"], "map to no scheme"),
        (["--data", "nothing"], "no dataset called"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    make_bundle: Callable[..., Bundle],
    coloured_set: str,
    words: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from edgegal.cli.compare import app

    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    done = CliRunner().invoke(app, [str(make_bundle().root), *words])
    assert isinstance(done.exception, EdgegalError)
    assert says in done.exception.message


def test_too_few_resamples_are_bad_usage(make_bundle: Callable[..., Bundle]) -> None:
    from edgegal.cli.compare import app

    done = CliRunner().invoke(app, [str(make_bundle().root), "--bootstrap", "99"])
    assert done.exit_code == 2
    assert "Invalid value for '--bootstrap'" in done.output


def test_the_pictures_that_differ_are_kept_the_surest_first(make_bundle: Callable[..., Bundle]) -> None:
    # Green is taken for red, by more or less.
    mixing = 8 * np.eye(3)
    mixing[1] = (8.0, 0.0, 0.0)
    stages = {s.stage: s for s in compare_bundle(make_bundle(mixing=mixing, gain=-20.0), Gate()).stages}
    (classes,), (boxes,) = stages["classifier"].disagreements, stages["detector"].disagreements
    assert (classes.variant, classes.total, len(classes.shown)) == ("onnx-int8", 10, 10)
    assert {(d.truth, d.expected, d.obtained) for d in classes.shown} == {("green", "green", "red")}
    surest = [min(d.expected_probability, d.obtained_probability) for d in classes.shown]
    assert surest == sorted(surest, reverse=True)
    # Every cell is a galaxy to one of the two detectors.
    assert boxes.total == 8
    for each in boxes.shown:
        assert each.only_float.all()
        assert each.only_variant.all()
        assert len(each.expected) + len(each.obtained) == 16
        assert each.drawn(200).shape == (200, 200, 3)


@pytest.fixture
def trained(tmp_path: Path, provenance: Provenance) -> Path:
    """A Keras network that tells colours apart, as training leaves it."""
    import keras

    from edgegal.models.artefact import save_trained

    image = keras.Input((16, 16, 3), name="image")
    colour = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    layer = keras.layers.Dense(5, activation="softmax", use_bias=False)
    model = keras.Model(image, {"probabilities": layer(colour)})
    layer.set_weights([8 * np.eye(3, 5)])
    description = ClassifierDescription(
        labels=FIVE, scheme="gz2-5class", preprocess=Preprocess(16, 16), provenance=provenance, abstain_below=0.99
    )
    return save_trained(model, description, tmp_path / "trained")


def test_a_trained_network_is_judged_before_it_is_exported(trained: Path, coloured_set: str) -> None:
    from edgegal.cli.compare import app

    done = CliRunner().invoke(app, [str(trained), "--data", coloured_set, "--json"])
    assert done.exit_code == 0, done.exception
    ((row,),) = (stage["rows"] for stage in json.loads(done.stdout)["stages"])
    assert (row["variant"], row["drop"], row["coverage"]["value"]) == ("keras", None, 1.0)
    assert row["accuracy"]["value"] == pytest.approx(27 / 30)
    for words, says in (([], "--data"), (["--data", coloured_set, "--record"], "edgegal export")):
        refused = CliRunner().invoke(app, [str(trained), *words]).exception
        assert isinstance(refused, InputError)
        assert says in refused.mend
