"""One network in every format and precision asked for, each written, run and compared before it counts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from edgegal import runtimes
from edgegal.bundle import Variant, file_record
from edgegal.bundle.manifest import Parity, Precision, Quantization, Tensor
from edgegal.data.boxed.frames import FrameReader
from edgegal.errors import GateFailedError, InputError
from edgegal.export.calibration import Calibration, calibrate
from edgegal.export.fallback import growing, worst_layers
from edgegal.export.network import FloatNetwork
from edgegal.export.outside import open_network
from edgegal.export.overlap import refuse_shared
from edgegal.export.parity import Reference, measure, shortfall
from edgegal.export.picture_source import SIMULATED, PictureSource, draw
from edgegal.export.progress import Progress, silent
from edgegal.export.quiet import tools_quiet
from edgegal.export.registry import EXPORTERS, Converted, Exporter, Order, exporter
from edgegal.frames import View
from edgegal.machine import package_versions
from edgegal.runtimes import RuntimeAdapter

__all__ = ["CALIBRATED", "Job", "Options", "Sources", "check_options", "export_variants", "plan", "prepare"]

CALIBRATED: frozenset[Precision] = frozenset({"int8", "int16x8"})
"""Precisions whose activation ranges are read from pictures."""

_FLOAT: frozenset[Precision] = frozenset({"fp32", "fp16"})


@dataclass(frozen=True, eq=False)
class Job:
    """One network to export.

    Attributes
    ----------
    network
        The float network.
    pictures
        ``(n, h, w, 3)`` uint8 RGB to measure parity on, none of them among those of `calibration`.
    calibration
        Pictures to read ranges from; None when no precision is wanted that needs them.
    pictures_from
        Dataset and split of `pictures`, for the record.
    """

    network: FloatNetwork
    pictures: View
    calibration: Calibration | None = None
    pictures_from: str = ""

    def __post_init__(self) -> None:
        shape = self.network.input_shape[1:]
        for pictures in (self.pictures, *([self.calibration.pictures] if self.calibration else [])):
            if pictures.shape[1:] != shape:
                raise InputError(f"the {self.network.stage} takes pictures {shape}, not {pictures.shape[1:]}")
        if self.calibration is not None:
            refuse_shared(self.calibration.pictures, "calibration", self.pictures, "those that parity is measured on")


@dataclass(frozen=True)
class Sources:
    """Where the pictures of a job come from.

    Attributes
    ----------
    calibration
        Ranges; None when no precision needs them.
    parity
        Comparison with float.
    """

    calibration: PictureSource | None
    parity: PictureSource

    @classmethod
    def named(cls, calibration: str | None, parity: str | None, precisions: Sequence[str]) -> "Sources":
        """Sources as the command line names them, ``NAME`` or ``NAME@SPLIT``.

        Parameters
        ----------
        calibration
            The train split when no split is named.
        parity
            The val split when no split is named. When None, the val split of `calibration`; without that, the
            simulated sky.
        precisions
            What is going to be written.

        Raises
        ------
        InputError
            A precision needs calibration and none is named; a test split is named; or both are the same pictures.
        """
        needing = [p for p in dict.fromkeys(precisions) if p in CALIBRATED]
        if needing and calibration is None:
            raise InputError(
                f"{' and '.join(needing)} need pictures to read the ranges of activations from, and none are named",
                "name a set that looks like what the network will see: --calibration NAME, folder:DIR, csv:FILE, "
                f"voc:DIR ... or {SIMULATED}; or leave out {' and '.join(needing)} with --precision fp32",
            )
        ranges = PictureSource.parse(calibration, "train") if calibration is not None else None
        if parity is not None:
            compared = PictureSource.parse(parity, "val")
        else:
            compared = PictureSource(SIMULATED if ranges is None else ranges.name, "val")
        if needing and ranges == compared:
            raise InputError(f"calibration and parity are both on {ranges}", "name other pictures with --parity")
        return cls(ranges if needing else None, compared)


@dataclass(frozen=True)
class Options:
    """Choices that hold for all networks and variants.

    Attributes
    ----------
    integer_io
        Whether TFLite int8 files take and give integers.
    keep_float
        By format, operations to leave in float in integer files.
    fallback
        Whether an int8 file that misses its gate is written again with its worst layers in float.
    """

    integer_io: bool = False
    keep_float: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fallback: bool = False


@dataclass(frozen=True)
class _Step:
    """One variant to write."""

    exporter: Exporter
    precision: Precision
    integer_io: bool
    keep_float: tuple[str, ...]

    @classmethod
    def of(cls, exporter: Exporter, precision: Precision, options: Options) -> "_Step":
        integers = options.integer_io and (exporter.format, precision) == ("tflite", "int8")
        kept = options.keep_float.get(exporter.format, ()) if precision in exporter.selective else ()
        return cls(exporter, precision, integers, kept)

    @property
    def suffix(self) -> str:
        return f"{self.precision}-io" if self.integer_io else self.precision

    @property
    def name(self) -> str:
        return f"{self.exporter.format}-{self.suffix}"

    @property
    def can_fall_back(self) -> bool:
        """Layers are compared in the format's own runtime, and ranges are what makes a layer bad."""
        return self.precision == "int8" and self.exporter.checked_by == self.exporter.format


