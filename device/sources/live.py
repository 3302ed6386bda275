"""What all live sources share: they come back by themselves, and end when they are told to."""

from abc import abstractmethod
from dataclasses import replace
from threading import Event, RLock

from edgegal.device.sources.base import Source
from edgegal.device.sources.retry import Retry
from edgegal.errors import FrameError, InputError
from edgegal.frames import Frame

__all__ = ["LiveSource"]

# SIGTERM has five seconds for everything; a device that does not let go in these is left behind.
_LETTING_GO_S = 3.0


class LiveSource(Source):
    """A camera or server that may vanish and return.

    A kind of source says how to connect, receive one frame and disconnect. There, OSError (ConnectionError and
    TimeoutError among them) means that the other side is lost and may return, InputError that the user has to do
    something, FrameError that one frame is bad.

    Parameters
    ----------
    name
        Where the frames come from, for people.
    mend
        What the user can check when nothing answers.
    """

    stream = True
    live = True

    def __init__(self, name: str, mend: str = "") -> None:
        self.name = name
        self._mend = mend
        self._closing = Event()
        self._in_use = RLock()
        self._connected = False
        self._index = 0
        self._retry = Retry(name)

    @abstractmethod
    def _connect(self) -> None:
        """Open the other side; called again after each loss."""

    @abstractmethod
    def _receive(self) -> Frame:
        """Wait for one frame, not for ever."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Let go, of a broken or half-made connection too."""

    def _interrupt(self) -> None:
        """Make a waiting `_connect` or `_receive` of another thread end soon."""

    def reach(self) -> None:
        with self._in_use:
            try:
                self._ensure_connected()
            except OSError as error:
                self._drop()
                raise InputError(f"{self.name} does not answer: {error.strerror or error}", self._mend) from error
            except InputError:
                self._drop()
                raise

    def __next__(self) -> Frame:
        with self._in_use:
            while not self._closing.is_set():
                try:
                    self._ensure_connected()
                    frame = replace(self._receive(), index=self._index)
                except FrameError:
                    self._index += 1
                    raise
                except (OSError, InputError) as error:
                    self._drop()
                    if not self._closing.is_set():
                        self._closing.wait(self._retry.failed(error))
                    continue
                self._index += 1
                self._retry.succeeded()
                return frame
            raise StopIteration

    def close(self) -> None:
        self._closing.set()
        self._interrupt()
        if self._in_use.acquire(timeout=_LETTING_GO_S):
            try:
                self._drop()
            finally:
                self._in_use.release()

    def _ensure_connected(self) -> None:
        if not self._connected:
            self._connect()
            self._connected = True

    def _drop(self) -> None:
        self._connected = False
        self._disconnect()
