"""Bundles: find, check and load them; make the checks that `monai.bundle run` omits."""
