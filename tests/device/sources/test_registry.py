import builtins
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgegal.device.sources import check_address, open_source
from edgegal.device.sources.alpaca_discovery import find_servers
from edgegal.device.sources.capture import without_password
from edgegal.device.sources.picamera import bayer_of_format, unpadded
from edgegal.device.sources.registry import SOURCES
from edgegal.errors import FrameError, InputError, MissingPartError
from edgegal.frames import shifted_bayer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("scheme", SOURCES)
def test_every_scheme_has_its_source(scheme: str) -> None:
    kind = SOURCES[scheme]
    assert kind.name in import_module(f"edgegal.device.sources.{kind.module}").__all__


@pytest.mark.parametrize("scheme", ["sim", "ser", "watch", "v4l2", "picamera2", "indi", "alpaca"])
def test_an_unknown_option_is_refused_with_those_there_are(scheme: str) -> None:
    separator = ":" if scheme == "sim" else ":?"
    with pytest.raises(InputError, match=f"{scheme}: has no option 'moon'") as caught:
        open_source(f"{scheme}{separator}moon=1")
    assert caught.value.mend.startswith("options: ")


def test_a_file_may_be_named_like_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("m51:light.png", np.zeros((4, 5, 3), np.uint8))
    with open_source("m51:light.png") as source:
        assert next(source).size == (5, 4)


def test_only_what_is_used_is_loaded() -> None:
    words = (
        "import sys; from edgegal.device.sources import open_source; open_source('sim:frames=1'); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", words], check=True, capture_output=True, text=True).stdout.split()
    assert "edgegal.device.sources.simulated" in loaded
    assert not {"http.client", "xml.etree.ElementTree", "astropy", "edgegal.device.sources.indi"} & set(loaded)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("indi://127.0.0.1:{port}/CCD Simulator", "Connection refused"),
        ("indi://127.0.0.1:{port}", "names no device"),
        ("indi://127.0.0.1:99999/CCD", "no port"),
        ("indi://127.0.0.1:{port}/CCD?exposure=0", "exposure='0'"),
        ("alpaca://127.0.0.1:{port}/camera/0", "Connection refused"),
        ("alpaca://127.0.0.1:{port}/telescope/0", "is no camera"),
        ("alpaca://127.0.0.1:{port}/camera/0?gain=high", "gain='high'"),
        ("v4l2:/dev/video97", "there is no /dev/video97"),
        ("v4l2:97", "there is no /dev/video97"),
        ("v4l2:0?width=3", "width='3'"),
        ("rtsp://127.0.0.1:{port}/stream", "cannot be opened"),
        ("http://me:secret@127.0.0.1:{port}/stream.mjpg", "cannot be opened"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(address: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError) as caught:
        open_source(address.format(port=free_port()))
    assert words in caught.value.message
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://me:s3cret@cam.local:554/live?token=abc#x", "rtsp://cam.local:554/live"),
        ("rtsp://me:p@ss@cam/live", "rtsp://cam/live"),
        ("http://[fe80::1]:8080/video", "http://[fe80::1]:8080/video"),
    ],
)
def test_no_password_is_shown(address: str, shown: str) -> None:
    assert without_password(address) == shown


def test_a_network_camera_that_says_nothing_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        source = open_source(f"rtsp://127.0.0.1:{mute.getsockname()[1]}/stream", patient=True)
        ended: list[Any] = []
        waiting = threading.Thread(target=lambda: ended.append(list(source)), daemon=True)
        waiting.start()
        waiting.join(0.5)
        assert not ended
        source.close()
        # Without closing, OpenCV would wait for twice as long.
        waiting.join(5)
        assert ended == [[]]


def test_picamera2_comes_from_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_picamera(name: str, *rest: Any, **named: Any) -> Any:
        if name == "picamera2":
            raise ImportError(name)
        return real_import(name, *rest, **named)

    real_import = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without_picamera)
    with pytest.raises(MissingPartError, match="apt install -y python3-picamera2"):
        open_source("picamera2:0")


def test_raw_rows_of_a_pi_camera_lose_their_padding() -> None:
    values = np.arange(4 * 12, dtype=np.uint16).reshape(4, 12)
    np.testing.assert_array_equal(unpadded(values.view(np.uint8), 10), values[:, :10])


@pytest.mark.parametrize(("name", "expected"), [("SRGGB12", "RGGB"), ("SGBRG16", "GBRG"), ("R10", None), ("", None)])
def test_raw_formats_name_the_bayer_pattern(name: str, expected: str | None) -> None:
    assert bayer_of_format(name) == expected


def test_a_shifted_pattern_is_the_mosaic_from_another_corner() -> None:
    for pattern in ("RGGB", "BGGR", "GRBG", "GBRG"):
        mosaic = np.tile(np.array(list(pattern)).reshape(2, 2), (3, 3))
        for x in range(-2, 3):
            for y in range(-2, 3):
                corner = mosaic[y % 2 : y % 2 + 2, x % 2 : x % 2 + 2]
                assert shifted_bayer(pattern, x, y) == "".join(corner.ravel())
    assert shifted_bayer("TRUE", 0, 0) is None


