"""What a model from outside is: a TOML file beside its weights.

The weights alone do not say which colours they take, in which range, or what their outputs mean. Nothing of that is
guessed: what has no safe default must stand in the file, and `read_model_info` refuses what it does not know.
"""

import dataclasses
import difflib
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, time, timezone
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from typing_extensions import Self

from edgegal.anchors import AnchorSpec
from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription, Provenance
from edgegal.errors import InputError
from edgegal.labels import SCHEMES
from edgegal.preprocess import Preprocess, Stretch

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

__all__ = ["Activation", "ClassifierInfo", "DetectorInfo", "Input", "ModelInfo", "Output", "read_model_info"]

Activation = Literal["none", "softmax", "sigmoid"]

_UNSTATED = "not stated"

# Rec. 601, as OpenCV makes grey: mono frames, which have three equal channels, pass unchanged with any that sum to 1.
_LUMA = (0.299, 0.587, 0.114)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _listed(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


Channels = Annotated[tuple[float, ...], BeforeValidator(_listed)]
"""One number for all channels, or one for each."""


class Input(_Section):
    """What the model was trained on, as steps from a picture RGB 0-255 to its input."""

    colour: Literal["rgb", "bgr", "mono"] = Field(title='"rgb", "bgr" or "mono": the channels the model takes')
    mean: Channels = Field(
        title="subtracted first, in units of 0-255; one number, or one for each channel in the model's own order; "
        "0 when it subtracts nothing"
    )
    scale: Channels = Field(
        title="divided by then: (x - mean) / scale; 1 when the model takes 0-255, 255 when it takes 0-1"
    )
    layout: Literal["nhwc", "nchw"] = Field(default="nhwc", title="where the channels stand")
    size: int | None = Field(default=None, ge=1, le=4096, title="side of the picture, where the model leaves it open")
    crop_scale: float = Field(default=1.0, gt=0, le=10, title="side of a classifier's crop over that of the box")
    stretch: Stretch = Field(default=Stretch(), title="stretch that makes views of linear frames")

    @field_validator("scale")
    @classmethod
    def _divides(cls, scale: tuple[float, ...]) -> tuple[float, ...]:
        if 0 in scale:
            raise ValueError("nothing can be divided by 0; 1 leaves the values as they are")
        return scale

    @model_validator(mode="after")
    def _has_a_value_for_each_channel(self) -> Self:
        for name, values in (("mean", self.mean), ("scale", self.scale)):
            if len(values) not in (1, self.channels):
                raise ValueError(
                    f"{name} has {len(values)} numbers, and a {self.colour} model {self.channels} channels"
                )
        return self

    @property
    def channels(self) -> int:
        """Channels the model takes."""
        return 1 if self.colour == "mono" else 3

    def shape(self, size: int) -> tuple[int, int, int]:
        """Shape of one picture as the model takes it."""
        return (size, size, self.channels) if self.layout == "nhwc" else (self.channels, size, size)

    @property
    def mixture(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights ``(3, channels)`` and offsets ``(channels,)`` that take RGB 0-255 to what the model takes."""
        colours = {"rgb": np.eye(3), "bgr": np.eye(3)[::-1], "mono": np.array(_LUMA)[:, None]}[self.colour]
        mean, scale = (np.broadcast_to(np.asarray(value, float), self.channels) for value in (self.mean, self.scale))
        return (colours / scale).astype(np.float32), (-mean / scale).astype(np.float32)

    @property
    def plain(self) -> bool:
        """Whether the model takes RGB 0-255 as it comes."""
        weights, offsets = self.mixture
        return np.array_equal(weights, np.eye(3)) and not offsets.any()


class Output(_Section):
    """Where one output is found in the model."""

    name: str | None = Field(default=None, title="its name in the model; may be left out when there is only one")
    activation: Activation = Field(default="none", title='"softmax" or "sigmoid" when the model gives logits')


class ClassifierOutputs(_Section):
    """Outputs of a classifier."""

    probabilities: Output = Field(default=Output(), title="(n, labels), summing to 1 after the activation")


class DetectorOutputs(_Section):
    """Outputs of a detector."""

    boxes: Output = Field(title="(n, anchors, 4): box codes ty, tx, th, tw against the anchors")
    scores: Output = Field(title="(n, anchors, labels), each within 0 to 1 after the activation")


class Origin(_Section):
    """Where the weights come from, as far as their maker says."""

    architecture: str = Field(default="", title="what the network is; the file's name when left out")
    datasets: tuple[str, ...] = Field(default=(_UNSTATED,), min_length=1, title="what it was trained on")
    dataset_sha256: str = Field(default=_UNSTATED, title="hash of the training pictures")
    seed: int = Field(default=0, title="seed of the training")
    trained: date | None = Field(default=None, title="day it was trained; that of the file when left out")


class _Info(_Section):
    model: str = Field(
        min_length=1, title="path of the weights from this file: .keras, .h5, .onnx or the folder of a SavedModel"
    )
    labels: tuple[str, ...] = Field(min_length=1, title="names of the classes, in the order of the outputs")
    scheme: str = Field(default="own", min_length=1, title="label scheme of edgegal, when the labels are those of one")
    input: Input = Field(title="a table: colour, mean and scale that the model was trained with")
    provenance: Origin = Field(default=Origin(), title="where the weights come from")
    licence: str = Field(default=_UNSTATED, min_length=1, title="licence of the weights")

    @field_validator("labels")
    @classmethod
    def _differ(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        double = [label for label, count in Counter(labels).items() if count > 1]
        if double:
            raise ValueError(f"two classes are called {double[0]!r}")
        return labels

    @model_validator(mode="after")
    def _labels_are_those_of_the_scheme(self) -> Self:
        if self.scheme in SCHEMES and self.labels != SCHEMES[self.scheme].labels:
            raise ValueError(f"the labels of scheme {self.scheme!r} are {', '.join(SCHEMES[self.scheme].labels)}")
        return self

    def _common(self, size: int, parameters: int, versions: dict[str, str], path: Path) -> dict[str, Any]:
        """What every description has."""
        origin = self.provenance
        written = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
        return {
            "labels": self.labels,
            "scheme": self.scheme,
            "preprocess": Preprocess(size, size, self.input.stretch, self.input.crop_scale),
            "provenance": Provenance(
                architecture=origin.architecture or path.name,
                parameters=parameters,
                datasets=origin.datasets,
                dataset_sha256=origin.dataset_sha256,
                seed=origin.seed,
                versions=versions,
                trained=datetime.combine(origin.trained, time(), timezone.utc) if origin.trained else written,
            ),
        }


class ClassifierInfo(_Info):
    """A classifier; fields that `ClassifierDescription` has too mean the same."""

    task: Literal["classification"]
    outputs: ClassifierOutputs = Field(default=ClassifierOutputs(), title="where the probabilities are")
    temperature: float = Field(default=1.0, gt=0)
    abstain_below: float = Field(default=0.0, ge=0, le=1)
    min_side_px: float = Field(default=0.0, ge=0)

    same: ClassVar[tuple[str, ...]] = ("temperature", "abstain_below", "min_side_px")

    def description(
        self, size: int, parameters: int, versions: dict[str, str], path: Path
    ) -> ClassifierDescription | DetectorDescription:
        """The description of a model of input side `size`, read from `path`."""
        values = {name: getattr(self, name) for name in self.same}
        return ClassifierDescription(**self._common(size, parameters, versions, path), **values)


class DetectorInfo(_Info):
    """A detector with anchors; fields that `DetectorDescription` has too mean the same."""

    task: Literal["detection"]
    outputs: DetectorOutputs = Field(title="where boxes and scores are")
    anchors: AnchorSpec = Field(title="levels, ratios, coder_scales and layout of the anchors")
    score_threshold: float = Field(default=0.5, ge=0, le=1)
    iou_threshold: float = Field(default=0.45, ge=0, le=1)
    max_detections: int = Field(default=100, ge=1)
    tile_overlap: int = Field(default=64, ge=0)

    same: ClassVar[tuple[str, ...]] = ("anchors", "score_threshold", "iou_threshold", "max_detections", "tile_overlap")

    def description(
        self, size: int, parameters: int, versions: dict[str, str], path: Path
    ) -> ClassifierDescription | DetectorDescription:
        """The description of a model of input side `size`, read from `path`."""
        values = {name: getattr(self, name) for name in self.same}
        return DetectorDescription(**self._common(size, parameters, versions, path), **values)


ModelInfo: TypeAlias = ClassifierInfo | DetectorInfo

_TASKS: dict[str, type[ClassifierInfo] | type[DetectorInfo]] = {
    "classification": ClassifierInfo,
    "detection": DetectorInfo,
}


def read_model_info(path: Path) -> ModelInfo:
    """Read the TOML file of a model from outside.

    Raises
    ------
    InputError
        The file is missing, is not TOML, leaves out what has no default, or holds an unknown key or an unfit value.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no file {path}") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    task = raw.get("task")
    if not isinstance(task, str) or task not in _TASKS:
        found = "task is missing" if task is None else f"task is {task!r}"
        raise InputError(f"{path}: {found}", f"use: {', '.join(_TASKS)}")
    try:
        return _TASKS[task].model_validate(raw)
    except ValidationError as error:
        raise _refused(path, _TASKS[task], error) from None


def _refused(path: Path, info: type[BaseModel], error: ValidationError) -> InputError:
    """The first thing wrong, with its key and the mend."""
    first = error.errors()[0]
    where = [part for part in first["loc"] if isinstance(part, str)]
    name = ".".join(str(part) for part in first["loc"])
    section = _section(info, where[:-1])
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = list(_titles(section))
        close = difflib.get_close_matches(where[-1], known, n=1)
        return InputError(
            f"{path}: unknown key {name}", f"did you mean {close[0]}?" if close else f"use: {', '.join(known)}"
        )
    if first["type"] == "missing":
        title = _titles(section).get(where[-1], "")
        return InputError(f"{path}: {name} is missing", f"state it: {title}" if title else "state it")
    return InputError(f"{path}: {name + ': ' if name else ''}{first['msg'].removeprefix('Value error, ')}")


def _section(info: Any, where: Iterable[str]) -> Any:
    """The class behind a table of the file; where unions name their choices too, the nearest one above."""
    for part in where:
        field = info.model_fields.get(part) if hasattr(info, "model_fields") else None
        if field is not None and isinstance(field.annotation, type):
            info = field.annotation
    return info


def _titles(section: Any) -> dict[str, str]:
    """The keys of a table, with what they are where that is known."""
    if dataclasses.is_dataclass(section):
        return {field.name: "" for field in dataclasses.fields(section)}
    return {name: field.title or "" for name, field in section.model_fields.items()}
