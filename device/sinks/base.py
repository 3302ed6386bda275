"""What every sink is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from edgegal.device.pipeline import FrameResult
from edgegal.device.tracking import Sighting

__all__ = ["Sink"]


class Sink(ABC):
    """Takes what was seen somewhere.

    Nothing is created before the first frame arrives, so a run that fails at its first frame leaves nothing behind.

    A sink that writes files raises `OSError` when it cannot. What it wrote before is whole then; sightings that it
    could not write it holds and writes with the next frame, and pictures it lets go.

    Attributes
    ----------
    name
        What it writes, for people.
    holds
        Whether `close` writes what could not be written before.
    """

    name: str = "a sink"
    holds: bool = True

    @abstractmethod
    def write(self, result: FrameResult, seen: Sequence[Sighting], ended: Sequence[Sighting]) -> None:
        """Take one frame.

        Parameters
        ----------
        result
            What the pipeline made of it.
        seen
            The sighting of each detection, in their order.
        ended
            Sightings that ended with this frame.
        """

    def skip(self, reason: str, number: int | None = None) -> None:  # noqa: B027 - most sinks have nothing to say
        """Take note that one frame could not be used.

        Parameters
        ----------
        reason
            What was wrong with it, in one line.
        number
            Of the frame within the run, from 0; None where nobody knows.
        """

    def mark_false(self, sighting: int) -> None:  # noqa: B027 - most sinks have nothing to say about it
        """Take note that somebody says that a sighting is no galaxy. Called from any thread, also during `write`.

        Parameters
        ----------
        sighting
            Its number within the run; one that the sink does not know is passed over.
        """

    @abstractmethod
    def close(self, alive: Sequence[Sighting]) -> None:
        """The run is over, and these sightings with it. Called once, also after an interrupt or an error.

        Where it raises `OSError` it may be called again, to write what is still held.
        """
