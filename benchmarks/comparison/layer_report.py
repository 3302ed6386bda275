"""Where the error of integer variants enters: their layers beside those of float, and which to keep in float."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgegal.benchmarks.layers import LayerError, layer_errors, layers_to_keep
from edgegal.benchmarks.layers.names import shortened
from edgegal.bundle import Bundle, StageName, Variant
from edgegal.bundle.manifest import Format, Precision
from edgegal.errors import BundleError, EdgegalError
from edgegal.frames import View

__all__ = ["PICTURES", "LayerReport", "analyse_layers"]

PICTURES = 16
"""Layers are compared on so many pictures: an error of arithmetic shows on few."""

_KEPT = 3
_INTEGER = {"dynamic", "int8", "int16x8"}
_FLOAT = "fp32"

# TensorFlow's converter keeps operations of int8 alone in float.
_ALL_OR_NOTHING = {("tflite", "dynamic"), ("tflite", "int16x8")}


@dataclass(frozen=True)
class LayerReport:
    """The layers of one integer variant against float's of the same format.

    Attributes
    ----------
    stage, variant, format, precision
        Which file.
    layers
        In the order they run.
    keep
        Names of those to keep in float, the worst first; none where the format cannot keep any in this precision.
    """

    stage: StageName
    variant: str
    format: Format
    precision: Precision
    layers: tuple[LayerError, ...]
    keep: tuple[str, ...]

    @property
    def command(self) -> str:
        """The export that keeps them in float; model and sets are the reader's."""
        short = self.short_names
        kept = [word for name in self.keep for word in ("--keep-float", f"{self.format}:{short[name]}")]
        words = ["edgegal", "export", "MODEL", "--out", "DIR", "--format", self.format, "--precision", self.precision]
        calibrated = [] if self.precision == "dynamic" else ["--calibration", "SET"]
        integers = ["--integer-io"] if self.variant.endswith("-io") else []
        return shlex.join([*words, *calibrated, *integers, *kept])

    @property
    def short_names(self) -> Mapping[str, str]:
        """What to call each layer in tables and commands."""
        return shortened([layer.name for layer in self.layers])

    @property
    def worst(self) -> list[LayerError]:
        """The layers that add most error of their own, the worst first; those that add none are left out."""
        adding = [layer for layer in self.layers if layer.own_sqnr_db is not None]
        return sorted(adding, key=lambda layer: layer.own_sqnr_db or 0.0)

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "command": self.command}


def analyse_layers(
    bundle: Bundle, stage: StageName, variants: Iterable[str], pictures: View
) -> tuple[tuple[LayerReport, ...], dict[str, str]]:
    """Compare the layers of the integer variants of a stage with those of fp32, format by format.

    Parameters
    ----------
    bundle
        Whose files are read.
    stage
        Which network.
    variants
        Names of the variants to look at; those that are not integer are passed over.
    pictures
        ``(n, h, w, 3)`` uint8 RGB of the network's input size.

    Returns
    -------
    tuple
        The reports, and why of the variants that could not be looked into, by name.
    """
    wanted = set(variants)
    of_stage = bundle.manifest.stages[stage].variants
    found, left_out = [], {}
    for variant in of_stage:
        if variant.name not in wanted or variant.precision not in _INTEGER:
            continue
        reference = _float_of(variant, of_stage)
        if reference is None:
            left_out[variant.name] = f"the bundle has no {_FLOAT} file of {variant.format} to hold its layers against"
            continue
        try:
            layers = layer_errors(
                variant.format, bundle.model_path(reference), bundle.model_path(variant), pictures[:PICTURES]
            )
        except BundleError:
            raise
        except EdgegalError as error:
            left_out[variant.name] = error.message
            continue
        fixed = (variant.format, variant.precision) in _ALL_OR_NOTHING
        keep = () if fixed else layers_to_keep(layers, _KEPT)
        found.append(LayerReport(stage, variant.name, variant.format, variant.precision, layers, keep))
    return tuple(found), left_out


def _float_of(variant: Variant, among: Sequence[Variant]) -> Variant | None:
    return next((v for v in among if v.format == variant.format and v.precision == _FLOAT), None)
