"""The commands `node`, `node-status` and `node-redo`."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from monai_dental.cli.arguments import Subparsers, path
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
    "copy": "the same pixels, given back",
    "listed": "a search that shows it",
    "status": "the status Success alone",
    "": "what an older version did not record",
}
_PACKAGES = ("pynetdicom", "requests", "pydantic_settings", "prometheus_client", "tenacity")


def add(commands: Subparsers) -> None:
    """Add the three commands."""
    command = commands.add_parser(
        "node",
        help="receive radiographs from a PACS, denoise them, forward them",
        description="Listen as a DICOM Storage SCP; denoise the dental radiographs among what "
        "comes, as batch does; forward what is derived, and look that it has arrived. What was "
        "answered with Success is on the disk: a node that was killed goes on where it was. Ends "
        "by Ctrl-C or SIGTERM. Each option is a key of the TOML file too, without the dashes "
        "before it.",
    )
    command.set_defaults(command=node)
    command.add_argument(
        "--config", metavar="FILE", type=path, help="settings as TOML; options have precedence"
    )
    command.add_argument(
        "--check-config",
        action="store_true",
        help="try all that the node will do but receive and forward, then end",
    )
    command.add_argument(
        "--retry-failed", action="store_true", help="do instances that failed before again"
    )
    _add_settings_when_parsed(command)

    command = commands.add_parser(
        "node-status",
        help="tell how a node stands",
        description="Tell from the queue of a node, which may be running, what was skipped, what "
        "failed and what could not be forwarded yet, and why. Exit status 0 if nothing failed and "
        "nothing waits, else 1.",
    )
    command.set_defaults(command=node_status)
    command.add_argument("spool", metavar="DIR", type=path, help="spool folder of the node")

    command = commands.add_parser(
        "node-redo",
        help="let a node do instances again",
        description="Let a node, which may be running, do instances again: what failed and is "
        "still in the spool at once; what was forwarded or skipped when its sender sends it again. "
        "All conditions that are given must hold. Exit status 0 if there is such an instance, "
        "else 1.",
    )
    command.set_defaults(command=node_redo)
    command.add_argument("spool", metavar="DIR", type=path, help="spool folder of the node")
    command.add_argument(
        "--instance", metavar="UID", help="SOP Instance UID, of the original or what was derived"
    )
    command.add_argument("--study", metavar="UID", help="Study Instance UID; of what was forwarded")
    command.add_argument(
        "--since", metavar="TIME", type=_time,
        help="what was done since: 2026-01-31, or 2026-01-31T08:00",
    )  # fmt: skip


def node(arguments: argparse.Namespace) -> int:
    """Receive, denoise and forward, until a signal comes."""
    from monai_dental.node.settings import NodeSettings, make_settings

    given = {
        name: value for name, value in vars(arguments).items() if name in NodeSettings.model_fields
    }
    settings = make_settings(given, arguments.config)
    job, limits, workers = _make_job(settings)
    target, commitments = _make_target(settings)
    from monai_dental.errors import PacsError
    from monai_dental.node.check import check_forward
    from monai_dental.node.node import Node

    made = Node(
        settings,
        job,
        limits,
        workers=workers,
        target=target,
        commitments=commitments,
        is_failed_left=arguments.retry_failed,
    )
    if arguments.check_config:
        check_forward(target.address, settings)
        made.check()
        print("the settings are good")
        try:
            target.prepare()
        except PacsError as error:  # it may come back: a node waits for it
            print(printable(f"the archive does not answer, and would be waited for: {error}"))
        finally:
            target.close()
        return 0
    with _closed_process(), _log_on_stderr(), _stops() as stops:
        made.run(stops, lambda words: print(words, flush=True))
    return 0


def node_status(arguments: argparse.Namespace) -> int:
    """Tell how a node stands."""
    from monai_dental.node.queue import DERIVED, FAILED, RECEIVED, SKIPPED, Queue

    queue = Queue(arguments.spool)
    try:
        skipped = Counter(re.sub(r"\d+", "N", job.reason) for job in queue.instances(SKIPPED))
        for reason, count in skipped.most_common():
            print(printable(f"skipped {count}: {reason}"))
        for job in queue.instances(FAILED):
            print(printable(f"failed: instance {job.uid or job.key}: {job.reason}"))
        for proof, count in sorted(queue.proofs().items()):
            print(f"forwarded {count}: proven by {_PROOFS.get(proof, proof)}")
        for job in queue.instances(DERIVED):
            if job.reason:
                print(printable(f"waits: instance {job.output_uid}: {job.reason}"))
        counts = queue.counts()
    finally:
        queue.close()
    print(", ".join(f"{count} {state}" for state, count in counts.items()))
    return 1 if counts[FAILED] or counts[RECEIVED] or counts[DERIVED] else 0


def node_redo(arguments: argparse.Namespace) -> int:
    """Let a node do instances again."""
    from monai_dental.errors import DatasetError
    from monai_dental.node.queue import Queue

    wanted = (arguments.instance, arguments.study, arguments.since)
    if wanted == (None, None, None):
        raise DatasetError("node-redo: need --instance, --study or --since")
    Queue(arguments.spool).close()  # refuses a folder that is no spool
    queue = Queue(arguments.spool, is_writable=True)
    try:
        at_once, when_sent = queue.redo(*wanted)
    finally:
        queue.close()
    print(f"{at_once} done again now, {when_sent} when they are sent again")
    return 0 if at_once or when_sent else 1


def _time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; need 2026-01-31 or 2026-01-31T08:00"
        ) from None


def _add_settings_when_parsed(command: argparse.ArgumentParser) -> None:
    """Add an option for each setting, but only once they are asked for: pydantic is slow to load.

    Without the extra `pacs`, which brings it, that is said in their stead.
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
    from monai_dental.node.settings import NodeSettings, limits_of
    from monai_dental.node.settings_pages import default_of, extra_of

    # What is not given is left out: only what is given counts before the file.
    for name, field in NodeSettings.model_fields.items():
        option = f"--{name.replace('_', '-')}"
        kind = str(field.annotation)
        default = default_of(field)
        text = f"{field.description} ({f'default: {default}' if default else 'needed'})"
        text = text.replace("%", "%%")
        if "bool" in kind:
            command.add_argument(option, action="store_true", default=argparse.SUPPRESS, help=text)
        elif "Literal" in kind:
            command.add_argument(
                option, choices=limits_of(field).removeprefix("one of ").split(", "),
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
"""How options of a kind are shown and read."""


def _make_job(settings: NodeSettings) -> tuple[DicomJob, Limits, int]:
    from monai_dental.bundle.find import find_bundle

    bundle = find_bundle(settings.bundle)

    from monai_dental.batch.dicom import DicomJob
    from monai_dental.batch.workers.local import Limits, default_workers
    from monai_dental.dicom.select import SHIPPED_RULES, read_rules
    from monai_dental.inference.backends import runs_on_gpu
    from monai_dental.node.spool import DerivedFolder
    from monai_dental.process.machine import memory_mb, usable_cores

    is_on_gpu = runs_on_gpu(settings.device, settings.backend)
    workers = settings.workers or default_workers(usable_cores(), is_on_gpu=is_on_gpu)
    job = DicomJob(
        bundle,
        read_rules(settings.rules or SHIPPED_RULES, all_xray=settings.all_xray),
        DerivedFolder(settings.spool),
        strength=settings.strength,
        compression=settings.compress,
        device=settings.device,
        backend=settings.backend,
    )
    limits = Limits(
        seconds=settings.time_limit,
        memory_mb=settings.memory_limit or memory_mb() * 3 // 4 // workers,
        threads=max(1, usable_cores() // workers),
    )
    return job, limits, workers


def _make_target(
    settings: NodeSettings,
) -> tuple[DimseTarget | DicomwebTarget, Commitments | None]:
    from monai_dental.errors import AddressError
    from monai_dental.node.log import say
    from monai_dental.node.spool import DerivedFolder
    from monai_dental.pacs.address import DimseAddress, is_pacs, parse_address, with_tls
    from monai_dental.pacs.dicomweb.target import DicomwebTarget
    from monai_dental.pacs.dimse.commitment import Commitments
    from monai_dental.pacs.dimse.target import DimseTarget
    from monai_dental.pacs.parcel import COMMITMENT
    from monai_dental.pacs.retry import Patience

    text = settings.forward
    address = with_tls(parse_address(text if is_pacs(text) else f"dimse://{text}"), settings.tls)
    if address.query:
        raise AddressError(f"{address}: has a query; need an address to forward to, without one")
    spool = DerivedFolder(settings.spool)
    patience = Patience(attempts=3, longest_pause_s=2.0)  # beyond that the node has its own
    if isinstance(address, DimseAddress):
        commitments = Commitments(address.called_ae_title, say=partial(say, logging.INFO))
        target = DimseTarget(
            address, settings.ae_title, patience, commitments,
            scratch=spool.scratch, proof=settings.proof,
        )  # fmt: skip
        return target, commitments
    if settings.proof == COMMITMENT:
        raise AddressError(f"{address}: DICOMweb has no storage commitment; need another proof")
    return DicomwebTarget(address, patience, scratch=spool.scratch, proof=settings.proof), None


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
    """Let this process tell nobody what it handles: it is patient data."""
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
    """Say that a thread ended, by kind and place of the error alone; for `threading.excepthook`."""
    from monai_dental.errors import unforeseen
    from monai_dental.node.log import say

    if arguments.exc_value is not None:
        say(logging.ERROR, f"a thread ended: {unforeseen(arguments.exc_value)}")


@contextmanager
def _stops() -> Iterator[SimpleQueue[int]]:
    """What SIGTERM and SIGINT are put into, in the stead of an interrupt at any moment."""
    stops: SimpleQueue[int] = SimpleQueue()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda received, _: stops.put(received)) for number in numbers]
    try:
        yield stops
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
