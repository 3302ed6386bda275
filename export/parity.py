"""What exporting cost: a written file, run in its own runtime, against the float network on the same pictures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgegal import anchors
from edgegal.bundle.manifest import ClassifierDescription, DetectorDescription, Measured, Parity, Precision
from edgegal.detections import Detections
from edgegal.errors import GateFailedError, InputError
from edgegal.export.network import FloatNetwork
from edgegal.frames import View
from edgegal.inference import decode_outputs
from edgegal.machine import this_machine
from edgegal.metrics import box_agreement
from edgegal.preprocess import network_input
from edgegal.runtimes import RuntimeAdapter

__all__ = ["LEAST_AGREEMENT", "Errors", "Reference", "compare", "least_agreement", "measure"]

LEAST_AGREEMENT: Mapping[str, Mapping[str, float]] = {
    # A box near the score threshold comes and goes with the last bit, so detectors agree less than classifiers.
    "classification": {"fp32": 0.995, "fp16": 0.98, "int8": 0.95},
    "detection": {"fp32": 0.99, "fp16": 0.95, "int8": 0.85},
}
"""Least agreement accepted, by task and precision."""

_LEAST_BOXES = 10
"""Fewer boxes than this in all pictures do not tell whether two detectors agree."""

Outputs = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Errors:
    """Errors of one output.

    Attributes
    ----------
    max_abs, mean_abs
        Largest and mean absolute difference.
    cosine
        Cosine of the angle between the outputs of all pictures, each taken as one vector.
    sqnr_db
        Signal to quantisation noise, ``10 log10(sum reference^2 / sum difference^2)``; None when equal.
    """

    max_abs: float
    mean_abs: float
    cosine: float
    sqnr_db: float | None


def compare(reference: NDArray[np.floating], found: NDArray[np.floating]) -> Errors:
    """Errors of `found` against `reference`, of one shape.

    Raises
    ------
    GateFailedError
        `found` is not all finite.
    """
    a, b = reference.astype(np.float64).ravel(), found.astype(np.float64).ravel()
    if not np.isfinite(b).all():
        raise GateFailedError("outputs are not all finite")
    difference = np.abs(a - b)
    signal, noise, norms = float(a @ a), float(difference @ difference), float(np.linalg.norm(a) * np.linalg.norm(b))
    return Errors(
        max_abs=float(difference.max()),
        mean_abs=float(difference.mean()),
        cosine=float(a @ b) / norms if norms else float(noise == 0),
        sqnr_db=(10 * math.log10(signal / noise) if signal else -math.inf) if noise else None,
    )


def least_agreement(task: str, precision: Precision, executed: str) -> float:
    """Threshold for a file of `precision` that its runtime executes as `executed`.

    A runtime may run float files in half precision where the processor has it; they are held to that.
    """
    halved = precision == "fp32" and any(half in executed for half in ("fp16", "bf16"))
    return LEAST_AGREEMENT[task]["fp16" if halved else precision]


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


def measure(reference: Reference, adapter: RuntimeAdapter, precision: Precision) -> Parity:
    """Parity of a loaded file whose outputs are named by role.

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
    return Parity(
        samples=len(reference.pictures),
        max_abs=max(e.max_abs for e in errors),
        mean_abs=max(e.mean_abs for e in errors),
        cosine=min(e.cosine for e in errors),
        sqnr_db=min(ratios) if ratios else None,
        agreement=reference.agreement(outputs),
        threshold=least_agreement(reference.network.description.task, precision, executed),
        measured=Measured(
            runtime=adapter.name,
            runtime_version=adapter.version,
            machine=str(machine),
            cpu_flags=machine.cpu_flags,
            executed_precision=executed,
        ),
    )
