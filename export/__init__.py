"""Trained networks to files that small computers run, each checked against the float network before it ships."""

from edgegal.export.calibration import Calibration, calibrate
from edgegal.export.network import FloatNetwork, KerasNetwork, OnnxNetwork, read_network
from edgegal.export.outside import open_network
from edgegal.export.picture_source import PictureSource, draw
from edgegal.export.registry import EXPORTERS
from edgegal.export.simulated import add_simulated_evaluation
from edgegal.export.variants import Job, Options, Sources, plan, prepare
from edgegal.export.writer import (
    Identity,
    VariantsFailedError,
    add_classifier_evaluation,
    add_detector_evaluation,
    check_goal,
    export_bundle,
)

__all__ = [
    "EXPORTERS",
    "Calibration",
    "FloatNetwork",
    "Identity",
    "Job",
    "KerasNetwork",
    "OnnxNetwork",
    "Options",
    "PictureSource",
    "Sources",
    "VariantsFailedError",
    "add_classifier_evaluation",
    "add_detector_evaluation",
    "add_simulated_evaluation",
    "calibrate",
    "check_goal",
    "draw",
    "export_bundle",
    "open_network",
    "plan",
    "prepare",
    "read_network",
]
