"""The manifest of a bundle: what each network takes, gives, and was measured to do.

``bundle.json`` is the one schema; its models refuse unknown fields, so a misspelt key is an error and not a default.
"""

import hashlib
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    WrapSerializer,
    model_serializer,
    model_validator,
)
from typing_extensions import Self

from edgegal.anchors import AnchorSpec
from edgegal.preprocess import Preprocess

__all__ = [
    "SCHEMA_VERSION",
    "Accuracy",
    "ClassifierDescription",
    "ClassifierStage",
    "Description",
    "DetectorDescription",
    "DetectorStage",
    "EvaluationSet",
    "FileRecord",
    "Format",
    "Manifest",
    "Measured",
    "Parity",
    "Precision",
    "Provenance",
    "Quantization",
    "StageName",
    "Tensor",
    "Variant",
]

SCHEMA_VERSION = "1.3"
"""1.1 added when a classifier gives no class (`ClassifierDescription.abstain_below`, ``min_side_px``); 1.2 anchors
whose ratios differ between maps, and their layout (`AnchorLevel.shapes`, `AnchorSpec.layout`); 1.3 what an integer
file keeps in float (`Quantization.kept_float`), and what parity was measured on and its second threshold
(`Parity.pictures`, ``least_sqnr_db``)."""

Format = Literal["tflite", "onnx", "openvino", "tensorrt"]
Precision = Literal["fp32", "fp16", "dynamic", "int8", "int16x8"]
StageName = Literal["detector", "classifier"]


