import base64
import textwrap
import tracemalloc
import zlib
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgegal.device.sources.indi_protocol import (
    Blob,
    MessageStream,
    Properties,
    blob_of,
    command,
    new_vector,
)

DEVICE = "CCD Simulator"


def blob_message(data: bytes, kind: str = ".fits", size: int | None = None, name: str = "CCD1") -> bytes:
    """A file as servers send it: base64 in lines of 72 characters."""
    text = "\n".join(textwrap.wrap(base64.b64encode(data).decode(), 72))
    size = len(data) if size is None else size
    return (
        f'<setBLOBVector device="{DEVICE}" name="{name}" state="Ok" timestamp="2024-03-09T21:04:05">\n'
        f'    <oneBLOB name="{name}" size="{size}" enclen="{len(text)}" format="{kind}">\n{text}\n    </oneBLOB>\n'
        "</setBLOBVector>\n"
    ).encode()


def definition(state: str = "Idle", value: str = "1") -> bytes:
    return (
        f'<defNumberVector device="{DEVICE}" name="CCD_EXPOSURE" state="{state}" perm="rw">\n'
        f'<defNumber name="CCD_EXPOSURE_VALUE" min="0" max="36000">\n{value}\n</defNumber>\n</defNumberVector>\n'
    ).encode()


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_stream_may_be_cut_anywhere(payload: bytes, data: st.DataObject) -> None:
    stream = (
        definition() + blob_message(payload) + b'<message device="x" message="clouds &amp; wind"/>' + definition("Ok")
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    parser = MessageStream()
    messages = [m for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True) for m in parser.feed(stream[a:b])]
    assert [m.tag for m in messages] == ["defNumberVector", "setBLOBVector", "message", "defNumberVector"]
    assert blob_of(messages[1], DEVICE, "CCD1") == Blob(".fits", payload)
    assert messages[2].get("message") == "clouds & wind"


@given(st.binary(max_size=2000))
def test_a_compressed_file_comes_out_whole(payload: bytes) -> None:
    (message,) = MessageStream().feed(blob_message(zlib.compress(payload), ".fits.z", len(payload)))
    assert blob_of(message, DEVICE, "CCD1") == Blob(".fits", payload)


def test_nothing_is_unpacked_beyond_the_size_announced() -> None:
    (message,) = MessageStream().feed(blob_message(zlib.compress(b"\0" * 10_000_000), ".fits.z", 1000))
    blob = blob_of(message, DEVICE, "CCD1")
    assert blob is not None
    assert len(blob.data) == 1000


@pytest.mark.parametrize(
    "message",
    [
        blob_message(b"half", size=8),
        blob_message(b"no zlib", ".fits.z", 4),
        blob_message(zlib.compress(b"x" * 500)[:-6], ".fits.z", 500),
        blob_message(zlib.compress(b"x" * 500)[:-6], ".fits.z", 0),
        blob_message(b"x", size=0).replace(b'size="0"', b'size="many"'),
    ],
)
def test_a_file_that_is_not_whole_is_refused(message: bytes) -> None:
    (element,) = MessageStream().feed(message)
    with pytest.raises(ValueError, match=r"."):
        blob_of(element, DEVICE, "CCD1")


@pytest.mark.parametrize(
    "message",
    [
        blob_message(b"guide star", name="CCD2"),
        blob_message(b"other").replace(DEVICE.encode(), b"Another"),
        blob_message(b""),
        definition(),
    ],
)
def test_what_is_no_picture_of_the_camera_is_passed_over(message: bytes) -> None:
    (element,) = MessageStream().feed(message)
    assert blob_of(element, DEVICE, "CCD1") is None


@pytest.mark.parametrize(
    "raw", [b"HTTP/1.1 400 Bad Request\r\n<<", b"<a></b>", b"<!DOCTYPE x [<!ENTITY y 'z'>]>", b"&y;"]
)
def test_what_does_not_speak_indi_is_hung_up_on(raw: bytes) -> None:
    with pytest.raises(ConnectionError, match="does not speak INDI"):
        MessageStream().feed(raw)


def test_a_long_night_leaves_nothing_behind() -> None:
    stream = MessageStream()

    def hear(times: int) -> int:
        for _ in range(times):
            stream.feed(definition())
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = hear(100)
        assert hear(2000) - before < 20_000
    finally:
        tracemalloc.stop()


def test_properties_follow_what_the_server_says() -> None:
    properties = Properties(DEVICE)
    stream = MessageStream()

    def say(text: bytes) -> None:
        for message in stream.feed(text):
            properties.update(message)

    say(definition() + definition().replace(DEVICE.encode(), b"Focuser"))
    assert properties["CCD_EXPOSURE"].state == "Idle"
    assert properties["CCD_EXPOSURE"].values == {"CCD_EXPOSURE_VALUE": "1"}
    assert properties.others == {"Focuser"}
    say(
        f'<setNumberVector device="{DEVICE}" name="CCD_EXPOSURE" state="Alert" message="no power">'
        '<oneNumber name="CCD_EXPOSURE_VALUE">0.5</oneNumber></setNumberVector>'.encode()
    )
    assert properties["CCD_EXPOSURE"].state == "Alert"
    assert properties.last_words == "no power"
    say(f'<delProperty device="{DEVICE}" name="CCD_EXPOSURE"/>'.encode())
    assert "CCD_EXPOSURE" not in properties
    say(definition() + f'<delProperty device="{DEVICE}"/>'.encode())
    assert "CCD_EXPOSURE" not in properties


def test_requests_are_whole_elements_with_names_escaped() -> None:
    vector = fromstring(new_vector("Number", 'A "quoted" & odd camera', "CCD_EXPOSURE", CCD_EXPOSURE_VALUE="0.5"))
    assert vector.tag == "newNumberVector"
    assert vector.attrib == {"device": 'A "quoted" & odd camera', "name": "CCD_EXPOSURE"}
    assert [(part.tag, part.attrib, part.text) for part in vector] == [
        ("oneNumber", {"name": "CCD_EXPOSURE_VALUE"}, "0.5")
    ]
    assert command("enableBLOB", "Also", device="x") == b'<enableBLOB device="x">Also</enableBLOB>'
