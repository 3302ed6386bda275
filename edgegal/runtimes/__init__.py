"""Inference runtimes: one registry, one adapter interface, packages imported at first use only."""

from edgegal.runtimes.base import RuntimeAdapter, TensorInfo
from edgegal.runtimes.registry import RUNTIMES, RuntimeEntry, choose, installed, load

__all__ = ["RUNTIMES", "RuntimeAdapter", "RuntimeEntry", "TensorInfo", "choose", "installed", "load"]
