"""The command `mercure`: entry point of a processing module for the DICOM router mercure."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from monai_dental.bundle.find import find_bundle
from monai_dental.cli.arguments import Subparsers, path, require_posix
from monai_dental.cli.batch_work import add_work, local_limits, make_job
from monai_dental.process.terminal import printable

_IN, _OUT = "MERCURE_IN_DIR", "MERCURE_OUT_DIR"
_TASK = "task.json"
_MAX_TASK_BYTES = 1 << 20


def add(commands: Subparsers) -> None:
    """Add the command."""
    command = commands.add_parser(
        "mercure",
        help="denoise the files that the DICOM router mercure hands over",
        description="Denoise the dental radiographs in one folder into another, as batch does, and "
        "name the results as mercure names files. The module's settings in task.json are options "
        "of batch: bundle, strength, device, backend, workers, compress, all-xray, rules, "
        "time-limit, memory-limit. If a file failed, the exit status is 1, and mercure moves the "
        "job to its error folder.",
    )
    command.set_defaults(command=mercure)
    for name, variable in (("IN_DIR", _IN), ("OUT_DIR", _OUT)):
        command.add_argument(
            name.lower(), metavar=name, nargs="?", type=path, default=os.environ.get(variable),
            help=f"default: the environment variable {variable}, which mercure sets",
        )  # fmt: skip


def mercure(arguments: argparse.Namespace) -> int:
    """Denoise one job of mercure."""
    require_posix("mercure")
    from monai_dental.errors import DatasetError, OutputError

    for name, variable in (("in_dir", _IN), ("out_dir", _OUT)):
        if not getattr(arguments, name):
            raise DatasetError(f"{variable} is not set; need it, or IN_DIR and OUT_DIR")
    source, output = Path(arguments.in_dir), Path(arguments.out_dir)
    settings = _read_settings(source / _TASK)
    if not output.is_dir():
        raise OutputError(f"{output}: no such folder; mercure makes it")
    try:
        # Inside the output folder, so that results can be renamed into place.
        with tempfile.TemporaryDirectory(dir=output, prefix=".monai-dental-") as work:
            return _denoise(source, Path(work), output, settings)
    except OSError as error:
        raise OutputError(f"{output}: cannot be written: {error.strerror}") from error


def _denoise(source: Path, work: Path, output: Path, settings: argparse.Namespace) -> int:
    bundle = find_bundle(settings.bundle)  # before imports that take long

    from monai_dental.batch.batch import Batch
    from monai_dental.batch.input_folder import InventorySource
    from monai_dental.batch.output_folder import StudyTree
    from monai_dental.batch.record.status import format_counts

    inventory = InventorySource(source, excluded=work, patterns=(_TASK,))
    tree = StudyTree(work)
    workers, limits = local_limits(settings, len(inventory))
    job = make_job(settings, bundle, tree)
    whole = Batch(inventory, tree, job, work, workers=workers, limits=limits)
    with whole.open() as manifest:
        for row in whole.run(manifest):
            if row.reason:
                print(printable(f"{row.outcome}: {row.name}: {row.reason}"))
        counts = manifest.counts()
    for location in tree.locations():
        _, series, instance = location.split("/")
        (work / location).replace(output / f"{series}#{instance}")
    print(format_counts(counts))
    return 1 if counts["failed"] or counts["left"] else 0


def _read_settings(path: Path) -> argparse.Namespace:
    """Read the module's settings, which mercure merges from the module's page and the rule's.

    Raises:
        DatasetError: They cannot be read.
    """
    from monai_dental.errors import DatasetError

    try:
        with path.open("rb") as stream:
            task = json.loads(stream.read(_MAX_TASK_BYTES))
    except FileNotFoundError:
        task = {}
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read as JSON: {type(error).__name__}") from error
    process = task.get("process") if isinstance(task, dict) else None
    settings = process.get("settings") if isinstance(process, dict) else None
    parser = argparse.ArgumentParser(f"{path}: settings", add_help=False, allow_abbrev=False)
    add_work(parser)
    return parser.parse_args(list(_options(settings or {}, path)))


def _options(settings: Any, path: Path) -> list[str]:
    from monai_dental.errors import DatasetError

    if not isinstance(settings, dict):
        raise DatasetError(
            f'{path}: settings are not an object; need, for example, {{"strength": 0.8}}'
        )
    found: list[str] = []
    for name, value in settings.items():
        if value is True:
            found.append(f"--{name}")
        elif value is not False and value is not None:
            found.append(f"--{name}={value}")
    return found
