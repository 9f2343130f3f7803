"""The command `monai-dental`."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import monai_dental
from monai_dental.cli_batch import add_batch_commands
from monai_dental.errors import MonaiDentalError
from monai_dental.terminal import printable as _printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NoReturn, TextIO

    from tqdm import tqdm

# torch and MONAI take seconds to import: each command imports what it needs.


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments; default those of the process.

    Returns:
        0 = all done, 1 = some instances failed, 2 = wrong usage or configuration,
        130 = interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may be of any alphabet
    arguments = _make_parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    with warnings.catch_warnings(), _terminable():
        warnings.showwarning = _show_warning
        try:
            code = command(arguments)
            sys.stdout.flush()
        except MonaiDentalError as error:
            sys.stderr.write(f"error: {_printable(str(error))}\n")
            return 2
        except KeyboardInterrupt:
            sys.stderr.write("interrupted; what is written is complete\n")
            return 130
        except BrokenPipeError:  # `monai-dental … | head`: the reader has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        return code


def denoise(arguments: argparse.Namespace) -> int:
    """Denoise files and folders."""
    from monai_dental.batch.folder import FolderSource, FolderTarget
    from monai_dental.bundles import find_bundle
    from monai_dental.outputs import prepare_output_folder

    bundle = find_bundle(arguments.bundle)
    source = FolderSource(arguments.inputs, excluded=arguments.output)

    from monai_dental.batch.run import denoise_instances
    from monai_dental.denoiser import Denoiser

    denoiser = Denoiser(bundle, device=arguments.device)
    prepare_output_folder(arguments.output, overwrite=arguments.overwrite)
    target = FolderTarget(arguments.output)
    failed = 0
    with _progress("denoising", len(source)) as progress:
        for outcome in denoise_instances(source, denoiser, target, arguments.strength):
            progress.update()
            if outcome.reason is not None:
                failed += 1
                line = _printable(f"failed: {outcome.path}: {outcome.reason}")
                progress.write(line, file=sys.stdout)
    print(_printable(f"{len(source) - failed} denoised, {failed} failed: {arguments.output}"))
    return 1 if failed else 0


def adapt(arguments: argparse.Namespace) -> int:
    """Fine-tune a bundle on one's own noisy images."""
    from monai_dental.bundles import find_bundle

    bundle = find_bundle(arguments.bundle)

    from monai_dental.adapt import adapt, check_adaptable, readable_images

    check_adaptable(bundle, arguments.output)
    images, reasons = readable_images(arguments.images)
    for reason in reasons:
        print(_printable(f"left out: {reason}"))
    with _progress("adapting", 0, unit="epoch") as progress:
        result = adapt(
            bundle,
            images,
            arguments.output,
            max_epochs=arguments.epochs,
            progress=lambda epoch, epochs: _advance(progress, epoch, epochs),
        )
    print(
        f"validation loss {result.loss_before:.6f} before, {result.loss_after:.6f} after; most of "
        "it is noise that no denoiser can foretell"
    )
    if result.loss_after == result.loss_before:
        print("no epoch did better than the bundle's own weights, which are kept")
    print(_printable(f"{result.image_count} images, {len(reasons)} left out: {arguments.output}"))
    return 1 if reasons else 0


def phantom(arguments: argparse.Namespace) -> int:
    """Simulate radiographs."""
    from monai_dental.phantom import write_phantoms

    with _progress("simulating", arguments.count) as progress:
        written = write_phantoms(
            arguments.output,
            count=arguments.count,
            image_format=arguments.format,
            first_index=arguments.first,
            progress=lambda count: _advance(progress, count),
        )
    print(f"{len(written)} radiographs, each clean/ and noisy/ with its truth/: {arguments.output}")
    return 0


def report(arguments: argparse.Namespace) -> int:
    """Write pages that show originals beside their results."""
    from monai_dental.batch.folder import FolderSource
    from monai_dental.errors import DatasetError
    from monai_dental.outputs import prepare_output_folder

    source = FolderSource(arguments.inputs, excluded=arguments.denoised)
    for folder in (arguments.denoised, arguments.reference):
        if folder is not None and not folder.is_dir():
            raise DatasetError(f"{folder}: no such folder")

    from monai_dental.report import sample_evenly, write_report

    instances = sample_evenly(list(source), arguments.sample)
    prepare_output_folder(arguments.output, overwrite=arguments.overwrite)
    failed = without_reference = 0
    entries = write_report(
        instances,
        arguments.denoised,
        arguments.output,
        reference_dir=arguments.reference,
        page_size=arguments.page_size,
        total=len(source),
        hash_paths=arguments.hash_paths,
    )
    with _progress("comparing", len(instances)) as progress:
        for entry in entries:
            progress.update()
            if entry.reason is not None:
                failed += 1
                line = _printable(f"failed: {entry.path}: {entry.reason}")
                progress.write(line, file=sys.stdout)
            elif arguments.reference is not None and entry.lacks_reference:
                without_reference += 1
    page = arguments.output / "index.html"
    if without_reference:
        print(f"{without_reference} without a usable reference; the report says why")
    print(_printable(f"{len(instances) - failed} compared, {failed} failed: {page}"))
    return 1 if failed or without_reference else 0


