"""Network streams from real servers: RTSP by GStreamer, MJPEG over HTTP by FFmpeg."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgegal.device.sources import Source, open_source

pytestmark = pytest.mark.peers

Serve = Callable[[list[str]], Any]

RTSP = ["/usr/bin/python3", str(Path(__file__).with_name("rtsp_server.py")), "{port}"]
_SKY = "color=white:size=320x240:rate=10,drawbox=x=0:y=0:w=160:h=120:color=red:t=fill"
HTTP = [
    *("ffmpeg", "-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi", "-i", _SKY),
    *("-f", "mpjpeg", "-listen", "1", "http://127.0.0.1:{port}/sky"),
]
STREAMS = {"rtsp": RTSP, "http": HTTP}


def check(source: Source, count: int) -> list[datetime]:
    """Take frames, with the picture that the servers show; their times."""
    frames = [next(source) for _ in range(count)]
    last = frames[-1]
    assert last.size == (320, 240)
    assert not last.linear
    np.testing.assert_allclose(last.pixels[10:110, 10:150].reshape(-1, 3).mean(axis=0), (255, 0, 0), atol=12)
    np.testing.assert_allclose(last.pixels[130:230, 170:310].reshape(-1, 3).mean(axis=0), (255, 255, 255), atol=12)
    assert [f.index for f in frames] == list(range(frames[0].index, frames[0].index + count))
    return [f.time for f in frames if f.time is not None]


@pytest.mark.parametrize("scheme", STREAMS)
def test_frames_come_in_their_colours_with_the_time_of_arrival(serve: Serve, scheme: str) -> None:
    server = serve(STREAMS[scheme])
    before = datetime.now(timezone.utc)
    with open_source(f"{scheme}://127.0.0.1:{server.port}/sky") as source:
        times = check(source, 30)
    assert len(times) == 30
    assert times == sorted(times)
    assert before < times[0] < times[-1] < datetime.now(timezone.utc)
    # Ten frames a second, less what was buffered at the start.
    assert times[-1] - times[0] > timedelta(seconds=0.8)


@pytest.mark.parametrize("scheme", STREAMS)
def test_a_server_that_went_is_found_again(serve: Serve, scheme: str) -> None:
    server = serve(STREAMS[scheme])
    with open_source(f"{scheme}://127.0.0.1:{server.port}/sky") as source:
        check(source, 5)
        server.stop()
        threading.Timer(2, server.start).start()
        check(source, 60)


def test_closing_ends_a_stream_whose_server_hangs(serve: Serve) -> None:
    server = serve(RTSP)
    source = open_source(f"rtsp://127.0.0.1:{server.port}/sky")
    check(source, 5)
    server.freeze()
    ended: list[Any] = []
    waiting = threading.Thread(target=lambda: ended.append(len(list(source))), daemon=True)
    waiting.start()
    waiting.join(1.5)
    assert not ended
    source.close()
    waiting.join(5)
    assert ended
