"""Where sightings go."""

from edgegal.device.sinks.annotated import AnnotatedPictures, annotate
from edgegal.device.sinks.base import Sink
from edgegal.device.sinks.log import SightingLog

__all__ = ["AnnotatedPictures", "SightingLog", "Sink", "annotate"]
