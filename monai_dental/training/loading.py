"""Processes that load images for a training."""

from __future__ import annotations

from monai.data.utils import worker_init_fn

from monai_dental.process.pool import end_with_parent


def begin_worker(worker_id: int) -> None:
    """Initialize a worker process of a `DataLoader` as MONAI does, and end it with the training.

    torch's workers check for their parent every few seconds, but not while they load an image. One
    whose parent ended before the first check waits for ever.
    """
    end_with_parent()
    worker_init_fn(worker_id)
