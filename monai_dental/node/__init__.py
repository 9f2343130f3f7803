"""The node: receives instances, denoises them and forwards the results."""
