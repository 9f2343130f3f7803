"""Denoising of many instances: sources, targets, and the loop between them."""

from monai_dental.batch.folder import FolderSource, FolderTarget
from monai_dental.batch.run import Outcome, denoise_instances
from monai_dental.batch.source import Instance, InstanceSource
from monai_dental.batch.target import InstanceTarget

__all__ = [
    "FolderSource",
    "FolderTarget",
    "Instance",
    "InstanceSource",
    "InstanceTarget",
    "Outcome",
    "denoise_instances",
]
