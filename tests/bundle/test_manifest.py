"""Documents that differ from a sound one in one place."""

import json

import pytest
from pydantic import ValidationError

from edgegal.bundle import Manifest, open_bundle, save
from edgegal.bundle.manifest import Quantization
from edgegal.errors import BundleError

SHA = "0" * 64


def put(document, place, value):
    *road, last = place
    for key in road:
        document = document[key]
    document[last] = value


def written(bundle, text):
    (bundle.root / "bundle.json").write_text(text)
    return bundle.root


@pytest.fixture
def document(bundle):
    return json.loads((bundle.root / "bundle.json").read_text(encoding="utf-8"))


def test_a_manifest_is_read_as_it_was_written(bundle):
    again = open_bundle(bundle.root)
    assert again.manifest == bundle.manifest
    assert Manifest.model_validate_json(again.manifest.model_dump_json()) == bundle.manifest
    assert list(again.manifest.stages) == ["detector", "classifier"]
    assert len(again.manifest.files()) == 6
    assert again.manifest.stages["detector"].variants[0].size == 4300


FILES = ("detector", "variants", 0, "files")
SECOND = ("classifier", "variants", 1)


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("licens",), "MIT", "licens: Extra"),
        (("detector", "preprocess", "hight"), 3, "hight: Unexpected"),
        (("detector", "anchors", "ratio"), [1], "ratio: Unexpected"),
        ((*FILES, 0, "mode"), 1, "mode: Extra"),
        (("name",), "../galaxies", "name: "),
        (("name",), None, "name: "),
        (("created",), "2026-01-01T00:00:00", "created: .*timezone"),
        (("detector", "labels"), [], "labels: "),
        (("detector", "variants"), [], "variants: "),
        ((*FILES,), [], "files: "),
        ((*FILES, 0, "sha256"), "00", "sha256: "),
        ((*FILES, 0, "bytes"), -1, "bytes: "),
        ((*FILES, 0, "path"), "../net.xml", "leaves the bundle"),
        ((*FILES, 0, "path"), "/etc/passwd", "leaves the bundle"),
        ((*FILES, 0, "path"), "a/../../b", "leaves the bundle"),
        ((*FILES, 0, "path"), "..\\net.xml", "leaves the bundle"),
        ((*FILES, 0, "path"), "net\0.xml", "leaves the bundle"),
        ((*FILES, 0, "path"), "", "leaves the bundle"),
        ((*FILES, 0, "path"), ".", "leaves the bundle"),
        ((*FILES, 0, "path"), "a//b", "not written plainly"),
        ((*FILES, 0, "path"), "x" * 300, "path: "),
        ((*SECOND, "name"), "first", "two variants are called first"),
        ((*SECOND, "format"), "pickle", "format: "),
        ((*SECOND, "outputs", 0, "role"), "logits", "second has no output for probabilities"),
        (("detector", "preprocess", "width"), 64, "square, not 64 x 32"),
        (("detector", "preprocess", "stretch", "soft_sigma"), 0, "must be positive"),
        (("classifier", "preprocess", "crop_scale"), 1e6, "crop_scale"),
        (("classifier", "preprocess"), {"height": 10**9, "width": 10**9}, "not within 1 to"),
        (("classifier", "temperature"), 0, "temperature: "),
        (("detector", "tile_overlap"), 32, "leaves no step"),
        (("detector", "anchors", "levels"), [], "anchors need levels"),
        (("detector", "anchors", "levels", 0, "stride"), 0, "stride 0"),
        (("detector", "score_threshold"), 1.5, "score_threshold: "),
    ],
)
def test_a_document_that_cannot_be_is_refused_where_it_is_wrong(bundle, document, place, value, named):
    put(document, place, value)
    with pytest.raises(BundleError, match=named) as error:
        open_bundle(written(bundle, json.dumps(document)))
    assert error.value.message.startswith(str(bundle.root / "bundle.json"))
    assert "\n" not in error.value.message
    assert "Value error" not in error.value.message
    assert error.value.mend


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    "place",
    [
        ("classifier", "temperature"),
        ("detector", "preprocess", "stretch", "white_sigma"),
        ("detector", "score_threshold"),
    ],
)
def test_numbers_that_are_none_are_refused(bundle, document, place, number):
    put(document, place, "HERE")
    with pytest.raises(BundleError, match=r"not a number|finite"):
        open_bundle(written(bundle, json.dumps(document).replace('"HERE"', number)))


def test_numbers_that_are_none_cannot_be_written(bundle):
    stage = bundle.manifest.classifier.model_dump()
    with pytest.raises(ValueError, match="finite"):
        type(bundle.manifest.classifier)(**{**stage, "temperature": float("inf")})