def _contained(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path or not pure.parts:
        raise ValueError(f"path {path!r} leaves the bundle")
    if pure.as_posix() != path:
        raise ValueError(f"path {path!r} is not written plainly: {pure.as_posix()!r}")
    return path


# No file system takes longer names.
BundlePath = Annotated[str, Field(max_length=255), AfterValidator(_contained)]


class _Model(BaseModel):
    # A NaN would be written as null and not read again.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FileRecord(_Model):
    """A file of the bundle, by its path inside it."""

    path: BundlePath
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Tensor(_Model):
    """An input or output of a variant.

    `role` is what edgegal calls it (``input``, ``probabilities``, ``boxes``, ``scores``), `name` what the file does.
    """

    role: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


def _omitting(*names: str) -> WrapSerializer:
    """Leave fields that came with a later schema out where they say nothing: earlier documents keep text and seal."""

    def write(value: Any, dump: SerializerFunctionWrapHandler) -> Any:
        document = dump(value)
        if isinstance(document, dict):
            for name in names:
                if not document.get(name):
                    document.pop(name, None)
        return document

    return WrapSerializer(write)


class Quantization(_Model):
    """How a variant was quantised, enough to do it again.

    Without calibration (precision ``dynamic``) its fields are empty and 0: no range was read from pictures.
    """

    recipe: str = Field(description="Tool and options, in words a reader can look up.")
    calibration: str = Field(default="", description="Dataset and split the activation ranges were read from.")
    calibration_sha256: str = Field(
        default="", pattern=r"^([0-9a-f]{64})?$", description="Hash of the calibration pictures."
    )
    samples: int = Field(default=0, ge=0)
    seed: int = 0
    kept_float: tuple[str, ...] = Field(
        default=(), description="Operations left in float, as they were named: in full, or by a scope of their own."
    )

    @model_validator(mode="after")
    def _calibration_is_whole(self) -> Self:
        if len({bool(self.calibration), bool(self.calibration_sha256), bool(self.samples)}) != 1:
            raise ValueError("calibration, calibration_sha256 and samples stand together or not at all")
        return self


class Measured(_Model):
    """Where and when a figure was taken."""

    runtime: str
    runtime_version: str
    machine: str = Field(description="Architecture and processor model.")
    cpu_flags: tuple[str, ...] = Field(description="Instruction sets that change integer kernels.")
    executed_precision: str


class Parity(_Model):
    """A variant's outputs against the float Keras model's on the same pictures.

    Errors and cosine are those of the worst output, each in its own unit: probability, score or box code.
    """

    samples: int = Field(ge=1)
    max_abs: float
    mean_abs: float
    cosine: float
    sqnr_db: float | None = Field(description="None when the outputs are equal.")
    agreement: float = Field(
        ge=0, le=1, description="Same top class (classifier) or same boxes at IoU .5 (detector), as a share."
    )
    threshold: float = Field(description="Least agreement accepted for this precision.")
    least_sqnr_db: float | None = Field(default=None, description="Least SQNR accepted for this precision.")
    pictures: str = Field(default="", description="Dataset and split of the pictures; none of them calibrated.")
    measured: Measured


class Accuracy(_Model):
    """One metric of one variant on one split."""

    metric: str
    value: float
    low: float = Field(description="Lower end of the 95 % interval.")
    high: float = Field(description="Upper end of the 95 % interval.")
    dataset: str
    split: str
    n: int
    seed: int
    measured: Measured


class Variant(_Model):
    """One exported form of a network. The first file is the one to load; the others must lie beside it."""

    name: str = Field(pattern=r"^[a-z0-9.-]+$")
    format: Format
    precision: Precision
    files: tuple[FileRecord, ...] = Field(min_length=1)
    inputs: tuple[Tensor, ...] = Field(min_length=1)
    outputs: tuple[Tensor, ...] = Field(min_length=1)
    quantization: Annotated[Quantization | None, _omitting("kept_float")] = None
    parity: Annotated[Parity | None, _omitting("least_sqnr_db", "pictures")] = None
    accuracy: tuple[Accuracy, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(f.bytes for f in self.files)


class Provenance(_Model):
    """Where the weights come from."""

    architecture: str
    parameters: int
    datasets: tuple[str, ...]
    dataset_sha256: str
    seed: int
    versions: dict[str, str]
    trained: AwareDatetime


class EvaluationSet(_Model):
    """Labelled pictures that travel in the bundle."""

    description: str
    n: int
    files: tuple[FileRecord, ...]


class Description(_Model):
    """What a trained network is, whatever form its weights take. Stands beside a ``.keras`` file as ``model.json``."""

    labels: tuple[str, ...] = Field(min_length=1)
    scheme: str
    preprocess: Preprocess
    provenance: Provenance

    @model_validator(mode="after")
    def _input_is_square(self) -> Self:
        if self.preprocess.width != self.preprocess.height:
            raise ValueError(f"tiles and crops are square, not {self.preprocess.width} x {self.preprocess.height}")
        return self


class ClassifierDescription(Description):
    """Crop in, class probabilities out."""

    task: Literal["classification"] = "classification"
    temperature: float = Field(default=1.0, gt=0, description="Probabilities are raised to 1/T and renormalised.")
    abstain_below: float = Field(
        default=0.0, ge=0, le=1, description="Calibrated top probability below which the answer is uncertain; 0: never."
    )
    min_side_px: float = Field(
        default=0.0,
        ge=0,
        description="Galaxies whose box's longer side is shorter in the frame are too small to tell; 0: none.",
    )

    @model_serializer(mode="wrap")
    def _without_what_says_nothing(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the fields of schema 1.1 out where they change nothing: documents of 1.0 keep their text and seal."""
        document: dict[str, Any] = write(self)
        for name in ("abstain_below", "min_side_px"):
            if not document.get(name):
                document.pop(name, None)
        return document


def _anchors_as_before(spec: AnchorSpec, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
    """Leave the fields of schema 1.2 out where they say nothing: earlier documents keep their text and seal."""
    document: dict[str, Any] = write(spec)
    if document["layout"] == "stride":
        del document["layout"]
    for level in document["levels"]:
        if not level["shapes"]:
            del level["shapes"]
    return document


class DetectorDescription(Description):
    """Tile in, box codes and scores out; decoding and suppression happen outside the graph."""

    task: Literal["detection"] = "detection"
    anchors: Annotated[AnchorSpec, WrapSerializer(_anchors_as_before)]
    score_threshold: float = Field(default=0.5, ge=0, le=1)
    iou_threshold: float = Field(default=0.45, ge=0, le=1)
    max_detections: int = Field(default=100, ge=1)
    tile_overlap: int = Field(default=64, ge=0)

    @model_validator(mode="after")
    def _tiles_step_forward(self) -> Self:
        if self.tile_overlap >= self.preprocess.width:
            raise ValueError(f"tile_overlap {self.tile_overlap} leaves no step of {self.preprocess.width} pixel tiles")
        return self


class _Deployed(_Model):
    """The exported forms of a network."""

    output_roles: ClassVar[frozenset[str]]

    variants: tuple[Variant, ...] = Field(min_length=1)
    evaluation: EvaluationSet | None = None

    @model_validator(mode="after")
    def _variants_are_told_apart(self) -> Self:
        names = [v.name for v in self.variants]
        double = {n for n in names if names.count(n) > 1}
        if double:
            raise ValueError(f"two variants are called {', '.join(sorted(double))}")
        return self

    @model_validator(mode="after")
    def _outputs_have_their_roles(self) -> Self:
        for variant in self.variants:
            missing = self.output_roles - {t.role for t in variant.outputs}
            if missing:
                raise ValueError(f"variant {variant.name} has no output for {', '.join(sorted(missing))}")
        return self


class ClassifierStage(ClassifierDescription, _Deployed):
    """A classifier in a bundle."""

    output_roles = frozenset({"probabilities"})


class DetectorStage(DetectorDescription, _Deployed):
    """A detector in a bundle."""

    output_roles = frozenset({"boxes", "scores"})


class Manifest(_Model):
    """``bundle.json``."""

    schema_version: str = Field(default=SCHEMA_VERSION, pattern=r"^\d+\.\d+$")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    version: str
    created: AwareDatetime
    description: str
    licence: str
    detector: DetectorStage | None = None
    classifier: ClassifierStage | None = None
    card: FileRecord | None = None
    seal: str = Field(default="", pattern=r"^([0-9a-f]{64})?$", description="SHA-256 of the manifest without its seal.")

    @model_validator(mode="after")
    def _has_a_stage(self) -> "Manifest":
        if self.detector is None and self.classifier is None:
            raise ValueError("a bundle holds a detector, a classifier or both")
        return self

    @property
    def stages(self) -> dict[StageName, DetectorStage | ClassifierStage]:
        """The stages present, in the order they run."""
        found: dict[StageName, DetectorStage | ClassifierStage] = {}
        if self.detector is not None:
            found["detector"] = self.detector
        if self.classifier is not None:
            found["classifier"] = self.classifier
        return found

    def expected_seal(self) -> str:
        """What `seal` has to be: a flipped digit in a figure or a threshold is still a valid manifest, but not this."""
        return hashlib.sha256(self.model_dump_json(exclude={"seal"}).encode()).hexdigest()

    def files(self) -> tuple[FileRecord, ...]:
        """Every file the manifest answers for."""
        records: list[FileRecord] = [] if self.card is None else [self.card]
        for stage in self.stages.values():
            for variant in stage.variants:
                records.extend(variant.files)
            if stage.evaluation is not None:
                records.extend(stage.evaluation.files)
        return tuple(records)
