"""What the owner wants of the new device, checked before anything is written."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from edgegal.errors import InputError

__all__ = ["DeviceSettings", "WifiSettings", "read_public_keys", "wpa_psk"]

_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_REQUIREMENT = re.compile(r"edgegal(\[[a-z][a-z-]*(,[a-z][a-z-]*)*\])?")
_KEY_TYPES = ("ssh-ed25519", "ssh-rsa", "ecdsa-sha2-", "sk-ssh-ed25519@", "sk-ecdsa-sha2-")


@dataclass(frozen=True)
class WifiSettings:
    """A WPA2 network.

    Attributes
    ----------
    ssid
        Name of the network, 1 to 32 bytes of UTF-8.
    country
        Two-letter country code: radios stay off without one.
    psk
        The key derived from name and password, 64 hexadecimal digits; the password itself is not kept.
    """

    ssid: str
    country: str
    psk: str

    def __post_init__(self) -> None:
        if not 1 <= len(self.ssid.encode()) <= 32 or not self.ssid.isprintable():
            raise InputError(
                f"Wi-Fi name {self.ssid!r} is not 1 to 32 bytes of printable text", "give it as the router shows it"
            )
        if not _COUNTRY.fullmatch(self.country):
            raise InputError(f"Wi-Fi country {self.country!r} is not two capital letters", "e.g. DE, GB, US")
        if not re.fullmatch(r"[0-9a-f]{64}", self.psk):
            raise InputError("a Wi-Fi key is 64 hexadecimal digits", "derive it from name and password: wpa_passphrase")


@dataclass(frozen=True)
class DeviceSettings:
    """A device to be.

    Attributes
    ----------
    hostname
        Name on the network.
    user
        Login name; logs in by key only, and administers without a password, having none.
    public_keys
        OpenSSH public keys that may log in.
    wifi
        Wireless network; None for cable only.
    source
        What ``edgegal run`` watches on the device.
    requirement
        edgegal with the extras to install.
    """

    hostname: str
    user: str
    public_keys: tuple[str, ...]
    wifi: WifiSettings | None = None
    source: str = "/srv/edgegal/frames"
    requirement: str = "edgegal[tflite,device]"

    def __post_init__(self) -> None:
        if not _HOSTNAME.fullmatch(self.hostname):
            raise InputError(
                f"hostname {self.hostname!r} is not letters a-z, digits and inner hyphens", "e.g. telescope"
            )
        if not _USER.fullmatch(self.user) or self.user == "root":
            raise InputError(f"user {self.user!r} is not a login name", "use letters a-z, digits, - and _; not root")
        if not self.public_keys:
            raise InputError("no SSH public key, and nobody could log in", "give --ssh-key ~/.ssh/id_ed25519.pub")
        if not self.source.isprintable() or not self.source:
            raise InputError(f"source {self.source!r} is not printable text", "e.g. /srv/edgegal/frames")
        if not _REQUIREMENT.fullmatch(self.requirement):
            raise InputError(f"requirement {self.requirement!r} is not edgegal with extras", "e.g. edgegal[tflite]")


def wpa_psk(ssid: str, password: str) -> str:
    """The WPA2 pre-shared key (IEEE 802.11i: PBKDF2 of the password, salted with the name) as 64 hexadecimal digits.

    A password of 64 hexadecimal digits already is the key.
    """
    if re.fullmatch(r"[0-9a-fA-F]{64}", password):
        return password.lower()
    if not 8 <= len(password) <= 63 or not all(" " <= c <= "~" for c in password):
        raise InputError("a Wi-Fi password is 8 to 63 plain ASCII characters", "give the one of that network")
    return hashlib.pbkdf2_hmac("sha1", password.encode(), ssid.encode(), 4096, 32).hex()


def read_public_keys(path: Path) -> tuple[str, ...]:
    """OpenSSH public keys of a file, one a line.

    Raises
    ------
    InputError
        The file is missing, is a private key, or holds anything that is no public key.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", "give the .pub file of your SSH key") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text", "give the .pub file of your SSH key") from None
    if "PRIVATE KEY" in text:
        raise InputError(f"{path} is a private key, which must stay where it is", "give the .pub file beside it")
    keys = tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    for key in keys:
        if not _is_public_key(key):
            raise InputError(f"{path}: {key[:40]!r} is not an OpenSSH public key", "make one: ssh-keygen -t ed25519")
    if not keys:
        raise InputError(f"{path} holds no key", "give the .pub file of your SSH key")
    return keys


def _is_public_key(line: str) -> bool:
    kind, _, rest = line.partition(" ")
    if not kind.startswith(_KEY_TYPES) or not line.isprintable():
        return False
    try:
        blob = base64.b64decode(rest.split(" ")[0], validate=True)
    except binascii.Error:
        return False
    # The blob repeats its own type behind a length of four bytes.
    return blob[4 : 4 + int.from_bytes(blob[:4], "big")] == kind.encode()
