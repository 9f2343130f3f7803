"""The command `denoise`."""

from __future__ import annotations

import argparse
import sys

from monai_dental.bundle.find import find_bundle
from monai_dental.cli.arguments import Subparsers, add_model, path
from monai_dental.cli.progress import progress_bar
from monai_dental.process.terminal import printable


def add(commands: Subparsers) -> None:
    """Add the command."""
    command = commands.add_parser(
        "denoise",
        help="denoise files and folders",
        description="Denoise JPG, PNG, TIFF, BMP, NIfTI and DICOM files at their full size. Each "
        "result keeps the name, format and bit depth of its source; a DICOM result is a derived "
        "instance with its own UIDs. Sources are never changed.",
    )
    command.set_defaults(command=denoise)
    command.add_argument("inputs", metavar="INPUT", type=path, nargs="+", help="a file or a folder")
    command.add_argument(
        "--output", metavar="DIR", type=path, required=True, help="folder for the results"
    )
    add_model(command)
    command.add_argument(
        "--overwrite", action="store_true", help="write into a folder that is not empty"
    )


def denoise(arguments: argparse.Namespace) -> int:
    """Denoise files and folders."""
    from monai_dental.batch.folder import FolderSource, FolderTarget
    from monai_dental.files.outputs import output_folder

    bundle = find_bundle(arguments.bundle)
    source = FolderSource(arguments.inputs, excluded=arguments.output)

    from monai_dental.batch.run import denoise_instances
    from monai_dental.inference.denoiser import Denoiser

    denoiser = Denoiser(bundle, device=arguments.device, backend=arguments.backend)
    target = FolderTarget(arguments.output)
    failed = 0
    with (
        output_folder(arguments.output, overwrite=arguments.overwrite),
        progress_bar("denoising", len(source)) as progress,
    ):
        for outcome in denoise_instances(source, denoiser, target, arguments.strength):
            progress.update()
            if outcome.reason is not None:
                failed += 1
                line = printable(f"failed: {outcome.path}: {outcome.reason}")
                progress.write(line, file=sys.stdout)
    print(printable(f"{len(source) - failed} denoised, {failed} failed: {arguments.output}"))
    return 1 if failed else 0
