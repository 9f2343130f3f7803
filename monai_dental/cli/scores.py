"""The command `scores`."""

from __future__ import annotations

import argparse

from monai_dental.cli.arguments import Subparsers, path


def add(commands: Subparsers) -> None:
    """Add the command."""
    command = commands.add_parser(
        "scores",
        help="put the scores of evaluations into one table",
        description="Print the scores of evaluations of bundles as a table: mean and standard "
        "deviation of PSNR and SSIM over the images. Where not all evaluations scored the same "
        "images, each set of images has a table of its own.",
    )
    command.set_defaults(command=scores)
    command.add_argument(
        "folders", metavar="DIR", type=path, nargs="+", help="output folder of an evaluation"
    )
    command.add_argument(
        "--output", metavar="FILE", type=path, help="CSV file for the score of each image"
    )


def scores(arguments: argparse.Namespace) -> int:
    """Put the scores of evaluations together."""
    from monai_dental.benchmark.scores import format_scores, read_scores, write_scores

    if arguments.output is not None:
        write_scores(read_scores(arguments.folders), arguments.output)
    print(format_scores(arguments.folders))
    return 0
