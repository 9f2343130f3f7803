"""Entry point of the command line: the list of commands, and their exit statuses."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import monai_dental
from monai_dental.errors import MonaiDentalError, opencv_needed
from monai_dental.process.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MODULES = (
    "denoise",
    "serve",
    "batch",
    "node",
    "orthanc",
    "mercure",
    "label",
    "adapt",
    "phantom",
    "report",
    "scores",
    "benchmark",
)
"""Modules of this package, each with `add(commands)`, in the order of the help."""

# torch and MONAI take seconds to import: each command imports what it needs.


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, by default with the arguments of the process.

    Returns:
        0 = success, 1 = some instances failed, 2 = wrong usage or configuration,
        130 = interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may be in any script
    arguments = _make_parser().parse_args(argv)
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch asks Linux for huge pages: faster
    command: Callable[[argparse.Namespace], int] = arguments.command
    with warnings.catch_warnings(), _terminable():
        warnings.showwarning = _show_warning
        try:
            code = command(arguments)
            sys.stdout.flush()
        except MonaiDentalError as error:
            sys.stderr.write(f"error: {printable(str(error))}\n")
            return 2
        except ModuleNotFoundError as error:
            if error.name != "cv2":
                raise
            sys.stderr.write(f"error: {opencv_needed()}\n")
            return 2
        except KeyboardInterrupt:
            sys.stderr.write("interrupted; all files written so far are complete\n")
            return 130
        except BrokenPipeError:  # `monai-dental … | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        return code


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="monai-dental", description=monai_dental.__doc__)
    parser.add_argument("--version", action="version", version=monai_dental.__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in _MODULES:
        importlib.import_module(f"monai_dental.cli.{name}").add(commands)
    return parser


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM, which service managers send, end a command as Ctrl-C does: cleanly."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    sys.stderr.write(f"warning: {printable(str(message))}\n")