def answer_discovery(server: socket.socket, answers: list[bytes]) -> None:
    question, asker = server.recvfrom(64)
    assert question == b"alpacadiscovery1"
    for answer in answers:
        server.sendto(answer, asker)


def test_servers_answer_a_call_and_others_are_passed_over() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        answers = [b"hello", b"[]", b'{"AlpacaPort": 11111}', json.dumps({"AlpacaPort": 11111}).encode()]
        threading.Thread(target=answer_discovery, args=(server, answers), daemon=True).start()
        found = find_servers(threading.Event(), server.getsockname()[1], listen_s=0.5)
    assert found == [("127.0.0.1", 11111)]


def test_a_sequence_of_pictures_and_videos_is_counted_through(tmp_path: Path) -> None:
    header = bytearray(178)
    for offset, number in zip(range(14, 42, 4), (0, 0, 0, 5, 4, 8, 2), strict=True):
        header[offset : offset + 4] = number.to_bytes(4, "little")
    (tmp_path / "b.ser").write_bytes(bytes(header) + bytes(range(40)))
    (tmp_path / "c.ser").write_bytes(b"cut")
    for name in ("a.png", "d.tif"):
        cv2.imwrite(str(tmp_path / name), np.zeros((4, 5), np.uint16))
    with open_source(str(tmp_path)) as source:
        before = [next(source) for _ in range(3)]
        with pytest.raises(FrameError, match=r"c\.ser is no SER file"):
            next(source)
        after = list(source)
    assert [(Path(f.source).name, f.index) for f in before + after] == [
        ("a.png", 0),
        ("b.ser", 1),
        ("b.ser", 2),
        ("d.tif", 4),
    ]


@pytest.mark.parametrize(
    ("address", "words", "mend"),
    [
        ("sim:frames=0", "frames='0'", "give frames= a whole number from 1 to 100000"),
        ("sim:seed=-1", "seed='-1'", "give seed= a whole number from 0 to below 4294967296"),
        ("sim:fps=0", "fps='0'", "give fps= a number above 0 to 1000"),
        ("sim:fps=nan", "fps='nan'", "give fps= a number"),
        ("sim:drift=fast", "drift='fast'", "give drift= a number from -20 to 20"),
        ("sim:moon=1", "no option 'moon'", "options: seed"),
        ("ser:a.ser?endian=middle", "endian='middle'", "give endian= little or big"),
        ("ser:", "names no file", "ser:night.ser"),
        ("watch:", "names no folder", "watch:captures"),
        ("watch:captures?nested=maybe", "nested='maybe'", "give nested= 1 or 0"),
        ("watch:captures?every=0", "every='0'", "give every= a number from 0.05 to 3600"),
        ("v4l2:", "names no device", "v4l2:0"),
        ("v4l2:0?fourcc=MJPEG", "fourcc='MJPEG'", "give fourcc= 4 characters"),
        ("picamera2:front", "number of a camera", "picamera2:0"),
        ("picamera2:0?gain=0", "gain='0'", "give gain= a number from 1 to 64"),
        ("indi://localhost", "names no device", "indi://localhost:7624/CCD Simulator"),
        ("indi://localhost:99999/CCD", "no port", "indi://"),
        ("indi://localhost/CCD?exposure=inf", "exposure='inf'", "give exposure= a number above 0 to 3600"),
        ("alpaca://telescope/focuser/0", "is no camera", "/camera/0"),
        ("alpaca://[::1/camera/0", "no host or no port", "/camera/0"),
        ("rtsp:///stream", "names no host", "rtsp://"),
        ("http://me:secret@camera:99999/live", "no address of a stream", "rtsp://"),
        ("http://me:secret@[camera/live", "no address of a stream", "rtsp://"),
        ("rstp://camera/live", "no source has the scheme rstp:", "did you mean rtsp:?"),
        ("gopher://camera/live", "no source has the scheme gopher:", "sim: ser: watch:"),
        ("wach:captures", "no source has the scheme wach:", "did you mean watch:?"),
    ],
)
@pytest.mark.parametrize("judge", [check_address, open_source])
def test_a_wrong_address_is_refused_with_a_mend_before_anything_is_opened(
    judge: Callable[[str], object], address: str, words: str, mend: str
) -> None:
    with pytest.raises(InputError) as caught:
        judge(address)
    assert words in caught.value.message
    assert mend in caught.value.mend
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        *(kind.example for kind in SOURCES.values()),
        *("captures", "M 51.fits", "c:lights", "alpaca:", "picamera2:", "sim:", "udp://@:5000", "indi:///CCD"),
    ],
)
def test_an_address_is_judged_without_what_it_leads_to(address: str) -> None:
    check_address(address)
