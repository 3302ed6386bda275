"""Where frames come from."""

from edgegal.device.sources.base import Source
from edgegal.device.sources.registry import check_address, open_files, open_source

__all__ = ["Source", "check_address", "open_files", "open_source"]
