"""The command `scores`."""

from __future__ import annotations

import argparse

from monai_dental.cli.arguments import Subparsers, path
from monai_dental.errors import DatasetError


def add(commands: Subparsers) -> None:
    """Add the command."""
    command = commands.add_parser(
        "scores",
        help="put the scores of evaluations into one table",
        description="Print the scores of evaluations of bundles as a table: mean and standard "
        "deviation of PSNR and SSIM over the images. If the evaluations did not all score the same "
        "images, each set of images gets its own table. --reference compares the other methods "
        "with one: paired differences, their 95% confidence intervals from a bootstrap over "
        "patients, and a paired test, corrected for the number of methods (Holm). --originals "
        "needs no clean images and no evaluations: it scores folders of results by the noise left "
        "in flat parts and by the correlation of the residual.",
    )
    command.set_defaults(command=scores)
    command.add_argument(
        "folders", metavar="DIR", type=path, nargs="+",
        help="output folder of an evaluation; with --originals, a folder of denoised images",
    )  # fmt: skip
    command.add_argument(
        "--output", metavar="FILE", type=path, help="CSV file for the score of each image"
    )
    command.add_argument(
        "--originals", metavar="DIR", type=path,
        help="folder of the images before denoising, with the same names",
    )  # fmt: skip
    command.add_argument(
        "--reference", metavar="METHOD",
        help="compare the other methods with this one, as the column `method` of scores.csv names "
        "it: dae, median, noisy, …",
    )  # fmt: skip
    command.add_argument(
        "--patients", metavar="LIST", type=path,
        help="CSV or JSON file of images and their patients, as for --datalist in a training "
        "(default: the DICOM Patient ID, or each image by itself if it has none)",
    )  # fmt: skip
    command.add_argument(
        "--statistics", metavar="FILE", type=path,
        help="file for the comparison, .csv or .tex (LaTeX, booktabs)",
    )  # fmt: skip


def scores(arguments: argparse.Namespace) -> int:
    """Put the scores of evaluations into one table."""
    from monai_dental.benchmark.scores import format_scores, read_scores, write_scores

    if arguments.originals is not None:
        return _score_without_reference(arguments)
    if arguments.reference is None and (arguments.patients or arguments.statistics):
        raise DatasetError("--patients and --statistics: work only with --reference METHOD; add it")
    if arguments.output is not None:
        write_scores(read_scores(arguments.folders), arguments.output)
    print(format_scores(arguments.folders))
    if arguments.reference is not None:
        _compare(arguments)
    return 0


def _score_without_reference(arguments: argparse.Namespace) -> int:
    from monai_dental.benchmark.scores import write_scores
    from monai_dental.benchmark.without_reference import (
        BlindScore,
        format_blind,
        score_without_reference,
    )

    if arguments.reference is not None or arguments.patients or arguments.statistics:
        raise DatasetError(
            "--originals: cannot be combined with --reference, --patients or --statistics"
        )
    found = score_without_reference(arguments.originals, arguments.folders)
    if arguments.output is not None:
        write_scores(found, arguments.output, BlindScore)
    print(format_blind(found))
    return 0


def _compare(arguments: argparse.Namespace) -> None:
    from monai_dental.benchmark.paired import (
        compare_methods,
        format_differences,
        write_differences,
    )
    from monai_dental.benchmark.scores import read_scores
    from monai_dental.training.lists import patients_of

    read = read_scores(arguments.folders)
    images = list(dict.fromkeys(score.image for score in read))
    patients = None if arguments.patients is None else patients_of(arguments.patients, images)
    differences = compare_methods(read, arguments.reference, patients)
    print(f"\n{format_differences(differences)}")
    if arguments.statistics is not None:
        write_differences(differences, arguments.statistics)
