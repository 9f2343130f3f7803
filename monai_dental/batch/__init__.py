"""Denoising of many instances: sources, targets, and the loops between them."""

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
