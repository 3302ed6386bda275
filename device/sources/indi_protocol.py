"""The XML of INDI: messages out of a stream cut anywhere, and properties as they stand.

The protocol is version 1.7: one unrooted stream of elements in each direction.
"""

import zlib
from binascii import a2b_base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast
from xml.etree.ElementTree import Element, ParseError, SubElement, XMLPullParser, tostring

__all__ = ["Blob", "MessageStream", "Properties", "Property", "blob_of", "command", "new_vector"]

# More than any camera's picture; a peer that goes on and on is no INDI server.
_MOST_BYTES = 2**30


class MessageStream:
    """Whole messages out of pieces of a stream.

    The stream has no root, so one is put before it; each message is forgotten once handed out.
    """

    def __init__(self) -> None:
        self._parser: XMLPullParser[Element] = XMLPullParser(("start", "end"))
        self._parser.feed("<stream>")
        ((_, self._root),) = self._events()
        self._depth = 0
        self._waiting = 0

    def feed(self, data: bytes) -> list[Element]:
        """The messages that `data` completes, in order.

        Raises
        ------
        ConnectionError
            The stream is no XML, or one message has no end.
        """
        messages = []
        self._waiting += len(data)
        try:
            # The parser hands over each line of a file by itself and is faster with one piece; a space does for a line
            # break wherever INDI has one.
            self._parser.feed(data.replace(b"\n", b" "))
            for kind, element in self._events():
                self._depth += 1 if kind == "start" else -1
                if kind == "end" and self._depth == 0:
                    messages.append(element)
                    self._root.clear()
                    self._waiting = 0
        except ParseError as error:
            raise ConnectionError(f"it does not speak INDI: {error}") from error
        if self._waiting > _MOST_BYTES:
            raise ConnectionError("it sends a message without an end")
        return messages

    def _events(self) -> Iterator[tuple[str, Element]]:
        # The types know of more kinds of event than were asked for.
        return cast("Iterator[tuple[str, Element]]", self._parser.read_events())


@dataclass
class Property:
    """One property of a device: its state (``Idle``, ``Ok``, ``Busy``, ``Alert``) and values by element."""

    state: str = "Idle"
    values: dict[str, str] = field(default_factory=dict)


class Properties:
    """What is known of one device.

    Parameters
    ----------
    device
        Its name.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.others: set[str] = set()
        self.last_words = ""
        self._known: dict[str, Property] = {}

    def __getitem__(self, name: str) -> Property:
        return self._known[name]

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def update(self, message: Element) -> None:
        """Take in a message of the server."""
        device = message.get("device")
        if device != self.device:
            self.others.update([device] if device else [])
            return
        self.last_words = message.get("message") or self.last_words
        name = message.get("name", "")
        if message.tag == "delProperty":
            if name:
                self._known.pop(name, None)
            else:
                self._known.clear()
        elif message.tag.startswith(("def", "set")) and not message.tag.endswith("BLOBVector"):
            known = self._known.setdefault(name, Property())
            known.state = message.get("state", known.state)
            known.values.update({part.get("name", ""): (part.text or "").strip() for part in message})

    def is_on(self, name: str, element: str) -> bool:
        """Whether a switch is on; false where there is none."""
        return name in self and self[name].values.get(element) == "On"


@dataclass(frozen=True)
class Blob:
    """A file that came in a message: its format by ending, such as ``.fits``, and its bytes."""

    format: str
    data: bytes


def blob_of(message: Element, device: str, name: str) -> Blob | None:
    """The file in a message that sets the BLOB `name` of `device`; None when it sets something else, or nothing.

    Raises
    ------
    ValueError
        It is not whole.
    """
    if message.tag != "setBLOBVector" or (message.get("device"), message.get("name")) != (device, name):
        return None
    part = message.find("oneBLOB")
    if part is None or not part.text or not part.text.strip():
        return None
    # binascii passes over the line breaks, and over what does not belong.
    data = a2b_base64(part.text.encode("ascii", "replace"))
    kind, size = part.get("format", "").lower(), int(part.get("size") or 0)
    if kind.endswith(".z"):
        kind, data = kind.removesuffix(".z"), _inflated(data, size)
    elif size > len(data) and not kind.endswith(".fz"):
        # Of a tile-compressed file servers give the size without compression.
        raise ValueError(f"{len(data)} of {size} bytes")
    return Blob(kind, data)


def _inflated(data: bytes, size: int) -> bytes:
    """Zlib's inverse, not beyond the size that was announced."""
    unpacker = zlib.decompressobj()
    try:
        whole = unpacker.decompress(data, size or _MOST_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(whole) < size or (not size and not unpacker.eof):
        raise ValueError(f"{len(whole)} of {size or 'unknown'} bytes")
    return whole


def command(tag: str, text: str = "", **attributes: str) -> bytes:
    """One element for the server."""
    element = Element(tag, attributes)
    element.text = text
    return tostring(element)


def new_vector(kind: str, device: str, name: str, **values: str) -> bytes:
    """The request to set elements of a property; `kind` is ``Number``, ``Switch`` or ``Text``."""
    vector = Element(f"new{kind}Vector", device=device, name=name)
    for element, value in values.items():
        SubElement(vector, f"one{kind}", name=element).text = value
    return tostring(vector)
