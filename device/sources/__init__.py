"""Where frames come from."""

from edgegal.device.sources.base import Source
from edgegal.device.sources.registry import open_source

__all__ = ["Source", "open_source"]
