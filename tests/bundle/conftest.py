from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from edgegal.anchors import AnchorLevel, AnchorSpec
from edgegal.bundle import Bundle, ClassifierStage, DetectorStage, Manifest, Variant, file_record, save
from edgegal.bundle.manifest import EvaluationSet, FileRecord, Provenance, Tensor
from edgegal.preprocess import Preprocess


def _write(root: Path, name: str, size: int) -> FileRecord:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.random.default_rng(size).bytes(size))
    return file_record(root, path)


def _variant(name: str, files: tuple[FileRecord, ...], outputs: dict[str, tuple[int, ...]]) -> Variant:
    return Variant(
        name=name,
        format="openvino",
        precision="fp32",
        files=files,
        inputs=(Tensor(role="input", name="image", shape=(1, 32, 32, 3), dtype="float32"),),
        outputs=tuple(Tensor(role=role, name=role, shape=shape, dtype="float32") for role, shape in outputs.items()),
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A sound bundle of two stages; its model files are noise, which no store needs to understand."""
    root = tmp_path / "galaxies"
    detector = (_write(root, "detector/net.xml", 300), _write(root, "detector/net.bin", 4000))
    provenance = Provenance(
        architecture="noise",
        parameters=1,
        datasets=("none",),
        dataset_sha256="0" * 64,
        seed=0,
        versions={"numpy": np.__version__},
        trained=datetime(2026, 1, 1, tzinfo=timezone.utc),
    )
    manifest = Manifest(
        name="noise",
        version="1",
        created=datetime(2026, 1, 2, tzinfo=timezone.utc),
        description="for tests: écliptique",
        licence="MIT",
        detector=DetectorStage(
            labels=("galaxy",),
            scheme="galaxy",
            preprocess=Preprocess(32, 32),
            provenance=provenance,
            anchors=AnchorSpec((AnchorLevel(16, (8.0,)),)),
            tile_overlap=8,
            variants=(_variant("openvino-fp32", detector, {"boxes": (1, 12, 4), "scores": (1, 12, 1)}),),
        ),
        classifier=ClassifierStage(
            labels=("round", "spiral"),
            scheme="two",
            preprocess=Preprocess(32, 32),
            provenance=provenance,
            variants=(
                _variant("first", (_write(root, "classifier/a.xml", 200),), {"probabilities": (1, 2)}),
                _variant("second", (_write(root, "classifier/b.xml", 201),), {"probabilities": (1, 2)}),
            ),
            evaluation=EvaluationSet(description="noise", n=1, files=(_write(root, "evaluation/0.png", 99),)),
        ),
    )
    return save(manifest, root)


@pytest.fixture(autouse=True)
def temporary_folders(tmp_path, monkeypatch):
    """Where the store unpacks archives, to see what it leaves there."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder
