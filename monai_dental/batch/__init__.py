"""Denoising of many instances: sources, targets, and the loops between them.

Names are imported on first access, since most are not needed to denoise a single file.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monai_dental.batch.batch import Batch
    from monai_dental.batch.dicom import DicomJob
    from monai_dental.batch.folder import FolderSource, FolderTarget
    from monai_dental.batch.input_folder import InventorySource
    from monai_dental.batch.job import Engine, Job, Recipe, Result
    from monai_dental.batch.loop import run_batch
    from monai_dental.batch.output_folder import StudyTree
    from monai_dental.batch.record.manifest import Manifest, Row
    from monai_dental.batch.record.results import BatchResults
    from monai_dental.batch.run import Outcome, denoise_instances
    from monai_dental.batch.source import Instance, InstanceSource, RemoteSource
    from monai_dental.batch.target import InstanceTarget, ObjectTarget, StoredObject
    from monai_dental.batch.workers.protocol import Limits

_PLACES = {
    "Batch": "batch",
    "DicomJob": "dicom",
    "FolderSource": "folder",
    "FolderTarget": "folder",
    "InventorySource": "input_folder",
    "Engine": "job",
    "Job": "job",
    "Recipe": "job",
    "Result": "job",
    "run_batch": "loop",
    "StudyTree": "output_folder",
    "Manifest": "record.manifest",
    "Row": "record.manifest",
    "BatchResults": "record.results",
    "Outcome": "run",
    "denoise_instances": "run",
    "Instance": "source",
    "InstanceSource": "source",
    "RemoteSource": "source",
    "InstanceTarget": "target",
    "ObjectTarget": "target",
    "StoredObject": "target",
    "Limits": "workers.protocol",
}

__all__ = [
    "Batch",
    "BatchResults",
    "DicomJob",
    "Engine",
    "FolderSource",
    "FolderTarget",
    "Instance",
    "InstanceSource",
    "InstanceTarget",
    "InventorySource",
    "Job",
    "Limits",
    "Manifest",
    "ObjectTarget",
    "Outcome",
    "Recipe",
    "RemoteSource",
    "Result",
    "Row",
    "StoredObject",
    "StudyTree",
    "denoise_instances",
    "run_batch",
]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
