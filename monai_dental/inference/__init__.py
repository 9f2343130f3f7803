"""Inference: arrays through a bundle's network, in tiles, on a device, at a precision."""
