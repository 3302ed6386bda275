"""What every source of frames is."""

from abc import abstractmethod
from collections.abc import Iterator
from types import TracebackType

from typing_extensions import Self

from edgegal.frames import Frame

__all__ = ["Source"]


class Source(Iterator[Frame]):
    """An iterator of frames that holds a file or a device open; a context manager.

    ``next`` raises `edgegal.errors.FrameError` for one bad frame and may be called again for the one after it.

    Attributes
    ----------
    name
        Where the frames come from, for people; never a password.
    stream
        Whether the source goes on after a bad frame. Where it does not, the frame was all there is.
    live
        Whether frames come when the sky gives them, for as long as nobody closes the source.
    keeps
        Whether frames of a live source wait until somebody takes them, as files do; those of a camera are lost.
    arrived
        When the last frame was there, by `time.perf_counter`: what its ``next`` took before was waiting for the sky,
        and what it took after was reading. Before the ``next`` began where nobody waits for anything.
    """

    name: str
    stream: bool
    live: bool = False
    keeps: bool = False
    arrived: float = 0.0

    @abstractmethod
    def __next__(self) -> Frame: ...

    def reach(self) -> None:
        """Make sure that the other side of a live source answers.

        Raises
        ------
        InputError
            It does not.
        """

    def close(self) -> None:
        """Let go of whatever is held open.

        Of a live source, any thread may call it: a ``next`` that waits in another then ends with StopIteration.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
