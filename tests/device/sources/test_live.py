"""Live sources against a real server that comes and goes."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edgegal.device.sources.helper import Helper
from edgegal.device.sources.live import LiveSource
from edgegal.device.sources.retry import Retry
from edgegal.device.sources.sockets import connected_socket, hang_up
from edgegal.errors import FrameError, InputError
from edgegal.frames import Frame


class Server:
    """Sends one byte a frame to whoever connects; can go away and come back at the same port."""

    def __init__(self) -> None:
        self.port = 0
        self.values = iter(range(256))
        self.silent = False
        self._listening: socket.socket | None = None
        self._peer: socket.socket | None = None
        self.start()

    def start(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, args=(self._listening,), daemon=True).start()

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            self._peer = peer
            try:
                while peer.recv(1):
                    if not self.silent:
                        peer.sendall(bytes([next(self.values)]))
            except OSError:
                continue

    def stop(self) -> None:
        assert self._listening is not None
        hang_up(self._listening)
        self._listening.close()
        hang_up(self._peer)


class Camera(LiveSource):
    """Grey frames of the value that the server sends; 13 is a bad one."""

    def __init__(self, port: int) -> None:
        super().__init__("camera", "switch it on")
        self._place = ("127.0.0.1", port)
        self._socket: socket.socket | None = None
        self._retry = Retry("camera", first_s=0.01)
        self.connections = 0

    def _connect(self) -> None:
        self._socket = connected_socket(self._place)
        self.connections += 1

    def _receive(self) -> Frame:
        assert self._socket is not None
        self._socket.settimeout(20)
        self._socket.sendall(b"?")
        value = self._socket.recv(1)
        if not value:
            raise ConnectionResetError("it hung up")
        if value[0] == 13:
            raise FrameError("thirteen")
        return Frame(np.full((2, 2), value[0], np.uint8), self.name)

    def _interrupt(self) -> None:
        hang_up(self._socket)

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@pytest.fixture
def server() -> Iterator[Server]:
    serving = Server()
    yield serving
    serving.stop()


def value(frame: Frame) -> int:
    return int(frame.pixels[0, 0])


def test_frames_are_counted_through_a_loss(server: Server) -> None:
    with Camera(server.port) as camera:
        frames = [next(camera), next(camera)]
        server.stop()
        threading.Timer(0.3, server.start).start()
        frames += [next(camera), next(camera)]
    assert [f.index for f in frames] == [0, 1, 2, 3]
    assert [value(f) for f in frames] == [0, 1, 2, 3]
    assert camera.connections == 2


def test_a_bad_frame_is_no_loss(server: Server) -> None:
    server.values = iter([12, 13, 14])
    with Camera(server.port) as camera:
        assert value(next(camera)) == 12
        with pytest.raises(FrameError):
            next(camera)
        last = next(camera)
    assert (value(last), last.index, camera.connections) == (14, 2, 1)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("state", ["silent", "away"])
def test_closing_ends_a_wait_in_another_thread(server: Server, state: str) -> None:
    camera = Camera(server.port)
    next(camera)
    if state == "away":
        camera._retry = Retry("camera", first_s=60)
        server.stop()
    server.silent = True
    ended: list[object] = []
    waiting = in_thread(lambda: ended.append(list(camera)))
    time.sleep(0.2)
    camera.close()
    # Twenty seconds are what the camera would wait for a frame.
    waiting.join(15)
    assert ended == [[]]
    if state == "away":
        server.start()
        Camera(server.port).reach()


def test_a_closed_source_has_no_more_frames(server: Server) -> None:
    camera = Camera(server.port)
    camera.close()
    camera.close()
    assert list(camera) == []


def test_what_does_not_answer_is_refused_with_a_mend(server: Server) -> None:
    server_port = server.port
    Camera(server_port).reach()
    server.stop()
    with pytest.raises(InputError, match="camera does not answer") as caught:
        Camera(server_port).reach()
    assert caught.value.mend == "switch it on"
    server.start()
    Camera(server_port).reach()


def test_a_fault_of_the_users_ends_the_source_in_time() -> None:
    class Forbidden(Camera):
        def _connect(self) -> None:
            self.connections += 1
            raise InputError("not allowed")

    camera = Forbidden(9)
    with pytest.raises(InputError, match="not allowed"):
        next(camera)
    assert camera.connections == 5


def test_a_call_that_never_returns_is_left_behind() -> None:
    helper = Helper("camera")
    release, released = threading.Event(), threading.Event()
    with pytest.raises(TimeoutError):
        helper.call(release.wait, 0.2, threading.Event())
    helper.leave(released.set, 0.1)
    assert not released.is_set()
    release.set()
    # The last call comes when the hung one has returned, and not before.
    assert released.wait(10)


def test_a_call_is_cancelled_from_another_thread() -> None:
    helper = Helper("camera")
    cancelled, release = threading.Event(), threading.Event()
    threading.Timer(0.1, cancelled.set).start()
    with pytest.raises(TimeoutError):
        helper.call(release.wait, 60, cancelled)
    release.set()


def test_results_and_errors_come_back_from_one_thread() -> None:
    helper = Helper("camera")
    never = threading.Event()
    first, second = (helper.call(threading.get_ident, 10, never) for _ in range(2))
    assert first == second != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        helper.call(lambda: 1 // 0, 10, never)
    helper.leave(int, 10)
