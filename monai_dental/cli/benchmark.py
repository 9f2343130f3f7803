"""The command `benchmark`."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from monai_dental.bundle.find import DEFAULT_BUNDLE, shipped_bundles
from monai_dental.cli.arguments import Subparsers, path, positive
from monai_dental.cli.progress import advance, progress_bar
from monai_dental.errors import extra_needed

if TYPE_CHECKING:
    from monai_dental.benchmark.programs import Program

_REFERENCES, _COUNT = "images", 20


def add(commands: Subparsers) -> None:
    """Add the command."""
    command = commands.add_parser(
        "benchmark",
        help="compare bundles with tuned filters, or measure their speed",
        description="Add twelve kinds of noise to a folder of clean images, and score bundles and "
        "filters by PSNR and SSIM (data range 1), noise left in flat parts, texture kept and "
        "sharpness of faint edges. The last 20 images are scored; four others tune the filters. "
        "After an interruption, run the same command again to continue. --speed needs no images: "
        "it measures rate, processor time and memory on one simulated panoramic radiograph, one "
        "method after the other, bundles with each installed backend. Both need the filters' "
        f"packages: {extra_needed('benchmark')}.",
    )
    command.set_defaults(command=benchmark)
    command.add_argument(
        "images", metavar="DIR", type=path, nargs="?", help="folder of clean images"
    )
    command.add_argument(
        "--output", metavar="DIR", type=path, help="folder for the scores and the report"
    )
    command.add_argument(
        "--references", metavar="SET", default=_REFERENCES,
        help="which images to score: images, those in DIR as published; half, the same at half "
        "their size; clean, those in DIR, which have no noise of their own, such as photographs "
        "made smaller; phantoms, simulated images, without a DIR (default: images). All but the "
        "first get weak noise too",
    )  # fmt: skip
    command.add_argument(
        "--bundle", metavar="NAME|DIR", action="append", dest="bundles",
        help=f"a bundle to compare; may be given several times (default: {DEFAULT_BUNDLE}; with "
        "--speed, all that come with the package)",
    )  # fmt: skip
    command.add_argument(
        "--without", metavar="FILTER", action="append", default=[],
        help="a filter to leave out, for example bm3d; may be given several times",
    )  # fmt: skip
    command.add_argument(
        "--program", metavar="NAME=COMMAND", action="append", default=[],
        help="a denoiser in another environment to compare with; may be given several times "
        "(docs/benchmark.md says what it reads and writes)",
    )  # fmt: skip
    command.add_argument(
        "--count", metavar="N", type=positive, default=_COUNT,
        help=f"images to score, evenly spaced over the last 20 (default: {_COUNT}); with fewer, "
        "slow methods such as BM3D take hours less",
    )  # fmt: skip
    command.add_argument(
        "--seed", metavar="N", type=int, default=0, help="seed of the noise (default: 0)"
    )
    command.add_argument(
        "--jobs", metavar="N", type=positive, default=2,
        help="processes, or threads for --speed (default: 2)",
    )  # fmt: skip
    command.add_argument("--speed", action="store_true", help="measure speed instead")


def benchmark(arguments: argparse.Namespace) -> int:
    """Compare bundles with filters, or measure their speed."""
    from monai_dental.errors import DatasetError

    if arguments.speed:
        scoring = arguments.images, arguments.output, arguments.program, arguments.seed
        if any(scoring) or (arguments.references, arguments.count) != (_REFERENCES, _COUNT):
            raise DatasetError("--speed takes --bundle, --without and --jobs alone, and no images")
        return _speed(arguments.bundles or shipped_bundles(), arguments.without, arguments.jobs)

    from monai_dental.benchmark.references import REFERENCES, noises_for, prepare_references

    if arguments.references not in REFERENCES:
        raise DatasetError(
            f"--references {arguments.references}: no such set; need {', '.join(REFERENCES)}"
        )
    is_simulated = arguments.references == "phantoms"
    if (arguments.images is None) != is_simulated or arguments.output is None:
        raise DatasetError(
            "nothing to score: need a folder of clean images and --output, or --references "
            "phantoms and --output alone"
        )

    from monai_dental.batch.folder import FolderSource
    from monai_dental.benchmark.accuracy import PEERS, measure_accuracy, write_examples
    from monai_dental.benchmark.accuracy_differences import (
        compare_accuracy,
        format_accuracy_differences,
    )
    from monai_dental.benchmark.accuracy_table import format_accuracy
    from monai_dental.benchmark.paired import write_differences
    from monai_dental.files.outputs import prepare_output_folder
    from monai_dental.report import write_report
    from monai_dental.training.datalists import patient_of, read_datalist

    paths = []
    if not is_simulated:
        listed = read_datalist(str(arguments.images), excluded=[str(arguments.output)])
        paths = [Path(item["image"]) for item in listed]
    programs = _programs(arguments.program)
    noises = noises_for(arguments.references)
    peers = _left(PEERS, arguments.without)
    bundles = arguments.bundles or [DEFAULT_BUNDLE]
    prepare_output_folder(arguments.output, overwrite=True)
    sources = paths
    paths = prepare_references(arguments.references, paths, arguments.output / "references")
    with progress_bar("scoring", 0, "method") as progress:
        rows = measure_accuracy(
            paths, bundles, arguments.output, noises=noises, peers=peers, programs=programs,
            count=arguments.count, seed=arguments.seed, jobs=arguments.jobs,
            progress=lambda done, total: advance(progress, done, total),
        )  # fmt: skip
    print(format_accuracy(rows))
    count = Counter(path.name for path in paths)
    patients = {
        path.name: patient_of(str(source))
        for source, path in zip(sources or paths, paths, strict=True)
        if count[path.name] == 1
    }
    differences = compare_accuracy(rows, bundles[0], patients)
    print(f"{format_accuracy_differences(differences)}\n")
    write_differences(differences, arguments.output / "differences.csv")
    examples = arguments.output / "examples"
    write_examples(paths, bundles[0], examples, noises=noises, seed=arguments.seed)
    pages = arguments.output / "report"
    prepare_output_folder(pages, overwrite=True)
    noisy = list(FolderSource([examples / "noisy"]))
    for _ in write_report(noisy, examples / "denoised", pages, reference_dir=examples / "clean"):
        pass
    print(f"scores: {arguments.output / 'scores.csv'}; pictures: {pages / 'index.html'}")
    return 0


def _speed(bundles: list[str], without: list[str], threads: int) -> int:
    from monai_dental.benchmark.speed import FILTERS, format_speeds, measure_speed
    from monai_dental.inference.backends import installed_backends

    peers = _left(FILTERS, without)
    speeds = measure_speed(bundles, backends=installed_backends(), peers=peers, threads=threads)
    print(format_speeds(speeds))
    return 0


def _programs(texts: list[str]) -> list[Program]:
    """Return the programs to compare, each tested on a small image before hours of work."""
    from monai_dental.benchmark.peers import PEERS, require_packages
    from monai_dental.benchmark.programs import program_of
    from monai_dental.errors import DatasetError

    try:
        programs = [program_of(text) for text in texts]
    except ValueError as error:
        raise DatasetError(f"--program {error}") from error
    for program in programs:
        if program.name in PEERS:
            raise DatasetError(f"--program {program.name}: a filter has this name; need another")
    require_packages(program.peer for program in programs)
    return programs


def _left(filters: Collection[str], without: list[str]) -> list[str]:
    """Return the filters to compare, after checking that their packages are installed."""
    from monai_dental.benchmark.peers import PEERS, require_packages
    from monai_dental.errors import DatasetError

    for name in without:
        if name not in filters:
            raise DatasetError(f"--without {name}: no such filter; need {', '.join(filters)}")
    left = [name for name in filters if name not in without]
    require_packages(PEERS[name] for name in left if name in PEERS)
    return left
