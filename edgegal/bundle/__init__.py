"""Bundles: networks with everything needed to run, check and trust them."""

from edgegal.bundle.manifest import ClassifierStage, DetectorStage, Manifest, StageName, Variant
from edgegal.bundle.store import Bundle, file_record, open_bundle, pack, save, verify

__all__ = [
    "Bundle",
    "ClassifierStage",
    "DetectorStage",
    "Manifest",
    "StageName",
    "Variant",
    "file_record",
    "open_bundle",
    "pack",
    "save",
    "verify",
]
