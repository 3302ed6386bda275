"""How Home Assistant finds the messages of a run by itself: MQTT discovery."""

import re
from collections.abc import Iterator
from typing import Any

__all__ = ["discovery"]

_SENSORS: dict[str, dict[str, str]] = {
    "galaxies": {"name": "Galaxies seen", "icon": "mdi:creation", "state_class": "measurement"},
    "last_class": {"name": "Last class", "icon": "mdi:tag-outline"},
    "frames": {"name": "Frames", "icon": "mdi:image-multiple-outline", "state_class": "total_increasing"},
    "dropped": {"name": "Dropped frames", "icon": "mdi:image-off-outline", "state_class": "total_increasing"},
    "temperature_c": {
        "name": "Temperature",
        "device_class": "temperature",
        "unit_of_measurement": "°C",
        "state_class": "measurement",
        "entity_category": "diagnostic",
    },
}


def discovery(root: str, prefix: str, software: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Topics and documents, to be retained, that make a device with its sensors.

    Parameters
    ----------
    root
        Where Home Assistant looks, ``homeassistant`` unless it was changed there.
    prefix
        Of the topics with the values; each prefix is a device of its own.
    software
        Name and version of this program.
    """
    node = re.sub(r"[^A-Za-z0-9_-]+", "_", prefix)
    name, _, version = software.partition(" ")
    device = {"identifiers": [node], "name": prefix, "model": name, "sw_version": version}
    for key, sensor in _SENSORS.items():
        yield (
            f"{root}/sensor/{node}/{key}/config",
            {
                **sensor,
                "unique_id": f"{node}_{key}",
                "object_id": f"{node}_{key}",
                "state_topic": f"{prefix}/state",
                "value_template": f"{{{{ value_json.{key} }}}}",
                "availability_topic": f"{prefix}/available",
                "device": device,
                "origin": {"name": name, "sw_version": version},
            },
        )