@dataclass(frozen=True)
class _Attempt:
    """A file that was written and run; `missed` says what of the gate it misses, empty when it passes."""

    order: Order
    converted: Converted
    adapter: RuntimeAdapter
    parity: Parity | None
    missed: str


def prepare(
    path: Path,
    sources: Sources,
    samples: int,
    seed: int,
    read_frame: FrameReader | None = None,
    progress: Progress = silent,
) -> Job:
    """A network with `samples` pictures for parity, and as many for calibration where `sources` names any.

    Errors as `open_network`, `draw` and `Calibration`.
    """
    with tools_quiet():
        network = open_network(path)
    description = network.description
    calibration = None
    if sources.calibration is not None:
        calibration = calibrate(description, sources.calibration, samples, seed, read_frame, progress)
    drawn = draw(description, sources.parity, samples, seed, read_frame, progress)
    return Job(network, drawn.pictures, calibration, drawn.source)


def plan(formats: Sequence[str], precisions: Sequence[str]) -> list[tuple[Exporter, Precision]]:
    """What will be written: every format in every precision it has.

    Raises
    ------
    InputError
        A format or precision is unknown, or no format asked for has a precision asked for.
    """
    chosen = [exporter(name) for name in dict.fromkeys(formats)]
    steps = [(e, p) for e in chosen for p in e.precisions if p in precisions]
    for precision in precisions:
        if not any(p == precision for _, p in steps):
            known = sorted({p for e in chosen for p in e.precisions})
            raise InputError(f"no {precision} in {', '.join(formats) or 'no format'}", f"use: {', '.join(known)}")
    if not steps:
        raise InputError("no format or no precision to export", f"formats: {', '.join(EXPORTERS)}")
    return steps


def check_options(steps: Sequence[tuple[Exporter, Precision]], options: Options) -> None:
    """`InputError` when two steps give variants of one name, or an option is for none of them."""
    names = [_Step.of(chosen, precision, options).name for chosen, precision in steps]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise InputError(f"two variants are called {', '.join(double)}", "ask for each format and precision once")
    if options.integer_io and not any(name.endswith("-io") for name in names):
        raise InputError("only tflite int8 can take and give integers", "add --format tflite --precision int8")
    selective = {chosen.format for chosen, precision in steps if precision in chosen.selective}
    strange = [name for name in options.keep_float if name not in selective]
    if strange:
        raise InputError(
            f"nothing is quantised in {strange[0]} of which layers could stay in float",
            f"name one of: {', '.join(sorted(selective)) or 'none, add --precision int8'}",
        )


def export_variants(
    job: Job,
    reference: Reference,
    steps: Sequence[tuple[Exporter, Precision]],
    root: Path,
    options: Options,
    progress: Progress,
) -> Iterator[Variant | GateFailedError]:
    """Write each step's files and measure them against the float answers.

    Yields a variant whose files lie below the bundle folder `root`, in place of those of that name there; or the failed
    gate of one that differs too much from float, which leaves `root` as it was.
    """
    stage = job.network.stage
    folder = root / stage
    folder.mkdir(exist_ok=True)
    for number, (chosen, precision) in enumerate(steps, 1):
        step = _Step.of(chosen, precision, options)
        progress(f"{stage} {step.name} ({number} of {len(steps)})")
        # On the file system of the bundle: what passes is renamed.
        with TemporaryDirectory(prefix=".attempt-", dir=root) as scratch:
            attempt = _attempted(job, reference, step, Path(scratch), options.fallback, progress)
            if attempt.missed:
                yield GateFailedError(f"{stage} {step.name} {attempt.missed}")
                continue
            moved = tuple(path.replace(folder / path.name) for path in attempt.converted.files)
        yield _variant(step, attempt, moved, root)


def _attempted(
    job: Job, reference: Reference, step: _Step, scratch: Path, fallback: bool, progress: Progress
) -> _Attempt:
    """The file of a step; with layers in float when it misses its gate without."""
    made = _attempt(job, reference, step, step.keep_float, scratch / "0", progress)
    if not (made.missed and fallback and step.can_fall_back and job.calibration is not None):
        return made
    try:
        with tools_quiet():
            (scratch / "float").mkdir()
            float_order = _order(job, replace(step, precision="fp32", integer_io=False), (), scratch / "float")
            names = worst_layers(step.exporter, float_order, made.converted.files[0], job.calibration.pictures)
    except GateFailedError:
        return made
    for number, kept in enumerate(growing(names), 1):
        progress(f"  {made.missed}; again with {_layers(kept)} in float: {', '.join(kept)}")
        all_kept = tuple(dict.fromkeys((*step.keep_float, *kept)))
        made = _attempt(job, reference, step, all_kept, scratch / str(number), progress)
        if not made.missed:
            return made
    return replace(made, missed=f"{made.missed}, even with {_layers(names)} in float")


