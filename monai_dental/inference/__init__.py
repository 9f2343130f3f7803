"""Inference with a bundle's network on arrays: tiling, device and precision."""
