"""One network in every format and precision asked for, each written, run and compared before it counts."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegal import runtimes
from edgegal.bundle import Variant, file_record
from edgegal.bundle.manifest import Parity, Precision, Quantization, Tensor
from edgegal.data import open_dataset
from edgegal.errors import GateFailedError, InputError
from edgegal.export.calibration import Calibration, calibrate, network_pictures
from edgegal.export.network import FloatNetwork, read_network
from edgegal.export.parity import Reference, measure
from edgegal.export.quiet import tools_quiet
from edgegal.export.registry import EXPORTERS, Converted, Exporter, Order, exporter
from edgegal.frames import View
from edgegal.machine import package_versions
from edgegal.runtimes import RuntimeAdapter

__all__ = ["FLOAT_PRECISIONS", "Job", "Progress", "export_variants", "plan", "prepare"]

FLOAT_PRECISIONS: frozenset[Precision] = frozenset({"fp32", "fp16"})
"""Precisions that need no calibration."""

Progress = Callable[[str], None]
"""Takes one line for people."""


@dataclass(frozen=True, eq=False)
class Job:
    """One network to export.

    Attributes
    ----------
    network
        The float network.
    pictures
        ``(n, h, w, 3)`` uint8 RGB to measure parity on, from a split that calibration does not touch.
    calibration
        Pictures to read ranges from; None when only float precisions are wanted.
    """

    network: FloatNetwork
    pictures: View
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        shape = self.network.input_shape[1:]
        for pictures in (self.pictures, *([self.calibration.pictures] if self.calibration else [])):
            if pictures.shape[1:] != shape:
                raise InputError(f"the {self.network.stage} takes pictures {shape}, not {pictures.shape[1:]}")


def prepare(folder: Path, dataset: str, samples: int, seed: int) -> Job:
    """A trained network with `samples` calibration pictures (train split) and as many for parity (val split).

    Errors as `read_network`, `edgegal.data.open_dataset` and `Calibration`.
    """
    with tools_quiet():
        network = read_network(folder)
    pictures = open_dataset(dataset)
    return Job(
        network,
        pictures=network_pictures(network.description, pictures, "val", samples, seed),
        calibration=calibrate(network.description, pictures, samples, seed),
    )


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


def export_variants(
    job: Job, reference: Reference, steps: Sequence[tuple[Exporter, Precision]], root: Path, progress: Progress
) -> Iterator[Variant | GateFailedError]:
    """Write each step's files below the bundle folder `root` and measure them against the float answers.

    Yields a variant, or the failed gate of one that differs too much from float; what failed stays in `root`.
    """
    folder = root / job.network.stage
    folder.mkdir(exist_ok=True)
    for number, (step, precision) in enumerate(steps, 1):
        name = f"{step.format}-{precision}"
        progress(f"{job.network.stage} {name} ({number} of {len(steps)})")
        with tools_quiet():
            converted = step.load().convert(_order(job, precision, folder / f"{job.network.stage}-{precision}"))
            adapter = runtimes.load(runtimes.choose({step.format}), converted.files[0])
            _check_tensors(adapter, job.network)
        try:
            with tools_quiet():
                parity = measure(reference, adapter, precision)
        except GateFailedError as error:
            yield GateFailedError(f"{job.network.stage} {name}: {error.message}")
            continue
        progress(_line(parity))
        if parity.agreement < parity.threshold:
            yield GateFailedError(
                f"{job.network.stage} {name} agrees with float on {parity.agreement:.3f} "
                f"of {parity.samples} pictures, at least {parity.threshold} is asked"
            )
            continue
        yield _variant(name, step, precision, converted, adapter, root, job, parity)


def _order(job: Job, precision: Precision, target: Path) -> Order:
    metadata = {
        "stage": job.network.stage,
        "precision": precision,
        "description": job.network.description.model_dump(mode="json"),
        "exported_with": package_versions(),
    }
    calibration = None if precision in FLOAT_PRECISIONS else job.calibration
    return Order(job.network, precision, calibration, target, json.dumps(metadata, sort_keys=True))


def _check_tensors(adapter: RuntimeAdapter, network: FloatNetwork) -> None:
    """A written file has one picture as input and the network's outputs under their roles, or it is a defect here."""
    found = {o.name: o.shape for o in adapter.outputs}
    shapes = [i.shape for i in adapter.inputs]
    if found != network.output_shapes or shapes != [network.input_shape]:
        raise RuntimeError(f"{adapter.path} takes {shapes} and gives {found}, not {network.output_shapes}")


def _line(parity: Parity) -> str:
    ratio = "equal" if parity.sqnr_db is None else f"SQNR {parity.sqnr_db:.1f} dB"
    return (
        f"  agrees {parity.agreement:.3f} (asked {parity.threshold}), max error {parity.max_abs:.2g}, "
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


def _variant(
    name: str,
    step: Exporter,
    precision: Precision,
    converted: Converted,
    adapter: RuntimeAdapter,
    root: Path,
    job: Job,
    parity: Parity,
) -> Variant:
    inputs, outputs = _tensors(adapter)
    quantization = None
    if precision not in FLOAT_PRECISIONS and job.calibration is not None:
        quantization = Quantization(
            recipe=converted.recipe,
            calibration=f"{job.calibration.dataset} {job.calibration.split}",
            calibration_sha256=job.calibration.sha256,
            samples=len(job.calibration),
            seed=job.calibration.seed,
        )
    return Variant(
        name=name,
        format=step.format,
        precision=precision,
        files=tuple(file_record(root, path) for path in converted.files),
        inputs=inputs,
        outputs=outputs,
        quantization=quantization,
        parity=parity,
    )
