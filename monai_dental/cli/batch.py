"""The commands `batch` and `batch-status`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

from monai_dental.cli.arguments import Subparsers, add_model, path, positive, seconds, shard
from monai_dental.terminal import printable

if TYPE_CHECKING:
    from monai_dental.batch.folder_batch import FolderBatch
    from monai_dental.batch.ray_workers import RayCluster

_COMPRESSIONS = ("none", "jpegls", "as-source")  # as in monai_dental.dicom, imported when needed


def add(commands: Subparsers) -> None:
    """Add the two commands."""
    command = commands.add_parser(
        "batch",
        help="denoise a folder of DICOM files, whatever is in it",
        description="Denoise all dental radiographs among the files of a folder into "
        "OUT_DIR/STUDY/SERIES/INSTANCE.dcm. OUT_DIR/manifest.sqlite says what became of each file. "
        "Killed at any moment, the same command goes on with what is left.",
    )
    command.set_defaults(command=batch)
    command.add_argument("input", metavar="IN_DIR", type=path, help="folder of files of any kind")
    command.add_argument(
        "--output", metavar="OUT_DIR", type=path, required=True,
        help="folder for the results: new, empty, or of an earlier run",
    )  # fmt: skip
    add_model(command)
    command.add_argument(
        "--workers", metavar="N", type=positive,
        help="worker processes (default: one a core, as far as memory goes)",
    )  # fmt: skip
    command.add_argument(
        "--compress", choices=_COMPRESSIONS, default="none",
        help="write results uncompressed, in JPEG-LS, or as the source, where that is lossless "
        "(default: none)",
    )  # fmt: skip
    command.add_argument(
        "--all-xray", action="store_true", help="take DX, CR and CT without dental anatomy too"
    )
    command.add_argument(
        "--rules", metavar="FILE", type=path,
        help="rules of selection, JSON (default: dicom/selection.json of the package)",
    )  # fmt: skip
    command.add_argument(
        "--masks", metavar="DIR", type=path,
        help="masks of what is left as it is, such as burned-in text and side markers: where "
        "DIR/NAME.png is not black, of the file IN_DIR/NAME",
    )  # fmt: skip
    command.add_argument(
        "--engine", choices=("local", "ray"), default="local",
        help="where workers run: on this machine, or on those of a Ray cluster (default: local)",
    )  # fmt: skip
    command.add_argument(
        "--ray-address", metavar="HOST:PORT",
        help="the Ray cluster, of which this machine is part (default: one of this machine alone, "
        "for this run)",
    )  # fmt: skip
    command.add_argument(
        "--shard", metavar="I/N", type=shard, default="1/1",
        help="do the I-th of N parts of the files; others may run at the same time, on other "
        "machines too, into the same OUT_DIR (default: 1/1, all)",
    )  # fmt: skip
    command.add_argument(
        "--time-limit", metavar="SECONDS", type=seconds, default=600.0,
        help="time that one file may take (default: 600)",
    )  # fmt: skip
    command.add_argument(
        "--memory-limit", metavar="MB", type=positive,
        help="memory that one file may take, beside the model, in MiB (default: the workers' share "
        "of three quarters of the machine)",
    )  # fmt: skip
    command.add_argument(
        "--resume", action="store_true",
        help="refuse to begin anew where OUT_DIR holds no earlier run: a mistyped name, for "
        "instance; what an earlier run did is never done again, with or without this",
    )  # fmt: skip
    command.add_argument(
        "--retry-failed", action="store_true", help="do files that failed before again"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="only tell which files would be denoised"
    )
    command.add_argument(
        "--hash-paths", action="store_true",
        help="say a digest (SHA-256) of each path in its stead; who knows a path finds its digest",
    )  # fmt: skip
    command.add_argument(
        "--reproducible", action="store_true",
        help="leave out when results were made: the same input makes the same bytes",
    )  # fmt: skip

    command = commands.add_parser(
        "batch-status",
        help="tell how a batch stands",
        description="Tell from the manifest of a batch what was skipped and failed, and why, and "
        "what is left. Exit status 0 if all is done, 1 if files failed or are left.",
    )
    command.set_defaults(command=batch_status)
    command.add_argument("output", metavar="OUT_DIR", type=path, help="output folder of the batch")
    command.add_argument(
        "--export", metavar="FILE", type=path,
        help="write the manifest as .csv, or as .jsonl: one JSON object a line",
    )  # fmt: skip


def batch(arguments: argparse.Namespace) -> int:
    """Denoise a folder of DICOM files, whatever is in it."""
    from monai_dental.errors import WorkerError

    if arguments.ray_address is not None and arguments.engine != "ray":
        raise WorkerError("--ray-address: of no use here; need --engine ray with it")
    with ExitStack() as stack:
        cluster = None
        if arguments.engine == "ray" and not arguments.dry_run:
            from monai_dental.batch.ray_workers import connect_ray

            is_on_gpus = not (arguments.device or "").startswith("cpu")
            cluster = stack.enter_context(connect_ray(arguments.ray_address, is_on_gpus))
            for name in ("input", "output", "masks"):  # elsewhere the current folder is another
                if (folder := getattr(arguments, name)) is not None:
                    setattr(arguments, name, folder.absolute())
        folder_batch = _make_batch(arguments, cluster)
        if arguments.resume:
            folder_batch.check_is_begun()
        if arguments.dry_run:
            return _preview(folder_batch)
        return _run(folder_batch)


def _run(folder_batch: FolderBatch) -> int:
    from monai_dental.batch.progress import Progress
    from monai_dental.batch.status import format_counts

    progress: Progress | None = None
    counts: dict[str, int] = {}

    def plan(total: int) -> None:
        nonlocal progress
        progress = Progress(total)

    with folder_batch.open() as manifest:
        try:
            for row in folder_batch.run(manifest, plan):
                if progress is None:
                    continue
                progress.update(row.outcome)
                if row.outcome == "failed":
                    line = printable(f"failed: {row.name}: {row.reason}")
                    progress.write(line, file=sys.stdout)
        finally:
            if progress is not None:
                progress.close()
                counts = manifest.counts()
                print(printable(f"{format_counts(counts)}: {folder_batch.tree.folder}"))
    return 1 if counts["failed"] or counts["left"] else 0


def batch_status(arguments: argparse.Namespace) -> int:
    """Tell how a batch stands."""
    from monai_dental.batch.manifests import Manifests
    from monai_dental.batch.status import export_rows, format_status
    from monai_dental.batch.tree import StudyTree

    manifests = Manifests(arguments.output)
    try:
        if arguments.export is not None:
            export_rows(manifests.rows(), arguments.export)
        for line in format_status(manifests, StudyTree(arguments.output)):
            print(printable(line))
        counts, missing = manifests.counts(), manifests.missing
    finally:
        manifests.close()
    return 1 if counts["failed"] or counts["left"] or missing else 0


def _make_batch(arguments: argparse.Namespace, cluster: RayCluster | None) -> FolderBatch:
    from monai_dental.bundles import find_bundle

    bundle = find_bundle(arguments.bundle)

    from monai_dental.batch.dicom import DicomJob
    from monai_dental.batch.folder_batch import FolderBatch
    from monai_dental.batch.inventory import InventorySource
    from monai_dental.batch.tree import StudyTree
    from monai_dental.batch.worker import Limits
    from monai_dental.batch.workers import default_workers, memory_mb, usable_cores
    from monai_dental.dicom.select import SHIPPED_RULES, read_rules

    source = InventorySource(arguments.input, excluded=arguments.output, masks=arguments.masks)
    tree = StudyTree(arguments.output, arguments.shard.parts)
    if cluster is None:
        workers = arguments.workers or default_workers(len(source))
        memory, threads = memory_mb() * 3 // 4 // workers, max(1, usable_cores() // workers)
    else:
        workers = arguments.workers or cluster.default_workers(len(source))
        memory, threads = cluster.memory_mb(workers), 1
    job = DicomJob(
        bundle,
        read_rules(arguments.rules or SHIPPED_RULES, all_xray=arguments.all_xray),
        tree,
        strength=arguments.strength,
        compression=arguments.compress,
        is_reproducible=arguments.reproducible,
        device=arguments.device,
    )
    limits = Limits(
        seconds=arguments.time_limit,
        memory_mb=arguments.memory_limit or memory,
        threads=threads,
    )
    return FolderBatch(
        source,
        tree,
        job,
        workers=workers,
        limits=limits,
        is_hashed=arguments.hash_paths,
        is_failed_left=arguments.retry_failed,
        shard=arguments.shard,
        make_worker=None if cluster is None else cluster.start_worker,
    )


def _preview(folder_batch: FolderBatch) -> int:
    names = {"derived": "would be denoised", "skipped": "skipped", "failed": "failed"}
    totals: Counter[str] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    for row in folder_batch.preview():
        totals[row.outcome] += 1
        if row.reason:
            reasons[row.outcome, row.reason] += 1
    for (outcome, reason), count in sorted(reasons.items()):
        print(printable(f"{names[outcome]} {count}: {reason}"))
    print(", ".join(f"{totals[outcome]} {name}" for outcome, name in names.items()))
    return 1 if totals["failed"] else 0
