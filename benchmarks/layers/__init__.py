"""Where in a network quantisation loses what it loses."""

from edgegal.benchmarks.layers.analysis import LayerError, layer_errors, layers_to_keep

__all__ = ["LayerError", "layer_errors", "layers_to_keep"]