def _layers(names: Sequence[str]) -> str:
    return f"{len(names)} layer{'' if len(names) == 1 else 's'}"


def _attempt(
    job: Job, reference: Reference, step: _Step, kept: tuple[str, ...], folder: Path, progress: Progress
) -> _Attempt:
    # A folder of its own: a runtime may have the file of an earlier attempt mapped into memory.
    folder.mkdir()
    order = _order(job, step, kept, folder)
    with tools_quiet():
        converted = step.exporter.load().convert(order)
        adapter = runtimes.load(runtimes.choose({step.exporter.checked_by}), converted.files[0])
        _check_tensors(adapter, job.network)
        try:
            parity = measure(reference, adapter, step.precision, job.pictures_from)
        except GateFailedError as error:
            return _Attempt(order, converted, adapter, None, error.message)
    progress(_line(parity))
    return _Attempt(order, converted, adapter, parity, shortfall(parity))


def _order(job: Job, step: _Step, kept: tuple[str, ...], folder: Path) -> Order:
    stage = job.network.stage
    calibration = job.calibration if step.precision in CALIBRATED else None
    # What the tool that converts says of itself is not known yet.
    recipe = f"edgegal export --format {step.exporter.format} --precision {step.precision}"
    quantization = None if step.precision in _FLOAT else _quantization(recipe, calibration, kept)
    metadata = {
        "stage": stage,
        "precision": step.precision,
        "description": job.network.description.model_dump(mode="json"),
        "exported_with": package_versions(),
        "quantization": None if quantization is None else quantization.model_dump(mode="json"),
    }
    return Order(
        network=job.network,
        precision=step.precision,
        calibration=calibration,
        target=folder / f"{stage}-{step.suffix}",
        metadata=json.dumps(metadata, sort_keys=True),
        keep_float=kept,
        integer_io=step.integer_io,
    )


def _quantization(recipe: str, calibration: Calibration | None, kept: tuple[str, ...]) -> Quantization:
    if calibration is None:
        return Quantization(recipe=recipe, kept_float=kept)
    return Quantization(
        recipe=recipe,
        calibration=f"{calibration.dataset} {calibration.split}",
        calibration_sha256=calibration.sha256,
        samples=len(calibration),
        seed=calibration.seed,
        kept_float=kept,
    )


def _check_tensors(adapter: RuntimeAdapter, network: FloatNetwork) -> None:
    """A written file has one picture as input and the network's outputs under their roles, or it is a defect here."""
    found = {o.name: o.shape for o in adapter.outputs}
    shapes = [i.shape for i in adapter.inputs]
    if found != network.output_shapes or shapes != [network.input_shape]:
        raise RuntimeError(f"{adapter.path} takes {shapes} and gives {found}, not {network.output_shapes}")


def _line(parity: Parity) -> str:
    ratio = "equal" if parity.sqnr_db is None else f"SQNR {parity.sqnr_db:.1f} dB (asked {parity.least_sqnr_db:g})"
    return (
        f"  agrees {parity.agreement:.3f} (asked {parity.threshold:g}), max error {parity.max_abs:.2g}, "
        f"mean {parity.mean_abs:.2g}, cosine {parity.cosine:.5f}, {ratio}, on {parity.measured.runtime} "
        f"in {parity.measured.executed_precision}"
    )


def _tensors(adapter: RuntimeAdapter) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    outer = [
        tuple(
            Tensor(
                role=role or info.name,
                name=info.name,
                shape=info.shape,
                dtype=info.dtype,
                scale=info.scale,
                zero_point=info.zero_point,
            )
            for info in infos
        )
        for role, infos in (("input", adapter.inputs), ("", adapter.outputs))
    ]
    return outer[0], outer[1]


def _variant(step: _Step, attempt: _Attempt, files: tuple[Path, ...], root: Path) -> Variant:
    inputs, outputs = _tensors(attempt.adapter)
    order = attempt.order
    quantization = None
    if step.precision not in _FLOAT:
        quantization = _quantization(attempt.converted.recipe, order.calibration, order.keep_float)
    return Variant(
        name=step.name,
        format=step.exporter.format,
        precision=step.precision,
        files=tuple(file_record(root, path) for path in files),
        inputs=inputs,
        outputs=outputs,
        quantization=quantization,
        parity=attempt.parity,
    )
