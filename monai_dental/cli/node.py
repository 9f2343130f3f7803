"""The commands `node` and `node-status`."""

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
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

from monai_dental.cli.arguments import Subparsers, add_model, add_tls, path, positive, seconds
from monai_dental.process.terminal import printable

if TYPE_CHECKING:
    from monai_dental.batch.dicom import DicomJob
    from monai_dental.batch.workers.local import Limits
    from monai_dental.node.settings import NodeSettings
    from monai_dental.pacs.dicomweb.target import DicomwebTarget
    from monai_dental.pacs.dimse.commitment import Commitments
    from monai_dental.pacs.dimse.target import DimseTarget

_COMPRESSIONS = ("none", "jpegls", "as-source")
_NO_SETTINGS = ("command", "config", "check_config", "retry_failed")


def add(commands: Subparsers) -> None:
    """Add the two commands."""
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
        "--config", metavar="FILE", type=path, help="settings as TOML; options outdo them"
    )
    command.add_argument("--check-config", action="store_true", help="check all settings, then end")
    command.add_argument(
        "--retry-failed", action="store_true", help="do instances that failed before again"
    )
    _add_network(command)
    command.add_argument(
        "--spool", metavar="DIR", type=path,
        help="folder of what is received and not yet forwarded "
        "(default: ~/.local/share/monai_dental/node)",
    )  # fmt: skip
    command.add_argument(
        "--spool-limit", metavar="MB", type=positive,
        help="what the spool may take, in MiB; beyond it senders are told Out of Resources "
        "(default: 20480)",
    )  # fmt: skip
    add_model(command)
    command.add_argument("--compress", choices=_COMPRESSIONS, help="as of batch (default: none)")
    command.add_argument(
        "--all-xray", action="store_true", help="take DX, CR and CT without dental anatomy too"
    )
    command.add_argument(
        "--rules", metavar="FILE", type=path, help="rules of selection, JSON, as of batch"
    )
    command.add_argument(
        "--workers", metavar="N", type=positive,
        help="worker processes (default: one a core, as far as memory goes)",
    )  # fmt: skip
    command.add_argument(
        "--time-limit", metavar="SECONDS", type=seconds,
        help="time that one instance may take to denoise (default: 600)",
    )  # fmt: skip
    command.add_argument(
        "--memory-limit", metavar="MB", type=positive,
        help="memory that one instance may take, beside the model, in MiB (default: the workers' "
        "share of three quarters of the machine)",
    )  # fmt: skip
    # Only what was given counts before the file; the rest is in NodeSettings.
    command.set_defaults(bundle=None, strength=None, backend=None, all_xray=None)

    command = commands.add_parser(
        "node-status",
        help="tell how a node stands",
        description="Tell from the queue of a node, which may be running, what was skipped, what "
        "failed and what could not be forwarded yet, and why. Exit status 0 if nothing failed and "
        "nothing waits, else 1.",
    )
    command.set_defaults(command=node_status)
    command.add_argument("spool", metavar="DIR", type=path, help="spool folder of the node")


def node(arguments: argparse.Namespace) -> int:
    """Receive, denoise and forward, until a signal comes."""
    from monai_dental.pacs.extra import require

    for package in ("pynetdicom", "requests"):
        require(package)
    from monai_dental.node.settings import make_settings

    given = {
        name: value
        for name, value in vars(arguments).items()
        if value is not None and name not in _NO_SETTINGS
    }
    settings = make_settings(given, arguments.config)
    job, limits, workers = _make_job(settings)
    target, commitments = _make_target(settings)
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
        made.check()
        print("the settings are good")
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
        for job in queue.instances(DERIVED):
            if job.reason:
                print(printable(f"waits: instance {job.output_uid}: {job.reason}"))
        counts = queue.counts()
    finally:
        queue.close()
    print(", ".join(f"{count} {state}" for state, count in counts.items()))
    return 1 if counts[FAILED] or counts[RECEIVED] or counts[DERIVED] else 0


def _add_network(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--forward", metavar="ADDRESS",
        help="where results go: AE@HOST:PORT, dimse+tls://AE@HOST:PORT, or "
        "dicomweb+https://HOST/PATH; needed",
    )  # fmt: skip
    command.add_argument(
        "--allow", metavar="AE,AE", type=_titles, help="AE titles that may send; needed"
    )
    command.add_argument("--ae-title", metavar="AE", help="the node's AE title (default: DENOISE)")
    command.add_argument(
        "--host", metavar="ADDRESS",
        help="address to listen on (default: 0.0.0.0, all networks)",
    )  # fmt: skip
    command.add_argument(
        "--port", metavar="N", type=_number, help="port; 0 for any that is free (default: 11112)"
    )
    add_tls(command, "the node's certificate, PEM: with it, senders must speak TLS")
    command.add_argument(
        "--associations", metavar="N", type=positive, help="how many at once (default: 20)"
    )
    command.add_argument(
        "--max-pdu", metavar="BYTES", type=positive, help="longest PDU (default: 131072)"
    )
    command.add_argument(
        "--max-object", metavar="MB", type=positive,
        help="longest object, in MiB; it is in memory until it is on the disk (default: 512)",
    )  # fmt: skip
    command.add_argument(
        "--health-port", metavar="N", type=_number,
        help="port of /health and /metrics on 127.0.0.1 (default: none)",
    )  # fmt: skip
    command.add_argument(
        "--longest-wait", metavar="SECONDS", type=seconds,
        help="longest time between two attempts to forward (default: 300)",
    )  # fmt: skip


def _titles(text: str) -> tuple[str, ...]:
    return tuple(title.strip() for title in text.split(","))


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _make_job(settings: NodeSettings) -> tuple[DicomJob, Limits, int]:
    from monai_dental.bundle.find import find_bundle

    bundle = find_bundle(settings.bundle)

    from monai_dental.batch.dicom import DicomJob
    from monai_dental.batch.workers.local import Limits, default_workers
    from monai_dental.dicom.select import SHIPPED_RULES, read_rules
    from monai_dental.node.spool import DerivedFolder
    from monai_dental.process.machine import memory_mb, usable_cores

    workers = settings.workers or default_workers(usable_cores())
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
            address, settings.ae_title, patience, commitments, scratch=spool.scratch
        )
        return target, commitments
    return DicomwebTarget(address, patience, scratch=spool.scratch), None


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
