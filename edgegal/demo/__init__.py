"""The whole main job in minutes, on what ships: frames in, sightings, figures and one report out."""

from edgegal.demo.sky import Exposition, run_demo

__all__ = ["Exposition", "run_demo"]
