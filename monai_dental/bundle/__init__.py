"""Bundles: find, check and load one; check what `monai.bundle run` does not."""
