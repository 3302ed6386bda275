"""A run as a service of systemd: its unit, its signs of life, and the clock it may wake up without."""

from edgegal.device.service.clock import ClockEvent, ClockState, ClockWatch, read_clock, stamped
from edgegal.device.service.notify import Notifier

__all__ = ["ClockEvent", "ClockState", "ClockWatch", "Notifier", "read_clock", "stamped"]
