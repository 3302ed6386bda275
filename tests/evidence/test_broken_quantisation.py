"""Quantisation broken on purpose: parity keeps it out of a bundle, and compare finds it in one."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegal import runtimes
from edgegal.benchmarks.comparison import LabelledPictures, compare_bundle
from edgegal.benchmarks.comparison.report import Comparison, Gate
from edgegal.bundle import Bundle, file_record, open_bundle, save
from edgegal.preprocess import network_input

pytestmark = [pytest.mark.slow, pytest.mark.host]

FORMATS = ("tflite", "onnx", "openvino")
PRECISIONS = ("fp32", "fp16", "dynamic", "int8", "int16x8")

Paint = Callable[[int, int], tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def calibration(make_pictures: Paint) -> Any:
    """Pictures like those the network sees."""
    from edgegal.export import Calibration

    return Calibration(make_pictures(48, 1)[0], "painted", "train", 1)


@pytest.fixture(scope="module")
def labelled(make_pictures: Paint) -> LabelledPictures:
    """Pictures seen by nothing before."""
    return LabelledPictures("painted", "test", *make_pictures(240, 3))


@pytest.fixture(scope="module")
def reference(colours: Any, make_pictures: Paint) -> Any:
    """The float network's answers to the pictures of parity."""
    from edgegal.export.parity import Reference

    return Reference.of(colours, make_pictures(96, 2)[0])