@pytest.mark.parametrize("version", ["2.0", "0.9", "10.0", "", "one", 2, None, ["1.0"]])
def test_another_schema_is_refused_with_the_mend(bundle, document, version):
    document["schema_version"] = version
    with pytest.raises(BundleError, match=r"reads 1\.x") as error:
        open_bundle(written(bundle, json.dumps(document)))
    assert "export the bundle again" in error.value.mend


def test_a_newer_minor_of_the_schema_is_read(bundle, document):
    document.update(schema_version="1.7", seal="")
    assert open_bundle(written(bundle, json.dumps(document))).manifest.schema_version == "1.7"


def test_a_bundle_of_nothing_is_refused(bundle, document):
    document["detector"] = document["classifier"] = None
    with pytest.raises(BundleError, match="holds a detector, a classifier or both"):
        open_bundle(written(bundle, json.dumps(document)))


@pytest.mark.parametrize("stage", ["detector", "classifier"])
def test_one_stage_is_enough(bundle, document, stage):
    document.update({stage: None, "seal": ""})
    assert stage not in open_bundle(written(bundle, json.dumps(document))).manifest.stages


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        '{"schema_version": "1.0",',
        "[" * 200_000,
        '{"a":' * 200_000,
        '{"schema_version": "1.0", "name": ' + "[" * 400 + "]" * 400 + "}",
        '{"schema_version": "1.0", "name": ' + "9" * 10_000 + "}",
        "[]",
        "3",
        '"text"',
        '{"schema_version": "1.0"}',
    ],
    ids=lambda text: text[:24] or "empty",
)
def test_text_that_is_no_manifest_is_refused(bundle, text):
    with pytest.raises(BundleError) as error:
        open_bundle(written(bundle, text))
    assert len(error.value.message) < 600


def test_bytes_that_are_no_text_are_refused(bundle):
    (bundle.root / "bundle.json").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(BundleError, match="not JSON"):
        open_bundle(bundle.root)


def test_a_huge_manifest_is_not_read(bundle):
    with (bundle.root / "bundle.json").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(BundleError, match="larger than any manifest"):
        open_bundle(bundle.root)


def test_saving_leaves_one_manifest_and_nothing_half_written(bundle):
    changed = bundle.manifest.model_copy(update={"version": "2"})
    before = sorted(bundle.root.iterdir())
    assert save(changed, bundle.root).manifest.version == "2"
    assert open_bundle(bundle.root).manifest.version == "2"
    assert sorted(bundle.root.iterdir()) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [("abstain_below", -0.1), ("abstain_below", 1.1), ("abstain_below", "high"), ("min_side_px", -1)],
)
def test_an_abstention_that_cannot_be_is_refused(bundle, document, field, value):
    put(document, ("classifier", field), value)
    with pytest.raises(BundleError, match=f"{field}: "):
        open_bundle(written(bundle, json.dumps(document)))


def test_a_classifier_that_always_answers_is_written_as_before_there_was_a_choice(bundle, document):
    # The seal is over the text: a document of schema 1.0 must come out as it went in.
    assert not {"abstain_below", "min_side_px"} & set(document["classifier"])
    assert bundle.manifest.classifier.abstain_below == 0


def with_abstention(bundle, **values):
    stage = bundle.manifest.classifier.model_copy(update=values)
    return save(bundle.manifest.model_copy(update={"classifier": stage}), bundle.root)


def test_an_abstention_is_kept_and_under_the_seal(bundle):
    saved = with_abstention(bundle, abstain_below=0.6, min_side_px=14.0)
    stage = open_bundle(bundle.root).manifest.classifier
    assert (stage.abstain_below, stage.min_side_px) == (0.6, 14)
    text = (saved.root / "bundle.json").read_text()
    assert '"abstain_below": 0.6' in text
    with pytest.raises(BundleError, match="was changed"):
        open_bundle(written(bundle, text.replace('"abstain_below": 0.6', '"abstain_below": 0.1')))


def test_adding_an_abstention_to_a_sealed_manifest_breaks_its_seal(bundle, document):
    document["classifier"]["abstain_below"] = 0.9
    with pytest.raises(BundleError, match="was changed"):
        open_bundle(written(bundle, json.dumps(document)))


def test_the_card_says_when_there_is_no_answer(bundle):
    assert "It need not answer" not in (bundle.root / "CARD.md").read_text()
    card = (with_abstention(bundle, abstain_below=0.6, min_side_px=14.0).root / "CARD.md").read_text()
    assert "below a highest probability of 0.6 the answer is uncertain" in card
    assert "less than 14 pixels long is too small to tell" in card
    assert "Every crop gets one of the labels" not in card


def test_a_calibration_is_recorded_whole_or_not_at_all():
    Quantization(recipe="integer weights")
    with pytest.raises(ValidationError, match="stand together"):
        Quantization(recipe="integer weights", calibration="galaxies train")
