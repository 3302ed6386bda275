"""Simulated skies as telescopes see them, drawn with GalSim; the device's own plain sky is `edgegal.sky`."""