@pytest.fixture(scope="module")
def sound(colours: Any, calibration: Any, reference: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The network in every format and precision there is a runtime for."""
    from edgegal.export import Job, export_bundle, plan

    out: Path = tmp_path_factory.mktemp("sound") / "colours"
    return export_bundle([Job(colours, reference.pictures, calibration)], plan(FORMATS, PRECISIONS), out)


def _compared(bundle: Bundle, labelled: LabelledPictures) -> Comparison:
    return compare_bundle(bundle, Gate(), labelled=[labelled], resamples=200)


def _smuggled(sound: Bundle, name: str, files: Sequence[Path], out: Path) -> Bundle:
    """A copy of the bundle with other files in a variant, sealed as if they were sound."""
    shutil.copytree(sound.root, out)
    stage = sound.manifest.classifier
    assert stage is not None
    (variant,) = (v for v in stage.variants if v.name == name)
    records = []
    for old, new in zip(variant.files, files, strict=True):
        shutil.copyfile(new, out / old.path)
        records.append(file_record(out, out / old.path))
    swapped = variant.model_copy(update={"files": tuple(records)})
    variants = tuple(swapped if v is variant else v for v in stage.variants)
    manifest = sound.manifest.model_copy(update={"classifier": stage.model_copy(update={"variants": variants})})
    save(manifest, out)
    return open_bundle(out)


def _convert(format: str, colours: Any, calibration: Any, folder: Path) -> tuple[Path, ...]:
    from edgegal.export.quiet import tools_quiet
    from edgegal.export.registry import Order, exporter

    order = Order(colours, "int8", calibration, folder / "classifier-int8", json.dumps({}))
    with tools_quiet():
        return exporter(format).load().convert(order).files


def _dark(format: str, colours: Any, calibration: Any, folder: Path) -> tuple[Path, ...]:
    """Ranges from pictures a tenth as bright: all that is brighter is cut off."""
    return _convert(format, colours, replace(calibration, pictures=calibration.pictures // 10), folder)


def _swapped(format: str, colours: Any, calibration: Any, folder: Path) -> tuple[Path, ...]:
    """Blue for red: the first convolution takes BGR, as of a network trained on what OpenCV reads."""
    import keras

    model = keras.models.clone_model(colours.model)
    model.set_weights(colours.model.get_weights())
    kernel, bias = model.get_layer("first").get_weights()
    model.get_layer("first").set_weights([kernel[:, :, ::-1], bias])
    return _convert(format, replace(colours, model=model), calibration, folder)


FAULTS = {"dark calibration": _dark, "swapped colours": _swapped}


def test_one_network_gives_the_same_classes_in_every_format_and_precision(
    sound: Bundle, labelled: LabelledPictures
) -> None:
    stage = sound.manifest.classifier
    assert stage is not None
    assert {v.format for v in stage.variants} == set(FORMATS)
    assert {v.precision for v in stage.variants if v.format == "tflite"} == set(PRECISIONS)
    comparison = _compared(sound, labelled)
    assert comparison.failures == ()
    (report,) = comparison.stages
    assert {row.variant for row in report.rows} == {v.name for v in stage.variants}
    for row in report.rows:
        assert row.accuracy.value >= 0.99  # type: ignore[union-attr]
        if row.agreement is not None:
            assert row.agreement.value >= 0.99


def test_float_files_give_the_same_numbers_in_every_format(sound: Bundle, labelled: LabelledPictures) -> None:
    stage = sound.manifest.classifier
    assert stage is not None
    answers = []
    for variant in stage.variants:
        if variant.precision == "fp32":
            adapter = runtimes.load(runtimes.choose({variant.format}), sound.model_path(variant))
            rows = [adapter.infer(network_input(p))["probabilities"] for p in labelled.pictures[:60]]
            answers.append(np.concatenate(rows))
    assert len(answers) == len(FORMATS)
    for other in answers[1:]:
        np.testing.assert_allclose(other, answers[0], atol=1e-5)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("fault", FAULTS)
def test_parity_and_compare_both_catch_it(
    fault: str,
    format: str,
    sound: Bundle,
    colours: Any,
    calibration: Any,
    reference: Any,
    labelled: LabelledPictures,
    tmp_path: Path,
) -> None:
    from edgegal.export.parity import measure, shortfall

    files = FAULTS[fault](format, colours, calibration, tmp_path)
    adapter = runtimes.load(runtimes.choose({format}), files[0])
    assert shortfall(measure(reference, adapter, "int8"))

    name = f"{format}-int8"
    failures = _compared(_smuggled(sound, name, files, tmp_path / "smuggled"), labelled).failures
    assert failures
    assert all(line.startswith(f"classifier {name}:") for line in failures)


@pytest.mark.parametrize("format", FORMATS)
def test_a_dark_calibration_leaves_the_variant_out_of_the_bundle(
    format: str, colours: Any, calibration: Any, reference: Any, tmp_path: Path
) -> None:
    from edgegal.export import Job, VariantsFailedError, export_bundle, plan

    dark = replace(calibration, pictures=calibration.pictures // 10)
    with pytest.raises(VariantsFailedError, match=f"classifier {format}-int8") as caught:
        export_bundle([Job(colours, reference.pictures, dark)], plan([format], ["fp32", "int8"]), tmp_path / "colours")
    assert caught.value.exit_code == 1
    written = open_bundle(tmp_path / "colours").manifest.classifier
    assert written is not None
    assert [v.name for v in written.variants] == [f"{format}-fp32"]


# Runs in a process of its own: oneDNN reads the instructions it may use when it starts.
_JUDGE = """
import json, sys
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from edgegal import runtimes
from edgegal.benchmarks.comparison import LabelledPictures, compare_bundle
from edgegal.benchmarks.comparison.report import Gate
from edgegal.bundle import open_bundle
from edgegal.export.network import FloatNetwork
from edgegal.export.parity import Reference, measure, shortfall

bundle, stored = open_bundle(Path(sys.argv[1])), np.load(sys.argv[2])

@dataclass(frozen=True, eq=False)
class Answered(FloatNetwork):
    description: object
    output_shapes = {"probabilities": (1, 3)}
    def __call__(self, pictures):
        return {"probabilities": stored["answers"]}

stage = bundle.manifest.classifier
(variant,) = (v for v in stage.variants if v.name == "openvino-int8")
adapter = runtimes.load(runtimes.RUNTIMES["openvino"], bundle.model_path(variant))
parity = measure(Reference.of(Answered(stage), stored["parity"]), adapter, "int8")
labelled = LabelledPictures("painted", "test", stored["pictures"], stored["labels"])
comparison = compare_bundle(bundle, Gate(), labelled=[labelled], runtime="openvino", resamples=200)
print(json.dumps({"missed": shortfall(parity), "sqnr_db": parity.sqnr_db, "failures": comparison.failures}))
"""


def _judged(bundle: Bundle, reference: Any, labelled: LabelledPictures, instructions: str, folder: Path) -> Any:
    stored = folder / "stored.npz"
    answers = reference.outputs["probabilities"]
    np.savez(stored, parity=reference.pictures, answers=answers, pictures=labelled.pictures, labels=labelled.labels)
    done = subprocess.run(
        [sys.executable, "-c", _JUDGE, str(bundle.root), str(stored)],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": instructions},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels that saturate are those of AVX2")
def test_a_saturating_kernel_is_caught_and_the_overflow_fix_stands_it(
    sound: Bundle, calibration: Any, reference: Any, labelled: LabelledPictures, tmp_path: Path
) -> None:
    """A real kernel: held to AVX2, oneDNN adds products of bytes in 16 bits, and there is no room for two large."""
    import nncf
    import openvino

    from edgegal.export.quiet import tools_quiet

    stage = sound.manifest.classifier
    assert stage is not None
    (plain,) = (v for v in stage.variants if v.name == "openvino-fp32")
    with tools_quiet():
        quantised = nncf.quantize(
            openvino.Core().read_model(sound.model_path(plain)),
            nncf.Dataset(calibration.batches()),
            preset=nncf.QuantizationPreset.MIXED,
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.DISABLE),
        )
    path = tmp_path / "full-range.xml"
    openvino.save_model(quantised, path, compress_to_fp16=False)
    full_range = _smuggled(sound, "openvino-int8", (path, path.with_suffix(".bin")), tmp_path / "smuggled")

    saturated = _judged(full_range, reference, labelled, "AVX2", tmp_path)
    assert "SQNR" in saturated["missed"]
    assert any("openvino-int8" in line for line in saturated["failures"])

    fixed = _judged(sound, reference, labelled, "AVX2", tmp_path)
    assert fixed["missed"] == ""
    assert fixed["failures"] == []
