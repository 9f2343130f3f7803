"""The command `report`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from monai_dental.cli.arguments import Subparsers, path, positive
from monai_dental.cli.progress import progress_bar
from monai_dental.process.terminal import printable

if TYPE_CHECKING:
    from monai_dental.batch.source import InstanceSource

_BATCH_SAMPLE = 50


def add(commands: Subparsers) -> None:
    """Add the command."""
    command = commands.add_parser(
        "report",
        help="show originals beside their results, as web pages",
        description="Write self-contained HTML pages that show each original beside its denoised "
        "image, with slider, residual, noise map, profiles, histograms and figures. The pages "
        "contain the images themselves: protect them as you protect the images.",
    )
    command.set_defaults(command=report)
    command.add_argument(
        "inputs", metavar="INPUT", type=path, nargs="*",
        help="an original, or a folder of originals; not needed if DENOISED is the output folder "
        "of a batch, which records its originals",
    )  # fmt: skip
    command.add_argument(
        "denoised", metavar="DENOISED", type=path,
        help="folder of results that denoise or batch wrote",
    )  # fmt: skip
    command.add_argument(
        "--output", metavar="DIR", type=path,
        help="folder for the pages (default: DENOISED/report)",
    )  # fmt: skip
    command.add_argument(
        "--reference", metavar="DIR", type=path,
        help="folder of clean images with the same names, for PSNR and SSIM",
    )  # fmt: skip
    command.add_argument(
        "--page-size", metavar="N", type=positive, default=10, help="images per page (default: 10)"
    )
    command.add_argument(
        "--sample", metavar="N", type=positive,
        help="show only N images, spread evenly over all (default: all; for a batch, 50)",
    )  # fmt: skip
    command.add_argument(
        "--hash-paths",
        action="store_true",
        help="show a digest (SHA-256) instead of each name; anyone who knows a name can compute "
        "its digest",
    )
    command.add_argument(
        "--overwrite", action="store_true", help="write into a folder that is not empty"
    )


def report(arguments: argparse.Namespace) -> int:
    """Write pages that show originals beside their results."""
    from monai_dental.batch.record.shard import shards_in
    from monai_dental.errors import DatasetError
    from monai_dental.files.outputs import output_folder

    for folder in (arguments.denoised, arguments.reference):
        if folder is not None and not folder.is_dir():
            raise DatasetError(f"{folder}: no such folder")
    output = arguments.output or arguments.denoised / "report"
    sample, is_hashed = arguments.sample, arguments.hash_paths
    source: InstanceSource
    if shards_in(arguments.denoised, ".sqlite"):
        from monai_dental.batch.record.results import BatchResults

        if len(arguments.inputs) > 1:
            raise DatasetError(
                f"{arguments.denoised}: is the output of a batch; need one input folder before it"
            )
        source = results = BatchResults(arguments.denoised, next(iter(arguments.inputs), None))
        sample = sample or _BATCH_SAMPLE
        is_hashed = is_hashed or results.is_hashed
    else:
        from monai_dental.batch.folder import FolderSource

        if not arguments.inputs:
            raise DatasetError(
                f"{arguments.denoised}: is not the output of a batch; name the originals before it"
            )
        source = FolderSource(arguments.inputs, excluded=arguments.denoised)

    from monai_dental.report import sample_evenly, write_report

    instances = sample_evenly(list(source), sample)
    failed = without_reference = 0
    entries = write_report(
        instances,
        arguments.denoised,
        output,
        reference_dir=arguments.reference,
        page_size=arguments.page_size,
        total=len(source),
        hash_paths=is_hashed,
    )
    with (
        output_folder(output, overwrite=arguments.overwrite),
        progress_bar("comparing", len(instances)) as progress,
    ):
        for entry in entries:
            progress.update()
            if entry.reason is not None:
                failed += 1
                line = printable(f"failed: {entry.path}: {entry.reason}")
                progress.write(line, file=sys.stdout)
            elif arguments.reference is not None and entry.lacks_reference:
                without_reference += 1
    page = output / "index.html"
    if without_reference:
        print(f"{without_reference} without a usable reference; the report says why")
    print(printable(f"{len(instances) - failed} compared, {failed} failed: {page}"))
    return 1 if failed or without_reference else 0
