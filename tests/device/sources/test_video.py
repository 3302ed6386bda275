import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgegal.device.sources import open_source
from edgegal.errors import FrameError


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Six frames: reddish, each with more blue than the one before, and noise that keeps the codec busy."""
    path = tmp_path / "night.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5, (160, 120))
    rng = np.random.default_rng(0)
    for i in range(6):
        noise = rng.integers(-3, 4, (120, 160, 3))
        writer.write((np.full((120, 160, 3), (10 + 20 * i, 40, 200)) + noise).astype(np.uint8))
    writer.release()
    return path


def test_frames_come_in_order_as_display_ready_rgb(video: Path) -> None:
    with open_source(str(video)) as source:
        frames = list(source)
    assert [f.index for f in frames] == list(range(6))
    assert not any(f.linear for f in frames)
    for i, frame in enumerate(frames):
        np.testing.assert_allclose(frame.pixels.mean(axis=(0, 1)), (200, 40, 10 + 20 * i), atol=3)


def test_a_cut_video_gives_what_it_has_and_says_so(video: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw = video.read_bytes()
    video.write_bytes(raw[: int(0.8 * len(raw))])
    with open_source(str(video)) as source, caplog.at_level(logging.WARNING):
        frames = list(source)
    assert 0 < len(frames) < 6
    assert f"ends after {len(frames)} of 6" in caplog.text


def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("clear sky " * 50)
    with pytest.raises(FrameError, match=r"notes\.mp4 is not a video"):
        open_source(str(path))
    assert capfd.readouterr().err == ""
