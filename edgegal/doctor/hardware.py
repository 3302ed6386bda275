"""Accelerators and cameras: which are there, and whether this user may use them."""

import fcntl
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgegal.doctor.findings import Finding

__all__ = ["look_at_hardware", "parse_video_capability"]

# Device nodes by what they mean; the kernel driver makes them when the hardware is there and its driver is loaded.
_ACCELERATOR_NODES: Mapping[str, str] = {
    "dri/renderD*": "GPU",
    "nvhost-gpu": "NVIDIA Jetson GPU",
    "nvhost-ctrl-nvdla*": "NVIDIA Jetson DLA",
    "nvidia[0-9]*": "NVIDIA GPU",
    "hailo[0-9]*": "Hailo",
    "apex_[0-9]*": "Coral Edge TPU (PCIe)",
    "accel/accel[0-9]*": "neural accelerator",
}

# USB vendor and product; the Coral changes its identity once its firmware is loaded.
_USB_ACCELERATORS: Mapping[tuple[str, str], str] = {
    ("1a6e", "089a"): "Coral Edge TPU (USB, before first use)",
    ("18d1", "9302"): "Coral Edge TPU (USB)",
    ("03e7", "2485"): "Intel Movidius Myriad X (USB)",
}
_USB_CAMERA_MAKERS: Mapping[str, str] = {"03c3": "ZWO", "1618": "QHYCCD"}

# VIDIOC_QUERYCAP and the fields of struct v4l2_capability (linux/videodev2.h).
_QUERYCAP = 0x80685600
_CAPABILITY = struct.Struct("<16s32s32sIII12x")
_CAPTURES = 0x00000001 | 0x00001000
_HAS_DEVICE_CAPS = 0x80000000


def look_at_hardware(root: Path = Path("/")) -> Iterator[Finding]:
    """Accelerators, then cameras.

    Parameters
    ----------
    root
        Folder that holds ``dev`` and ``sys``.
    """
    yield from _or_none(list(_accelerators(root)), "accelerator", "none seen; edgegal runs on the processor")
    yield from _or_none(list(_cameras(root)), "camera", "none seen; frames can come from files and folders")


def _or_none(found: list[Finding], topic: str, otherwise: str) -> list[Finding]:
    return found or [Finding(topic, topic + "s", "note", otherwise)]


def _accelerators(root: Path) -> Iterator[Finding]:
    for pattern, meaning in _ACCELERATOR_NODES.items():
        for node in sorted((root / "dev").glob(pattern)):
            yield _node("accelerator", meaning, node, f"/{node.relative_to(root)}; this version does not use it yet")
    for vendor, product in _usb_devices(root):
        if (vendor, product) in _USB_ACCELERATORS:
            name = _USB_ACCELERATORS[vendor, product]
            yield Finding("accelerator", name, "note", f"USB {vendor}:{product}; this version does not use it yet")


def _cameras(root: Path) -> Iterator[Finding]:
    for node in sorted((root / "dev").glob("video[0-9]*"), key=lambda p: (len(p.name), p.name)):
        shown = f"/{node.relative_to(root)}"
        if not os.access(node, os.R_OK | os.W_OK):
            yield _node("camera", shown, node, "a video device")
            continue
        card = _capture_card(node)
        # A Pi has a dozen nodes of its codec and image pipeline that are no cameras.
        if card is not None:
            yield Finding("camera", shown, "fine", card)
    for vendor, product in _usb_devices(root):
        if vendor in _USB_CAMERA_MAKERS:
            maker = _USB_CAMERA_MAKERS[vendor]
            yield Finding("camera", f"{maker} camera", "fine", f"USB {vendor}:{product}; reached through files")


def _node(topic: str, name: str, node: Path, detail: str) -> Finding:
    if os.access(node, os.R_OK | os.W_OK):
        return Finding(topic, name, "fine", detail)
    try:
        group = node.group()
    except (KeyError, OSError):
        group = "video"
    return Finding(
        topic,
        name,
        "trouble",
        f"{detail}: this user may not open it",
        f"sudo usermod -aG {group} $USER, then log in again",
    )


def _capture_card(node: Path) -> str | None:
    """Name of a camera that delivers pictures; None for nodes that do something else."""
    try:
        descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        answer = fcntl.ioctl(descriptor, _QUERYCAP, bytes(_CAPABILITY.size))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return parse_video_capability(answer)


def parse_video_capability(answer: bytes) -> str | None:
    """Card name from a ``struct v4l2_capability`` of 104 bytes; None when the node does not capture video."""
    _, card, _, _, whole, own = _CAPABILITY.unpack(answer)
    capabilities = own if whole & _HAS_DEVICE_CAPS else whole
    return card.split(b"\0")[0].decode(errors="replace") if capabilities & _CAPTURES else None


def _usb_devices(root: Path) -> list[tuple[str, str]]:
    found = []
    for vendor_file in sorted((root / "sys/bus/usb/devices").glob("*/idVendor")):
        try:
            found.append((vendor_file.read_text().strip(), (vendor_file.parent / "idProduct").read_text().strip()))
        except OSError:
            continue
    return found
