"""The commands `batch` and `batch-status`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from monai_dental.bundle.find import find_bundle
from monai_dental.cli.arguments import (
    Subparsers,
    add_tls,
    ae_title,
    path,
    place,
    positive,
    require_posix,
    shard,
)
from monai_dental.cli.batch_work import add_work, limits_of, local_limits, make_job
from monai_dental.process.terminal import printable

if TYPE_CHECKING:
    from monai_dental.batch.batch import Batch
    from monai_dental.batch.source import InstanceSource
    from monai_dental.batch.target import ObjectTarget
    from monai_dental.batch.workers.ray import RayCluster


def add(commands: Subparsers) -> None:
    """Add the two commands."""
    command = commands.add_parser(
        "batch",
        help="denoise the dental radiographs in a folder of any files, or in a PACS",
        description="Denoise all dental radiographs among the files of a folder, and write them to "
        "OUT_DIR/STUDY/SERIES/INSTANCE.dcm. OUT_DIR/manifest.sqlite records what happened to each "
        "file. If a run is killed, run the same command again to continue it. Either folder can be "
        "a PACS instead: dicomweb+https://HOST/PATH, dimse://AE@HOST:PORT or, with TLS, "
        "dimse+tls://AE@HOST:PORT. Tokens for DICOMweb are read from the environment: "
        "MONAI_DENTAL_TOKEN, and MONAI_DENTAL_OUTPUT_TOKEN if the output needs another.",
    )
    command.set_defaults(command=batch)
    command.add_argument(
        "input", metavar="IN_DIR|PACS", type=place,
        help="folder of files of any kind; or a PACS with a query of DICOM keywords, for example "
        "'dicomweb+https://HOST/PATH?Modality=IO&StudyDate=20260101-'",
    )  # fmt: skip
    command.add_argument(
        "--output", metavar="OUT_DIR|PACS", type=place, required=True,
        help="folder for the results: new, empty, or from an earlier run; or a PACS",
    )  # fmt: skip
    command.add_argument(
        "--work", metavar="DIR", type=path,
        help="folder for the manifest if the output is a PACS: new, empty, or from an earlier run",
    )  # fmt: skip
    command.add_argument(
        "--ae-title", metavar="TITLE", type=ae_title, default="MONAI_DENTAL",
        help="our own AE title; the PACS may need to know it (default: MONAI_DENTAL)",
    )  # fmt: skip
    command.add_argument(
        "--move-port", metavar="N", type=positive,
        help="fetch by C-MOVE, for an archive that offers no C-GET: it sends the instances to this "
        "port, and must know the port, our AE title and our host (default: fetch by C-GET)",
    )  # fmt: skip
    add_tls(command, "our certificate for dimse+tls://, PEM")
    command.add_argument(
        "--spool-limit", metavar="MIB", type=positive, default=4096,
        help="disk space for instances from the PACS that are still to be processed, in MiB "
        "(default: 4096)",
    )  # fmt: skip
    add_work(command)
    command.add_argument(
        "--masks", metavar="DIR", type=path,
        help="folder of masks, for example of burned-in text and side markers: pixels of "
        "IN_DIR/NAME are left unchanged where DIR/NAME.png is not black",
    )  # fmt: skip
    command.add_argument(
        "--exclude", metavar="PATTERN", action="append", default=[],
        help="skip files and folders with this name, for example 'lost+found' or '*.pdf' (* and ? "
        "are wildcards); with a /, skip this path below IN_DIR; may be given several times",
    )  # fmt: skip
    command.add_argument(
        "--follow-links", action="store_true",
        help="follow links to folders, wherever they lead (default: skip and report each link)",
    )  # fmt: skip
    command.add_argument(
        "--engine", choices=("local", "ray"), default="local",
        help="where workers run: on this machine, or on a Ray cluster (default: local)",
    )  # fmt: skip
    command.add_argument(
        "--ray-address", metavar="HOST:PORT",
        help="the Ray cluster that this machine is part of (default: a cluster of this machine "
        "alone, started for this run)",
    )  # fmt: skip
    command.add_argument(
        "--shard", metavar="I/N", type=shard, default="1/1",
        help="process only the I-th of N parts of the files; the other parts may run at the same "
        "time, also on other machines, with the same OUT_DIR (default: 1/1, all files)",
    )  # fmt: skip
    command.add_argument(
        "--continue-only", action="store_true",
        help="stop if OUT_DIR, or DIR of --work, holds no earlier run, for example because its "
        "name is mistyped; with or without this option, files that an earlier run processed are "
        "not processed again",
    )  # fmt: skip
    command.add_argument(
        "--retry-failed", action="store_true", help="retry files that failed before"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="only show which files would be denoised"
    )
    command.add_argument(
        "--hash-paths", action="store_true",
        help="write a digest (SHA-256) instead of each path; anyone who knows a path can compute "
        "its digest",
    )  # fmt: skip
    command.add_argument(
        "--reproducible", action="store_true",
        help="do not record when results were made, so that the same input gives the same bytes",
    )  # fmt: skip

    command = commands.add_parser(
        "batch-status",
        help="show the state of a batch",
        description="Read the manifest of a batch, and show what was skipped, what failed and why, "
        "and what is left. Exit status 0 if all files are done, 1 if files failed or are left.",
    )
    command.set_defaults(command=batch_status)
    command.add_argument(
        "output", metavar="OUT_DIR", type=path, help="output folder of the batch, or DIR of --work"
    )
    command.add_argument(
        "--export", metavar="FILE", type=path,
        help="write the manifest as .csv, or as .jsonl with one JSON object per line",
    )  # fmt: skip


def batch(arguments: argparse.Namespace) -> int:
    """Denoise the dental radiographs in a folder of any files, or in a PACS."""
    require_posix("batch")
    _check_places(arguments)
    with ExitStack() as stack:
        cluster = None
        if arguments.engine == "ray" and not arguments.dry_run:
            from monai_dental.batch.workers.ray import connect_ray

            is_for_cpu = (arguments.device or "").startswith("cpu") or arguments.backend != "torch"
            cluster = stack.enter_context(connect_ray(arguments.ray_address, not is_for_cpu))
            for name in ("input", "output", "masks"):  # Ray workers have another current folder
                if (folder := getattr(arguments, name)) is not None:
                    setattr(arguments, name, folder.absolute())
        whole = _make_batch(arguments, cluster)
        if arguments.continue_only:
            whole.check_is_begun()
        if arguments.dry_run:
            return _preview(whole)
        return _run(whole, arguments)


def _check_places(arguments: argparse.Namespace) -> None:
    from monai_dental.errors import AddressError, WorkerError
    from monai_dental.pacs.address import with_tls
    from monai_dental.pacs.quiet import quiet_libraries
    from monai_dental.pacs.tls import TlsFiles

    if arguments.ray_address is not None and arguments.engine != "ray":
        raise WorkerError("--ray-address: works only with --engine ray; give both, or neither")
    if not all(isinstance(each, Path) for each in (arguments.input, arguments.output)):
        quiet_libraries()
    is_spread = arguments.engine == "ray" or arguments.shard.count > 1
    for each in (arguments.input, arguments.output):
        if is_spread and not isinstance(each, Path):
            raise AddressError(f"{each}: --engine ray and --shard need folders, not a PACS")
    files = TlsFiles.of(arguments.tls_cert, arguments.tls_key, arguments.tls_ca)
    places = (arguments.input, arguments.output)
    arguments.input, arguments.output = (with_tls(each, files) for each in places)
    if files is not None and not any(getattr(each, "is_tls", False) for each in places):
        raise AddressError(
            "--tls-cert, --tls-key and --tls-ca: need an address that begins with dimse+tls://"
        )


def _run(whole: Batch, arguments: argparse.Namespace) -> int:
    from monai_dental.batch.record.status import format_counts
    from monai_dental.cli.batch_progress import Progress

    progress: Progress | None = None
    counts: dict[str, int] = {}

    def plan(total: int) -> None:
        nonlocal progress
        progress = Progress(total)

    with whole.open() as manifest:
        try:
            for row in whole.run(manifest, plan):
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
                print(printable(f"{format_counts(counts)}: {arguments.output}"))
    return 1 if counts["failed"] or counts["left"] else 0


def batch_status(arguments: argparse.Namespace) -> int:
    """Show the state of a batch."""
    from monai_dental.batch.output_folder import StudyTree
    from monai_dental.batch.record.manifests import Manifests
    from monai_dental.batch.record.status import export_rows, format_status

    with closing(Manifests(arguments.output)) as manifests:
        if arguments.export is not None:
            export_rows(manifests.rows(), arguments.export)
        for line in format_status(manifests, StudyTree(arguments.output)):
            print(printable(line))
        counts, missing = manifests.counts(), manifests.missing
    return 1 if counts["failed"] or counts["left"] or missing else 0


def _make_batch(arguments: argparse.Namespace, cluster: RayCluster | None) -> Batch:
    bundle = find_bundle(arguments.bundle)  # before imports that take long

    from monai_dental.batch.batch import Batch

    work = _work_folder(arguments)
    target = _make_target(arguments)
    source = _make_source(arguments, work)
    job = make_job(arguments, bundle, target, is_reproducible=arguments.reproducible)
    if cluster is None:
        workers, limits = local_limits(arguments, len(source))
    else:
        workers = arguments.workers or cluster.default_workers(len(source))
        limits = limits_of(arguments, cluster.memory_mb(workers), 1)
    return Batch(
        source,
        target,
        job,
        work,
        workers=workers,
        limits=limits,
        is_hashed=arguments.hash_paths,
        is_failed_left=arguments.retry_failed,
        shard=arguments.shard,
        make_worker=None if cluster is None else cluster.start_worker,
    )


def _work_folder(arguments: argparse.Namespace) -> Path:
    """Return the folder of the manifest."""
    from monai_dental.errors import OutputError

    is_folder = isinstance(arguments.output, Path)
    if is_folder and arguments.work is not None:
        raise OutputError(f"{arguments.work}: --work is for an output in a PACS; leave it out")
    work = arguments.output if is_folder else arguments.work
    if not isinstance(work, Path):
        raise OutputError(f"{arguments.output}: need --work DIR, a folder for the manifest")
    return work


def _make_source(arguments: argparse.Namespace, work: Path) -> InstanceSource:
    from monai_dental.batch.input_folder import InventorySource
    from monai_dental.errors import DatasetError
    from monai_dental.pacs import DicomwebAddress

    if isinstance(arguments.input, Path):
        inventory = InventorySource(
            arguments.input,
            excluded=work,
            masks=arguments.masks,
            patterns=arguments.exclude,
            is_following_links=arguments.follow_links,
        )
        if not len(inventory):  # what is left where a share is not mounted
            raise DatasetError(f"{arguments.input}: holds no file to look at; is it the right one?")
        return inventory
    if arguments.masks is not None:
        raise DatasetError(f"{arguments.masks}: masks need an input folder, not a PACS")
    if arguments.exclude or arguments.follow_links:
        raise DatasetError("--exclude and --follow-links need an input folder, not a PACS")

    from monai_dental.pacs.dicomweb.archive import DicomwebArchive
    from monai_dental.pacs.dimse.archive import DimseArchive
    from monai_dental.pacs.dimse.listener import Listener
    from monai_dental.pacs.source import MAX_BYTES, PacsSource

    if isinstance(arguments.input, DicomwebAddress):
        return PacsSource(DicomwebArchive(arguments.input), arguments.spool_limit << 20)
    port, title = arguments.move_port, arguments.ae_title
    listener = None
    if port is not None:
        listener = Listener(arguments.input, title, port, max_bytes=MAX_BYTES)
    archive = DimseArchive(arguments.input, title, listener=listener)
    try:
        return PacsSource(archive, arguments.spool_limit << 20)
    except BaseException:
        archive.close()
        raise


def _make_target(arguments: argparse.Namespace) -> ObjectTarget:
    from monai_dental.batch.output_folder import StudyTree
    from monai_dental.errors import AddressError
    from monai_dental.pacs import DicomwebAddress

    if isinstance(arguments.output, Path):
        return StudyTree(arguments.output, arguments.shard.parts)
    if arguments.output.query:
        raise AddressError(f"{arguments.output}: an output cannot have a query; remove it")
    if isinstance(arguments.output, DicomwebAddress):
        from monai_dental.pacs.dicomweb.target import DicomwebTarget

        return DicomwebTarget(arguments.output)
    from monai_dental.pacs.dimse.target import DimseTarget

    return DimseTarget(arguments.output, arguments.ae_title)


def _preview(whole: Batch) -> int:
    from monai_dental.batch.record.status import group_reasons

    names = {"derived": "would be denoised", "skipped": "skipped", "failed": "failed"}
    totals: Counter[str] = Counter()
    reasons: dict[str, list[str]] = {outcome: [] for outcome in names}
    for row in whole.preview():
        totals[row.outcome] += 1
        if row.reason:
            reasons[row.outcome].append(row.reason)
    for outcome, name in names.items():
        for reason, count in group_reasons(reasons[outcome]):
            print(printable(f"{name} {count}: {reason}"))
    print(", ".join(f"{totals[outcome]} {name}" for outcome, name in names.items()))
    return 1 if totals["failed"] else 0
