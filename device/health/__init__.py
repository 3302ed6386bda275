"""How the computer is doing: heat, power, memory, disk, clock. What cannot be read is said to be so, with a reason."""

from edgegal.device.health.concerns import Concern, Limits, concerns_of
from edgegal.device.health.look import Health, Throttling, Tools, read_health
from edgegal.device.health.monitor import HealthMonitor, HealthReport
from edgegal.device.health.reading import Reading

__all__ = [
    "Concern",
    "Health",
    "HealthMonitor",
    "HealthReport",
    "Limits",
    "Reading",
    "Throttling",
    "Tools",
    "concerns_of",
    "read_health",
]
