"""First-boot payloads: a fresh Raspberry Pi card that installs edgegal by itself."""

from edgegal.device.provisioning.assembly import assemble
from edgegal.device.provisioning.card import Prepared, prepare
from edgegal.device.provisioning.partition import BootPartition, Mechanism, inspect, known_mechanism
from edgegal.device.provisioning.payload import Payload, build_payload
from edgegal.device.provisioning.settings import DeviceSettings, WifiSettings, read_public_keys, wpa_psk
from edgegal.device.provisioning.wheels import build_wheel, read_wheels

__all__ = [
    "BootPartition",
    "DeviceSettings",
    "Mechanism",
    "Payload",
    "Prepared",
    "WifiSettings",
    "assemble",
    "build_payload",
    "build_wheel",
    "inspect",
    "known_mechanism",
    "prepare",
    "read_public_keys",
    "read_wheels",
    "wpa_psk",
]
