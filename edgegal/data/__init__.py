"""Datasets: labelled pictures, their splits, and the sets known by name."""

from edgegal.data.leakage import Leak, leaks, without_leaks
from edgegal.data.pictures import PictureSet
from edgegal.data.registry import DATASETS, open_dataset, shared_root

__all__ = ["DATASETS", "Leak", "PictureSet", "leaks", "open_dataset", "shared_root", "without_leaks"]
