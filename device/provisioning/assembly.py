"""From what is at hand (a bundle, this checkout, its pins) to a payload."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import edgegal
from edgegal.bundle import Bundle, pack
from edgegal.device.provisioning.partition import Mechanism
from edgegal.device.provisioning.payload import Payload, build_payload
from edgegal.device.provisioning.settings import DeviceSettings
from edgegal.device.provisioning.wheels import build_wheel, read_wheels

__all__ = ["assemble"]


def assemble(settings: DeviceSettings, mechanism: Mechanism, bundle: Bundle, wheels: Sequence[Path] = ()) -> Payload:
    """The payload with `bundle` packed, and `wheels` or the one of the checkout that this edgegal runs from.

    Raises
    ------
    BundleError
        The bundle does not verify.
    InputError
        The wheels are not edgegal's.
    MissingPartError
        There is no checkout to build a wheel from, or it cannot be built here.
    """
    checkout = Path(edgegal.__file__).resolve().parent.parent
    taken = read_wheels(wheels) if wheels else dict([build_wheel(checkout)])
    pins = checkout / "constraints" / "device.txt"
    with tempfile.TemporaryDirectory() as folder:
        archive = pack(bundle, Path(folder) / "bundle.edgegal").read_bytes()
    return build_payload(settings, mechanism, archive, taken, pins.read_bytes() if pins.is_file() else b"")
