"""Checks that workers on other machines see the same files as this machine."""

from __future__ import annotations

import os
import platform
import secrets
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import monai_dental
from monai_dental.batch.job import Engine, Job
from monai_dental.batch.output_folder import StudyTree
from monai_dental.batch.source import InstanceSource
from monai_dental.errors import OutputError, WorkerError

_SAMPLES = 10


@dataclass(frozen=True)
class SharedFoldersJob:
    """A job that fails on machines with another package version or other folders.

    Attributes:
        inputs: Some input files, of which at least one must exist.
        output: The output folder.
        token: A file in it.
        version: Version of this package.
    """

    job: Job
    inputs: tuple[Path, ...]
    output: Path
    token: Path
    version: str = monai_dental.__version__

    def open(self) -> Engine:
        """Check the machine and make the engine; see `Job.open`.

        Raises:
            WorkerError: This machine lacks something.
        """
        machine = f"machine {platform.node()}"
        if self.version != monai_dental.__version__:
            raise WorkerError(
                f"{machine}: has monai_dental {monai_dental.__version__}; need {self.version}, as "
                "where the batch was started"
            )
        for place, files in (("the input", self.inputs), (f"{self.output}", (self.token,))):
            if files and not any(map(os.path.lexists, files)):
                raise WorkerError(
                    f"{machine}: does not see the files of {place}; need input and output by the "
                    "same path on every machine"
                )
        return self.job.open()


def share(job: Job, source: InstanceSource, tree: StudyTree) -> SharedFoldersJob:
    """Return a job for workers that may be on other machines.

    Args:
        job: The job to do.
        source: The input.
        tree: The output, prepared; the token is in its folder of unfinished files and is removed
            with it.

    Raises:
        OutputError: The token cannot be written.
    """
    token = (tree.folder / tree.parts / f"{secrets.token_hex(8)}.part").absolute()
    try:
        token.touch(exist_ok=False)
    except OSError as error:
        raise OutputError(f"{tree.folder}: cannot be written: {error.strerror}") from error
    inputs = tuple(each.path for each in islice(source, _SAMPLES))
    return SharedFoldersJob(job, inputs, tree.folder, token)
