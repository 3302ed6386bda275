"""What sinks write beside the sightings: facts about the run and about each frame."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TypeAlias

from typing_extensions import Self

from edgegal import __version__
from edgegal.bundle import Bundle
from edgegal.device.astrometry import SkyMap, SkyPlace
from edgegal.device.pipeline import FrameResult
from edgegal.device.quality import FrameQuality
from edgegal.preprocess import Stretch

__all__ = ["Enquiry", "FrameFacts", "RunFacts", "nothing_known"]


@dataclass(frozen=True)
class RunFacts:
    """Where the sightings of a run come from.

    Attributes
    ----------
    source
        Where the frames come from, for people.
    bundle, bundle_version, seal
        Name, version and seal of the bundle; empty without one.
    stretch
        What makes views of linear frames.
    id
        Tells the run from others that write to the same place.
    started
        UTC.
    software
        Name and version of this program.
    """

    source: str
    bundle: str = ""
    bundle_version: str = ""
    seal: str = ""
    stretch: Stretch = Stretch()
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    software: str = f"edgegal {__version__}"

    @classmethod
    def of(cls, source: str, bundle: Bundle, stretch: Stretch) -> Self:
        """The facts of a run that begins now with the networks of a bundle."""
        manifest = bundle.manifest
        return cls(source, manifest.name, manifest.version, manifest.seal, stretch)


@dataclass(frozen=True)
class FrameFacts:
    """What stages beside detection and classification say of a frame.

    Attributes
    ----------
    quality
        Of the single frame.
    sky
        Where on the sky the pixels of the result's frame look.
    places, names
        Place on the sky, and name from a catalogue, of sightings by their number.
    stacked
        Frames in the stack that the result's frame is; 0 where frames are not stacked.
    dropped
        Frames of the run so far that the camera gave and nobody had time for.
    """

    quality: FrameQuality | None = None
    sky: SkyMap | None = None
    places: Mapping[int, SkyPlace] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    stacked: int = 0
    dropped: int = 0


Enquiry: TypeAlias = Callable[[FrameResult], FrameFacts]
"""How a sink asks for the facts of a frame."""


def nothing_known(result: FrameResult) -> FrameFacts:
    """The enquiry of a run without further stages."""
    return FrameFacts()
