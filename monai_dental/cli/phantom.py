"""The command `phantom`."""

from __future__ import annotations

import argparse

from monai_dental.cli.arguments import Subparsers, path, positive
from monai_dental.cli.progress import advance, progress_bar


def add(commands: Subparsers) -> None:
    """Add the command."""
    command = commands.add_parser(
        "phantom",
        help="simulate dental radiographs with known ground truth",
        description="Simulate periapical and bitewing radiographs of 512 x 512 pixels: clean and "
        "noisy images, and the ground truth. The same index always gives the same image.",
    )
    command.set_defaults(command=phantom)
    command.add_argument(
        "--output", metavar="DIR", type=path, required=True, help="folder, empty or new"
    )
    command.add_argument(
        "--count", metavar="N", type=positive, default=120, help="number of images (default: 120)"
    )
    command.add_argument(
        "--first", metavar="N", type=positive, default=1, help="first index (default: 1)"
    )
    command.add_argument(
        "--format", choices=("png", "dicom"), default="png", help="file format (default: png)"
    )


def phantom(arguments: argparse.Namespace) -> int:
    """Simulate radiographs."""
    from monai_dental.phantom import write_phantoms

    with progress_bar("simulating", arguments.count) as progress:
        written = write_phantoms(
            arguments.output,
            count=arguments.count,
            image_format=arguments.format,
            first_index=arguments.first,
            progress=lambda count: advance(progress, count),
        )
    print(f"{len(written)} radiographs, each clean/ and noisy/ with its truth/: {arguments.output}")
    return 0
