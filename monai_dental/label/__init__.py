"""MONAI Label: a server app that offers the bundles to 3D Slicer, OHIF and REST clients.

Only `monai_dental.cli.label` and MONAI Label itself import these modules: they need MONAI Label,
which the package does not (see docs/label.md).
"""
