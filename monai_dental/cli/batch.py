"""The commands `batch` and `batch-status`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from monai_dental.cli.arguments import (
    Subparsers,
    add_model,
    add_tls,
    ae_title,
    path,
    place,
    positive,
    seconds,
    shard,
)
from monai_dental.process.terminal import printable

if TYPE_CHECKING:
    from monai_dental.batch.batch import Batch
    from monai_dental.batch.source import InstanceSource
    from monai_dental.batch.target import ObjectTarget
    from monai_dental.batch.workers.ray import RayCluster

_COMPRESSIONS = ("none", "jpegls", "as-source")  # as in monai_dental.dicom, imported when needed


def add(commands: Subparsers) -> None:
    """Add the two commands."""
    command = commands.add_parser(
        "batch",
        help="denoise a folder of DICOM files, whatever is in it, or instances of a PACS",
        description="Denoise all dental radiographs among the files of a folder into "
        "OUT_DIR/STUDY/SERIES/INSTANCE.dcm. OUT_DIR/manifest.sqlite says what became of each file. "
        "Killed at any moment, the same command goes on with what is left. In the place of either "
        "folder stands a PACS: dicomweb+https://HOST/PATH, dimse://AE@HOST:PORT or, by TLS, "
        "dimse+tls://AE@HOST:PORT. A token for DICOMweb comes from the environment: "
        "MONAI_DENTAL_TOKEN, and MONAI_DENTAL_OUTPUT_TOKEN where that of the output is another.",
    )
    command.set_defaults(command=batch)
    command.add_argument(
        "input", metavar="IN_DIR|PACS", type=place,
        help="folder of files of any kind; or a PACS with a query of DICOM keywords, such as "
        "'dicomweb+https://HOST/PATH?Modality=IO&StudyDate=20260101-'",
    )  # fmt: skip
    command.add_argument(
        "--output", metavar="OUT_DIR|PACS", type=place, required=True,
        help="folder for the results: new, empty, or of an earlier run; or a PACS",
    )  # fmt: skip
    command.add_argument(
        "--work", metavar="DIR", type=path,
        help="folder of the manifest where the output is a PACS: new, empty, or of an earlier run",
    )  # fmt: skip
    command.add_argument(
        "--ae-title", metavar="TITLE", type=ae_title, default="MONAI_DENTAL",
        help="our own AE title, which a PACS may have to know (default: MONAI_DENTAL)",
    )  # fmt: skip
    command.add_argument(
        "--move-port", metavar="N", type=positive,
        help="fetch by C-MOVE, for an archive that offers no C-GET: what it sends us comes to this "
        "port, which it has to know with our AE title and host (default: fetch by C-GET)",
    )  # fmt: skip
    add_tls(command, "our certificate for dimse+tls://, PEM")
    command.add_argument(
        "--spool-limit", metavar="MB", type=positive, default=4096,
        help="disk that instances from a PACS may take until they are done, in MiB (default: 4096)",
    )  # fmt: skip
    add_model(command)
    command.add_argument(
        "--workers", metavar="N", type=positive,
        help="worker processes (default: one for each core, as far as memory goes; one on a GPU)",
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
        "--exclude", metavar="PATTERN", action="append", default=[],
        help="pass over files and folders of this name, * and ? standing for any letters, such as "
        "'lost+found' or '*.pdf'; with a /, of this path below IN_DIR; can be given several times",
    )  # fmt: skip
    command.add_argument(
        "--follow-links", action="store_true",
        help="follow links to folders, wherever they lead (default: each is skipped, and named)",
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
        help="refuse to begin anew where OUT_DIR, or DIR of --work, holds no earlier run: a "
        "mistyped name, for instance; what an earlier run did is never done again, with or without "
        "this",
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
    command.add_argument(
        "output", metavar="OUT_DIR", type=path, help="output folder of the batch, or DIR of --work"
    )
    command.add_argument(
        "--export", metavar="FILE", type=path,
        help="write the manifest as .csv, or as .jsonl: one JSON object a line",
    )  # fmt: skip


def batch(arguments: argparse.Namespace) -> int:
    """Denoise a folder of DICOM files, whatever is in it, or instances of a PACS."""
    _check_places(arguments)
    with ExitStack() as stack:
        cluster = None
        if arguments.engine == "ray" and not arguments.dry_run:
            from monai_dental.batch.workers.ray import connect_ray

            is_for_cpu = (arguments.device or "").startswith("cpu") or arguments.backend != "torch"
            cluster = stack.enter_context(connect_ray(arguments.ray_address, not is_for_cpu))
            for name in ("input", "output", "masks"):  # elsewhere the current folder is another
                if (folder := getattr(arguments, name)) is not None:
                    setattr(arguments, name, folder.absolute())
        whole = _make_batch(arguments, cluster)
        if arguments.resume:
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
        raise WorkerError("--ray-address: of no use here; need --engine ray with it")
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
        raise AddressError("--tls-cert, --tls-key and --tls-ca: of no use without dimse+tls://")


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
    """Tell how a batch stands."""
    from monai_dental.batch.output_folder import StudyTree
    from monai_dental.batch.record.manifests import Manifests
    from monai_dental.batch.record.status import export_rows, format_status

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


def _make_batch(arguments: argparse.Namespace, cluster: RayCluster | None) -> Batch:
    from monai_dental.bundle.find import find_bundle

    bundle = find_bundle(arguments.bundle)

    from monai_dental.batch.batch import Batch
    from monai_dental.batch.dicom import DicomJob
    from monai_dental.batch.workers.local import default_workers
    from monai_dental.batch.workers.protocol import Limits
    from monai_dental.dicom.select import SHIPPED_RULES, read_rules
    from monai_dental.inference.backends import runs_on_gpu
    from monai_dental.process.machine import memory_mb, usable_cores

    work = _work_folder(arguments)
    target = _make_target(arguments)
    source = _make_source(arguments, work)
    if cluster is None:
        is_on_gpu = runs_on_gpu(arguments.device, arguments.backend)
        workers = arguments.workers or default_workers(len(source), is_on_gpu=is_on_gpu)
        memory, threads = memory_mb() * 3 // 4 // workers, max(1, usable_cores() // workers)
    else:
        workers = arguments.workers or cluster.default_workers(len(source))
        memory, threads = cluster.memory_mb(workers), 1
    job = DicomJob(
        bundle,
        read_rules(arguments.rules or SHIPPED_RULES, all_xray=arguments.all_xray),
        target,
        strength=arguments.strength,
        compression=arguments.compress,
        is_reproducible=arguments.reproducible,
        device=arguments.device,
        backend=arguments.backend,
    )
    limits = Limits(
        seconds=arguments.time_limit,
        memory_mb=arguments.memory_limit or memory,
        threads=threads,
    )
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
    """The folder of the manifest."""
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
        return InventorySource(
            arguments.input,
            excluded=work,
            masks=arguments.masks,
            patterns=arguments.exclude,
            is_following_links=arguments.follow_links,
        )
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
        raise AddressError(f"{arguments.output}: an output takes no query; leave it out")
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
