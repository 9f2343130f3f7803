"""The commands `node`, `node-status` and `node-redo`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, get_args

from monai_dental.bundle.find import find_bundle
from monai_dental.cli.arguments import Subparsers, path, require_posix
from monai_dental.errors import MissingPackageError
from monai_dental.process.terminal import printable

if TYPE_CHECKING:
    from monai_dental.batch.dicom import DicomJob
    from monai_dental.batch.workers.local import Limits
    from monai_dental.node.settings import NodeSettings
    from monai_dental.pacs.dicomweb.target import DicomwebTarget
    from monai_dental.pacs.dimse.commitment import Commitments
    from monai_dental.pacs.dimse.target import DimseTarget

_PROOFS = {
    "commitment": "storage commitment",
    "copy": "the same pixels, returned by the archive",
    "listed": "a query that found it",
    "status": "the status Success alone",
    "": "a proof that an older version did not record",
}
_PACKAGES = (
    "pynetdicom", "requests", "pydantic_settings", "prometheus_client", "tenacity",
    "python_multipart",
)  # fmt: skip


def add(commands: Subparsers) -> None:
    """Add the three commands."""
    command = commands.add_parser(
        "node",
        help="receive radiographs by DICOM, denoise them, forward the results",
        description="Listen as a DICOM Storage SCP, denoise the dental radiographs that arrive, as "
        "batch does, forward the results, and check that they arrived. Each instance is on the "
        "disk before it is answered with Success: if the node is killed, start it again to "
        "continue. Ctrl-C or SIGTERM stops it. Each option is also a key of the TOML file, without "
        "the leading dashes.",
    )
    command.set_defaults(command=node)
    command.add_argument(
        "--config", metavar="FILE", type=path, help="settings as TOML; options override them"
    )
    command.add_argument(
        "--check-config",
        action="store_true",
        help="check everything that the node needs, without receiving or forwarding, then end",
    )
    command.add_argument(
        "--retry-failed", action="store_true", help="retry instances that failed before"
    )
    _add_settings_when_parsed(command)

    command = commands.add_parser(
        "node-status",
        help="show the state of a node",
        description="Read the queue of a node, which may be running, and show what was skipped, "
        "what failed, what could not be forwarded yet, and why. Exit status 0 if nothing failed "
        "and nothing waits, else 1.",
    )
    command.set_defaults(command=node_status)
    command.add_argument("spool", metavar="DIR", type=path, help="spool folder of the node")

    command = commands.add_parser(
        "node-redo",
        help="have a node process instances again",
        description="Have a node, which may be running, process instances again. Instances that "
        "failed and are still in the spool are processed at once; those that were forwarded or "
        "skipped, when their sender sends them again. If several options are given, an instance "
        "must match all of them. Exit status 0 if an instance matches, else 1.",
    )
    command.set_defaults(command=node_redo)
    command.add_argument("spool", metavar="DIR", type=path, help="spool folder of the node")
    command.add_argument(
        "--instance",
        metavar="UID",
        help="SOP Instance UID, of the original or of the derived instance",
    )
    command.add_argument("--study", metavar="UID", help="Study Instance UID of forwarded instances")
    command.add_argument(
        "--since", metavar="TIME", type=_time,
        help="instances processed since this time: 2026-01-31, or 2026-01-31T08:00",
    )  # fmt: skip


def node(arguments: argparse.Namespace) -> int:
    """Receive, denoise and forward until a signal arrives."""
    require_posix("node")
    from monai_dental.node.settings import NodeSettings, make_settings

    given = {
        name: value for name, value in vars(arguments).items() if name in NodeSettings.model_fields
    }
    settings = make_settings(given, arguments.config)
    job, limits, workers = _make_job(settings)
    targets, commitments = _make_targets(settings)
    from monai_dental.errors import PacsError
    from monai_dental.node.check import check_forward
    from monai_dental.node.node import Node

    made = Node(
        settings,
        job,
        limits,
        workers=workers,
        targets=targets,
        commitments=commitments,
        is_failed_left=arguments.retry_failed,
    )
    if arguments.check_config:
        for target in targets.values():
            check_forward(target.address, settings)
        made.check()
        print("the settings are good")
        for target in targets.values():
            try:
                target.prepare()
            except PacsError as error:  # not a failure: a node waits until the archive is back
                print(printable(f"the archive does not answer; the node would wait: {error}"))
            finally:
                target.close()
        return 0
    with _closed_process(), _log_on_stderr(), _stops() as stops:
        made.run(stops, lambda words: print(words, flush=True))
    return 0


def node_status(arguments: argparse.Namespace) -> int:
    """Show the state of a node."""
    from monai_dental.batch.record.status import group_reasons
    from monai_dental.node.queue import DERIVED, FAILED, RECEIVED, SKIPPED, Queue

    with closing(Queue(arguments.spool)) as queue:
        for reason, count in group_reasons(job.reason for job in queue.instances(SKIPPED)):
            print(printable(f"skipped {count}: {reason}"))
        for job in queue.instances(FAILED):
            print(printable(f"failed: instance {job.uid or job.key}: {job.reason}"))
        arrivals = queue.arrivals()
        has_several = len({destination for destination, *_ in arrivals}) > 1
        for destination, is_original, proof, count in arrivals:
            what = f"{count} originals" if is_original else str(count)
            where = f" to {destination}" if has_several else ""
            said = f"forwarded {what}{where}: proven by {_PROOFS.get(proof, proof)}"
            print(printable(said))
        for job in queue.instances(DERIVED):
            if job.reason:
                print(printable(f"waits: instance {job.output_uid or job.key}: {job.reason}"))
        counts = queue.counts()
    print(", ".join(f"{count} {state}" for state, count in counts.items()))
    return 1 if counts[FAILED] or counts[RECEIVED] or counts[DERIVED] else 0


def node_redo(arguments: argparse.Namespace) -> int:
    """Have a node process instances again."""
    from monai_dental.errors import DatasetError
    from monai_dental.node.queue import Queue

    wanted = (arguments.instance, arguments.study, arguments.since)
    if wanted == (None, None, None):
        raise DatasetError("node-redo: need --instance, --study or --since")
    Queue(arguments.spool).close()  # refuses a folder that is not a spool
    with closing(Queue(arguments.spool, is_writable=True)) as queue:
        at_once, when_sent = queue.redo(*wanted)
    print(f"{at_once} to be processed again now, {when_sent} when they are sent again")
    return 0 if at_once or when_sent else 1


def _time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; need 2026-01-31 or 2026-01-31T08:00"
        ) from None


def _add_settings_when_parsed(command: argparse.ArgumentParser) -> None:
    """Add an option for each setting, but only when the options are parsed: pydantic loads slowly.

    Without the extra `pacs`, which installs it, parsing ends with an error that names the extra.
    """
    parse = command.parse_known_args
    is_added = False

    def add_and_parse(*arguments: Any, **options: Any) -> Any:
        nonlocal is_added
        if not is_added:
            from monai_dental.pacs.extra import require

            try:
                for package in _PACKAGES:
                    require(package)
            except MissingPackageError as error:
                command.error(str(error))
            _add_settings(command)
            is_added = True
        return parse(*arguments, **options)

    command.parse_known_args = add_and_parse  # type: ignore[method-assign]


def _add_settings(command: argparse.ArgumentParser) -> None:
    from monai_dental.node.settings import NodeSettings
    from monai_dental.node.settings_pages import default_of, extra_of
    from monai_dental.node.settings_words import option_of

    # No defaults here: only options that are given override the file.
    for name, field in NodeSettings.model_fields.items():
        if extra_of(field, "is_option") is False:
            continue
        option = f"--{option_of(name)}"
        kind = str(field.annotation)
        default = default_of(field)
        text = f"{field.description} ({f'default: {default}' if default else 'required'})"
        text = text.replace("%", "%%")
        if "bool" in kind:
            command.add_argument(option, action="store_true", default=argparse.SUPPRESS, help=text)
        elif "Literal" in kind:
            command.add_argument(
                option, choices=get_args(field.annotation),
                default=argparse.SUPPRESS, help=text,
            )  # fmt: skip
        else:
            metavar, convert = next(each for key, each in _KINDS.items() if key in kind)
            command.add_argument(
                option, metavar=extra_of(field, "metavar") or metavar, type=convert,
                default=argparse.SUPPRESS, help=text,
            )  # fmt: skip


def _titles(text: str) -> tuple[str, ...]:
    return tuple(title.strip() for title in text.split(","))


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


_KINDS: dict[str, tuple[str, Any]] = {
    "tuple": ("AE,AE", _titles),
    "Path": ("PATH", path),
    "int": ("N", _number),
    "float": ("N", _real),
    "str": ("NAME", str),
}
"""Metavar and converter of options, by a word in the type of the setting."""


def _make_job(settings: NodeSettings) -> tuple[DicomJob, Limits, int]:
    from monai_dental.cli.batch_work import local_limits, make_job

    bundle = find_bundle(settings.bundle)  # before imports that take long

    from monai_dental.node.spool import DerivedFolder
    from monai_dental.process.machine import usable_cores

    job = make_job(settings, bundle, DerivedFolder(settings.spool))
    workers, limits = local_limits(settings, usable_cores())
    return job, limits, workers


def _make_targets(
    settings: NodeSettings,
) -> tuple[dict[str, DimseTarget | DicomwebTarget], dict[str, Commitments]]:
    """Make the target of each destination, and the storage commitments by AE title."""
    commitments: dict[str, Commitments] = {}
    targets = {each: _make_target(each, settings, commitments) for each in settings.destinations}
    return targets, commitments


def _make_target(
    text: str, settings: NodeSettings, commitments: dict[str, Commitments]
) -> DimseTarget | DicomwebTarget:
    from monai_dental.errors import AddressError
    from monai_dental.node.log import say
    from monai_dental.node.spool import DerivedFolder
    from monai_dental.pacs.address import DimseAddress, is_pacs, parse_address, with_tls
    from monai_dental.pacs.dicomweb.target import DicomwebTarget
    from monai_dental.pacs.dimse.commitment import Commitments
    from monai_dental.pacs.dimse.target import DimseTarget
    from monai_dental.pacs.parcel import COMMITMENT
    from monai_dental.pacs.retry import Patience

    address = with_tls(parse_address(text if is_pacs(text) else f"dimse://{text}"), settings.tls)
    if address.query:
        raise AddressError(
            f"{address}: has a query; need an address to forward to, without a query"
        )
    spool = DerivedFolder(settings.spool)
    patience = Patience(attempts=3, longest_pause_s=2.0)  # the node itself retries after that
    if isinstance(address, DimseAddress):
        title = address.called_ae_title
        if title not in commitments:
            commitments[title] = Commitments(title, say=partial(say, logging.INFO))
        return DimseTarget(
            address, settings.ae_title, patience, commitments[title],
            scratch=spool.scratch, proof=settings.proof,
        )  # fmt: skip
    if settings.proof == COMMITMENT:
        raise AddressError(f"{address}: DICOMweb has no storage commitment; need another proof")
    return DicomwebTarget(address, patience, scratch=spool.scratch, proof=settings.proof)


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("monai_dental.node")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def _closed_process() -> Iterator[None]:
    """Keep patient data private: hide warnings and tracebacks, and let only the user read files."""
    from monai_dental.pacs.quiet import quiet_libraries

    quiet_libraries()
    warnings.simplefilter("ignore")
    umask, hook = os.umask(0o077), threading.excepthook
    threading.excepthook = _say_kind
    try:
        yield
    finally:
        threading.excepthook = hook
        os.umask(umask)


def _say_kind(arguments: threading.ExceptHookArgs) -> None:
    """Log the kind and place, but not the text, of an error that ended a thread.

    For `threading.excepthook`.
    """
    from monai_dental.errors import unexpected
    from monai_dental.node.log import say

    if arguments.exc_value is not None:
        say(logging.ERROR, f"a thread ended: {unexpected(arguments.exc_value)}")


@contextmanager
def _stops() -> Iterator[SimpleQueue[int]]:
    """Yield a queue that receives SIGTERM and SIGINT instead of an interrupt at any moment."""
    stops: SimpleQueue[int] = SimpleQueue()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda received, _: stops.put(received)) for number in numbers]
    try:
        yield stops
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
