"""Options that the commands for batches of DICOM instances share: the job and its limits."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from monai_dental.cli.arguments import add_model, path, positive, seconds

if TYPE_CHECKING:
    from pathlib import Path

    from monai_dental.batch.dicom import DicomJob
    from monai_dental.batch.target import ObjectTarget
    from monai_dental.batch.workers.protocol import Limits
    from monai_dental.node.settings import NodeSettings

    Work = argparse.Namespace | NodeSettings  # each has the options of `add_work`

_COMPRESSIONS = ("none", "jpegls", "as-source")  # as in monai_dental.dicom, imported when needed


def add_work(command: argparse.ArgumentParser) -> None:
    """Add the options: model, workers, compression, selection, limits."""
    add_model(command)
    command.add_argument(
        "--workers", metavar="N", type=positive,
        help="worker processes (default: one for each core, if memory allows; one on a GPU)",
    )  # fmt: skip
    command.add_argument(
        "--compress", choices=_COMPRESSIONS, default="none",
        help="write results uncompressed, as JPEG-LS, or in the source's compression if that is "
        "lossless (default: none)",
    )  # fmt: skip
    command.add_argument(
        "--all-xray", action="store_true", help="also select DX, CR and CT without dental anatomy"
    )
    command.add_argument(
        "--rules", metavar="FILE", type=path,
        help="selection rules, JSON (default: dicom/selection.json of the package)",
    )  # fmt: skip
    command.add_argument(
        "--time-limit", metavar="SECONDS", type=seconds, default=600.0,
        help="time limit for one file (default: 600)",
    )  # fmt: skip
    command.add_argument(
        "--memory-limit", metavar="MIB", type=positive,
        help="memory for one file, in addition to the model, in MiB (default: the worker's share "
        "of three quarters of the machine's memory)",
    )  # fmt: skip


def make_job(
    arguments: Work,
    bundle: Path,
    target: ObjectTarget,
    *,
    is_reproducible: bool = False,
) -> DicomJob:
    """Make the job that processes each instance."""
    from monai_dental.batch.dicom import DicomJob
    from monai_dental.dicom.select import SHIPPED_RULES, read_rules

    return DicomJob(
        bundle,
        read_rules(arguments.rules or SHIPPED_RULES, all_xray=arguments.all_xray),
        target,
        strength=arguments.strength,
        compression=arguments.compress,
        is_reproducible=is_reproducible,
        device=arguments.device,
        backend=arguments.backend,
    )


def local_limits(arguments: Work, files: int) -> tuple[int, Limits]:
    """Return how many workers to start for a number of files, and the limits for one file."""
    from monai_dental.batch.workers.local import default_workers
    from monai_dental.inference.backends import runs_on_gpu
    from monai_dental.process.machine import memory_mb, usable_cores

    is_on_gpu = runs_on_gpu(arguments.device, arguments.backend)
    workers = arguments.workers or default_workers(files, is_on_gpu=is_on_gpu)
    threads = max(1, usable_cores() // workers)
    return workers, limits_of(arguments, memory_mb() * 3 // 4 // workers, threads)


def limits_of(arguments: Work, memory_mb: int, threads: int) -> Limits:
    """Return the limits for one file; `memory_mb` holds unless the user gave a limit."""
    from monai_dental.batch.workers.protocol import Limits

    return Limits(
        seconds=arguments.time_limit,
        memory_mb=arguments.memory_limit or memory_mb,
        threads=threads,
    )
