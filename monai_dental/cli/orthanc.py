"""The command `orthanc`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from monai_dental.bundle.find import find_bundle
from monai_dental.cli.arguments import Subparsers, path, positive, require_posix
from monai_dental.cli.batch_work import add_work, local_limits, make_job
from monai_dental.process.terminal import printable

if TYPE_CHECKING:
    from pathlib import Path

    from monai_dental.pacs.orthanc.rest import OrthancAddress
    from monai_dental.pacs.parcel import InstanceKey


def add(commands: Subparsers) -> None:
    """Add the command."""
    command = commands.add_parser(
        "orthanc",
        help="denoise each study in an Orthanc server once it is complete",
        description="Follow an Orthanc server through its REST API: denoise each study that "
        "becomes stable from now on, as batch does, and store the results in the same Orthanc. "
        "Ctrl-C or SIGTERM stops it; run the same command again to continue. A login is read from "
        "~/.netrc, a token from the environment variable MONAI_DENTAL_TOKEN.",
    )
    command.set_defaults(command=orthanc)
    command.add_argument("url", metavar="URL", type=_url, help="for example http://127.0.0.1:8042")
    command.add_argument(
        "--work", metavar="DIR", type=path, required=True,
        help="folder for the manifests, one for each study: new, or from an earlier run",
    )  # fmt: skip
    command.add_argument(
        "--spool-limit", metavar="MIB", type=positive, default=4096,
        help="disk space for instances that are still to be processed, in MiB (default: 4096)",
    )  # fmt: skip
    add_work(command)


def orthanc(arguments: argparse.Namespace) -> int:
    """Follow an Orthanc until interrupted."""
    require_posix("orthanc")
    bundle = find_bundle(arguments.bundle)  # before imports that take long

    from monai_dental.batch.batch import Batch
    from monai_dental.batch.record.status import format_counts
    from monai_dental.pacs.extra import require
    from monai_dental.pacs.orthanc.follow import Follower
    from monai_dental.pacs.orthanc.study import OrthancStudy, OrthancTarget
    from monai_dental.pacs.quiet import quiet_libraries
    from monai_dental.pacs.source import PacsSource

    require("requests")
    quiet_libraries()

    def denoise(found: dict[InstanceKey, str], work: Path) -> None:
        study = OrthancStudy(arguments.url, found)
        source = PacsSource(study, arguments.spool_limit << 20)
        target = OrthancTarget(arguments.url)
        workers, limits = local_limits(arguments, len(source))
        job = make_job(arguments, bundle, target)
        whole = Batch(source, target, job, work, workers=workers, limits=limits)
        with whole.open() as manifest:
            for row in whole.run(manifest):
                if row.outcome == "failed":
                    print(printable(f"failed: {row.name}: {row.reason}"))
            print(printable(f"study {work.name}: {format_counts(manifest.counts())}"), flush=True)

    Follower(arguments.url, arguments.work, denoise, _tell).run()
    return 0


def _tell(text: str) -> None:
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()


def _url(text: str) -> OrthancAddress:
    from monai_dental.errors import AddressError
    from monai_dental.pacs.orthanc.rest import parse_url

    try:
        return parse_url(text)
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