def scores(arguments: argparse.Namespace) -> int:
    """Put the scores of evaluations together."""
    from monai_dental.benchmark.scores import format_scores, read_scores, write_scores

    if arguments.output is not None:
        write_scores(read_scores(arguments.folders), arguments.output)
    print(format_scores(arguments.folders))
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="monai-dental", description=monai_dental.__doc__)
    parser.add_argument("--version", action="version", version=monai_dental.__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    command = commands.add_parser(
        "denoise",
        help="denoise files and folders",
        description="Denoise JPG, PNG, TIFF, BMP, NIfTI and DICOM files at their own size. Each "
        "result keeps name, format and bit depth; a DICOM result is a derived instance with its "
        "own UIDs. Sources are never changed.",
    )
    command.set_defaults(command=denoise)
    command.add_argument(
        "inputs", metavar="INPUT", type=_path, nargs="+", help="a file or a folder"
    )
    command.add_argument(
        "--output", metavar="DIR", type=_path, required=True, help="folder for the results"
    )
    command.add_argument(
        "--bundle", metavar="NAME|DIR", default="unet",
        help="the bundle: one that comes with the package (unet, dae), or a bundle's folder, whose "
        "configs run as code (default: unet)",
    )  # fmt: skip
    command.add_argument(
        "--strength", metavar="SHARE", type=_share, default=1.0,
        help="share of the correction that is applied, 0 to 1 (default: 1)",
    )  # fmt: skip
    command.add_argument("--device", help="cpu, cuda:0, … (default: a GPU where there is one)")
    command.add_argument(
        "--overwrite", action="store_true", help="write into a folder that is not empty"
    )

    add_batch_commands(commands, _path, _share)

    command = commands.add_parser(
        "adapt",
        help="fine-tune a bundle on your own noisy images",
        description="Fine-tune a bundle on radiographs of your own machine, as they are: no clean "
        "images are needed. The result is a bundle of its own, for denoise --bundle ./MY_BUNDLE. "
        "The images should come from one machine; 20 or more are better than few.",
    )
    command.set_defaults(command=adapt)
    command.add_argument("images", metavar="DIR", type=_path, help="folder of noisy images")
    command.add_argument(
        "--bundle", metavar="NAME|DIR", default="unet",
        help="the bundle to start from: one that comes with the package, or a bundle's folder, "
        "whose configs run as code (default: unet)",
    )  # fmt: skip
    command.add_argument(
        "--output", metavar="DIR", type=_path, required=True,
        help="folder for the new bundle, empty or new",
    )  # fmt: skip
    command.add_argument(
        "--epochs", metavar="N", type=_positive, help="default: what the bundle says"
    )

    command = commands.add_parser(
        "phantom",
        help="simulate dental radiographs with a known truth",
        description="Simulate periapical and bitewing radiographs of 512 x 512 pixels: clean and "
        "noisy images, and the truth. The same index gives the same image, always.",
    )
    command.set_defaults(command=phantom)
    command.add_argument(
        "--output", metavar="DIR", type=_path, required=True, help="folder, empty or new"
    )
    command.add_argument(
        "--count", metavar="N", type=_positive, default=120, help="how many (default: 120)"
    )
    command.add_argument(
        "--first", metavar="N", type=_positive, default=1, help="first index (default: 1)"
    )
    command.add_argument("--format", choices=("png", "dicom"), default="png", help="default: png")

    command = commands.add_parser(
        "report",
        help="show originals beside their results, as web pages",
        description="Write self-contained HTML pages with originals beside what denoise made of "
        "them: slider, residual, noise map, profiles, histograms and figures. The pages hold the "
        "images themselves: keep them where the images may be.",
    )
    command.set_defaults(command=report)
    command.add_argument(
        "inputs", metavar="INPUT", type=_path, nargs="+", help="an original, or a folder of them"
    )
    command.add_argument(
        "denoised",
        metavar="DENOISED",
        type=_path,
        help="folder of the results, as denoise wrote it",
    )
    command.add_argument(
        "--output", metavar="DIR", type=_path, required=True, help="folder for the pages"
    )
    command.add_argument(
        "--reference", metavar="DIR", type=_path,
        help="folder of clean images of the same names, for PSNR and SSIM",
    )  # fmt: skip
    command.add_argument(
        "--page-size", metavar="N", type=_positive, default=10, help="images a page (default: 10)"
    )
    command.add_argument(
        "--sample", metavar="N", type=_positive,
        help="so many images, evenly spread over all (default: all)",
    )  # fmt: skip
    command.add_argument(
        "--hash-paths",
        action="store_true",
        help="show a digest (SHA-256) of each name in its stead; who knows a name finds its digest",
    )
    command.add_argument(
        "--overwrite", action="store_true", help="write into a folder that is not empty"
    )

    command = commands.add_parser(
        "scores",
        help="put the scores of evaluations into one table",
        description="Print the scores of evaluations of a bundle as a table: mean and standard "
        "deviation of PSNR and SSIM over the images.",
    )
    command.set_defaults(command=scores)
    command.add_argument(
        "folders", metavar="DIR", type=_path, nargs="+", help="output folder of an evaluation"
    )
    command.add_argument(
        "--output", metavar="FILE", type=_path, help="CSV file for the score of each image"
    )
    return parser


def _path(text: str) -> Path:
    if not text:  # Path("") is the current folder: not what an unset variable meant
        raise argparse.ArgumentTypeError("an empty name; need a file or a folder")
    return Path(text)


def _share(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM, which service managers send, end a command as Ctrl-C does: with nothing half."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _progress(title: str, total: int, unit: str = "image") -> tqdm[NoReturn]:
    from tqdm import tqdm

    return tqdm(desc=title, total=total, unit=unit, disable=None)


def _advance(progress: tqdm[NoReturn], count: int, total: int | None = None) -> None:
    progress.total = total or progress.total
    progress.update(count - progress.n)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    sys.stderr.write(f"warning: {message}\n")
