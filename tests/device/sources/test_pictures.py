from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgegal.device.sources.pictures import read_picture
from edgegal.errors import FrameError


def random_picture(dtype: type, channels: int = 3) -> np.ndarray:
    shape = (40, 56, channels) if channels > 1 else (40, 56)
    return (np.random.default_rng(1).random(shape) * 250).astype(dtype)


def encoded(suffix: str, picture: np.ndarray) -> bytes:
    return cv2.imencode(suffix, picture)[1].tobytes()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(("dtype", "linear"), [(np.uint8, False), (np.uint16, True)])
def test_colours_come_out_as_red_green_blue(tmp_path: Path, suffix: str, dtype: type, linear: bool) -> None:
    path = tmp_path / f"sky{suffix}"
    rgb = random_picture(dtype)
    path.write_bytes(encoded(suffix, np.ascontiguousarray(rgb[..., ::-1])))
    frame = read_picture(path, 3)
    np.testing.assert_array_equal(frame.pixels, rgb)
    assert frame.pixels.dtype == dtype
    assert frame.linear == linear
    assert (frame.source, frame.index) == (str(path), 3)


def test_a_grey_picture_stays_two_dimensional(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    path.write_bytes(encoded(".png", random_picture(np.uint8, 1)))
    np.testing.assert_array_equal(read_picture(path).pixels, random_picture(np.uint8, 1))


def test_transparency_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "alpha.png"
    picture = random_picture(np.uint8, 4)
    path.write_bytes(encoded(".png", picture))
    np.testing.assert_array_equal(read_picture(path).pixels, picture[..., 2::-1])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1, exclude_max=True))
def test_no_picture_is_read_from_a_part_of_its_file(tmp_path: Path, suffix: str, share: float) -> None:
    whole = encoded(suffix, random_picture(np.uint8))
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FrameError):
        read_picture(path)


def with_thumbnail(jpeg: bytes, thumbnail: bytes) -> bytes:
    """The JPEG with an application segment that holds another whole JPEG, as cameras write it."""
    segment = b"Exif\0\0" + thumbnail
    return jpeg[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:]


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_picture(tmp_path: Path) -> None:
    plain = encoded(".jpg", random_picture(np.uint8))
    both = with_thumbnail(plain, plain)
    path = tmp_path / "camera.jpg"
    path.write_bytes(both)
    assert read_picture(path).size == (56, 40)
    path.write_bytes(both[:-40])
    with pytest.raises(FrameError, match="cut short"):
        read_picture(path)


def test_bytes_after_the_end_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "padded.jpg"
    path.write_bytes(encoded(".jpg", random_picture(np.uint8)) + b"\0" * 500)
    assert read_picture(path).size == (56, 40)


def test_a_progressive_jpeg_with_restarts_is_whole(tmp_path: Path) -> None:
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    path = tmp_path / "progressive.jpg"
    path.write_bytes(cv2.imencode(".jpg", random_picture(np.uint8), options)[1].tobytes())
    assert read_picture(path).size == (56, 40)


@pytest.mark.parametrize(("content", "word"), [(b"", "empty"), (b"dear diary", "not a PNG"), (b"II*\0\1\2", "damaged")])
def test_what_is_no_picture_is_refused_by_name(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "wrong.png"
    path.write_bytes(content)
    with pytest.raises(FrameError, match=word) as caught:
        read_picture(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message


def test_a_damaged_file_makes_no_noise_on_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cut.tif"
    path.write_bytes(encoded(".tif", random_picture(np.uint8))[:200])
    with pytest.raises(FrameError):
        read_picture(path)
    assert capfd.readouterr().err == ""
