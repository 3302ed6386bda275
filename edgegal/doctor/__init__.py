"""What is installed, which runtimes really infer, which parts of the machine are there, and what to do about each."""

from edgegal.doctor.findings import Finding, State, can_infer
from edgegal.doctor.hardware import look_at_hardware
from edgegal.doctor.inference import Attempt, attempts_as_findings, start_attempts
from edgegal.doctor.software import look_at_software
from edgegal.doctor.system import look_at_system

__all__ = [
    "Attempt",
    "Finding",
    "State",
    "attempts_as_findings",
    "can_infer",
    "look_at_hardware",
    "look_at_software",
    "look_at_system",
    "start_attempts",
]
