"""What exporting cost: a written file, run in its own runtime, against the float network on the same pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal import anchors
from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription, Measured, Parity, Precision
from edgegal.detections import Detections
from edgegal.errors import InputError
from edgegal.export.network import FloatNetwork
from edgegal.frames import View
from edgegal.inference import decode_outputs
from edgegal.machine import this_machine
from edgegal.metrics import box_agreement
from edgegal.metrics.signal import Errors, compare
from edgegal.preprocess import network_input
from edgegal.runtimes import RuntimeAdapter

__all__ = [
    "LEAST_AGREEMENT",
    "LEAST_SQNR_DB",
    "Errors",
    "Reference",
    "compare",
    "held_to",
    "measure",
    "shortfall",
]

LEAST_AGREEMENT: Mapping[str, Mapping[Precision, float]] = {
    # A box near the score threshold comes and goes with the last bit, so detectors agree less than classifiers.
    "classification": {"fp32": 0.995, "fp16": 0.98, "dynamic": 0.95, "int16x8": 0.97, "int8": 0.95},
    "detection": {"fp32": 0.99, "fp16": 0.95, "dynamic": 0.9, "int16x8": 0.93, "int8": 0.9},
}
"""Least agreement accepted, by task and precision."""

LEAST_SQNR_DB: Mapping[str, Mapping[Precision, float]] = {
    "classification": {"fp32": 80.0, "fp16": 30.0, "dynamic": 20.0, "int16x8": 20.0, "int8": 20.0},
    "detection": {"fp32": 80.0, "fp16": 30.0, "dynamic": 18.0, "int16x8": 18.0, "int8": 18.0},
}
"""Least signal to quantisation noise of the worst output, by task and precision.

Both tables lie between what sound files of the shipped networks reach and what broken ones do; the figures stand in
``docs/how-to/export-a-model.md``. Swapped colours change few top classes and boxes, so agreement alone is no judge.
"""

_LEAST_BOXES = 10
"""Fewer boxes than this in all pictures do not tell whether two detectors agree."""

Outputs = Mapping[str, NDArray[np.float32]]


def held_to(precision: Precision, executed: str) -> Precision:
    """Whose thresholds a file of `precision` is held to that its runtime executes as `executed`.

    A runtime may run float files in half precision where the processor has it; they are held to that.
    """
    halved = precision == "fp32" and any(half in executed for half in ("fp16", "bf16"))
    return "fp16" if halved else precision


def shortfall(parity: Parity) -> str:
    """What of its thresholds a parity misses, in words; empty when it passes."""
    missed = []
    if parity.agreement < parity.threshold:
        missed.append(
            f"agrees with float on {parity.agreement:.3f} of {parity.samples} pictures, "
            f"at least {parity.threshold:g} is asked"
        )
    if parity.sqnr_db is not None and parity.least_sqnr_db is not None and parity.sqnr_db < parity.least_sqnr_db:
        missed.append(f"has an SQNR of {parity.sqnr_db:.1f} dB, at least {parity.least_sqnr_db:g} dB is asked")
    return " and ".join(missed)


@dataclass(frozen=True, eq=False)
class Reference:
    """The float network's answers.

    Attributes
    ----------
    network
        The float network.
    pictures
        ``(n, h, w, 3)`` uint8 RGB, none of them seen in calibration.
    outputs
        Its outputs by role, ``(n, ...)``.
    """

    network: FloatNetwork
    pictures: View
    outputs: Outputs

    @classmethod
    def of(cls, network: FloatNetwork, pictures: View) -> "Reference":
        """Run the float network.

        Raises
        ------
        InputError
            There is too little in the pictures to compare.
        """
        if not len(pictures):
            raise InputError("no pictures to measure parity on")
        reference = cls(network, pictures, network(pictures))
        if not all(np.isfinite(values).all() for values in reference.outputs.values()):
            raise InputError(f"the float {network.stage} gives values that are not finite", "train it again")
        if isinstance(network.description, DetectorDescription):
            boxes = sum(map(len, _detections(reference.outputs, network.description)))
            if boxes < _LEAST_BOXES:
                raise InputError(
                    f"the float detector finds {boxes} galaxies in {len(pictures)} pictures: too few to compare with",
                    "train it longer, or give more pictures",
                )
        return reference

    def agreement(self, outputs: Outputs) -> float:
        """Share of pictures with the same top class, or of boxes in common."""
        description = self.network.description
        if isinstance(description, ClassifierDescription):
            same = self.outputs["probabilities"].argmax(axis=1) == outputs["probabilities"].argmax(axis=1)
            return float(same.mean())
        return box_agreement(_detections(self.outputs, description), _detections(outputs, description))


def _detections(outputs: Outputs, description: DetectorDescription) -> list[Detections]:
    grid = anchors.generate(description.anchors, description.preprocess.height, description.preprocess.width)
    return [
        decode_outputs(codes, scores, grid, description)
        for codes, scores in zip(outputs["boxes"], outputs["scores"], strict=True)
    ]


def _run(adapter: RuntimeAdapter, pictures: View) -> dict[str, NDArray[Any]]:
    rows = [adapter.infer(network_input(picture)) for picture in pictures]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def measure(reference: Reference, adapter: RuntimeAdapter, precision: Precision, pictures: str = "") -> Parity:
    """Parity of a loaded file whose outputs are named by role.

    Parameters
    ----------
    reference
        What it has to answer.
    adapter
        The loaded file.
    precision
        What it was written in.
    pictures
        What the pictures of `reference` are, for the record.

    Raises
    ------
    GateFailedError
        An output is not finite.
    """
    outputs = _run(adapter, reference.pictures)
    errors = [compare(expected, outputs[role]) for role, expected in reference.outputs.items()]
    ratios = [e.sqnr_db for e in errors if e.sqnr_db is not None]
    executed = adapter.executed_precision()
    machine = this_machine()
    task, held = reference.network.description.task, held_to(precision, executed)
    return Parity(
        samples=len(reference.pictures),
        max_abs=max(e.max_abs for e in errors),
        mean_abs=max(e.mean_abs for e in errors),
        cosine=min(e.cosine for e in errors),
        sqnr_db=min(ratios) if ratios else None,
        agreement=reference.agreement(outputs),
        threshold=LEAST_AGREEMENT[task][held],
        least_sqnr_db=LEAST_SQNR_DB[task][held],
        pictures=pictures,
        measured=Measured(
            runtime=adapter.name,
            runtime_version=adapter.version,
            machine=str(machine),
            cpu_flags=machine.cpu_flags,
            executed_precision=executed,
        ),
    )
