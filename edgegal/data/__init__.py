"""Datasets: labelled pictures, their splits, and the sets known by name."""

from edgegal.data.leakage import Leak, leaks, without_leaks
from edgegal.data.pictures import PictureSet
from edgegal.data.registry import DATASETS, data_root, open_dataset, shared_root
from edgegal.data.splits import Shares
from edgegal.data.votes import LabelRules

__all__ = [
    "DATASETS",
    "LabelRules",
    "Leak",
    "PictureSet",
    "Shares",
    "data_root",
    "leaks",
    "open_dataset",
    "shared_root",
    "without_leaks",
]
