"""Galaxy detection and morphology classification on the computer at the telescope."""

__all__ = ["__version__"]

__version__ = "0.1.0"
