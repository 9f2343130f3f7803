"""MONAI Label: a server app that offers the bundles to 3D Slicer, OHIF and REST clients.

Only `monai_dental.cli.label` and MONAI Label itself import these modules. They need MONAI Label,
which the rest of the package does not need (see docs/label.md).
"""
