"""Options that commands share, and converters for their arguments."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from monai_dental.bundle.find import DEFAULT_BUNDLE
from monai_dental.errors import UnsupportedSystemError, extra_needed
from monai_dental.inference.backends import BACKENDS

if TYPE_CHECKING:
    from monai_dental.batch.record.shard import Shard
    from monai_dental.pacs import Address

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_network(command: argparse.ArgumentParser) -> None:
    """Add `--bundle` and `--device`."""
    command.add_argument(
        "--bundle", metavar="NAME|DIR", default=DEFAULT_BUNDLE,
        help="the bundle: one that comes with the package (blind, unet, dae), or a bundle's "
        "folder, whose configs run as code (default: %(default)s)",
    )  # fmt: skip
    command.add_argument("--device", help="cpu, cuda:0, … (default: a GPU if there is one)")


def add_model(command: argparse.ArgumentParser) -> None:
    """Add the options of the model: `--bundle`, `--strength`, `--device`, `--backend`."""
    add_network(command)
    command.add_argument(
        "--strength", metavar="FRACTION", type=share, default=1.0,
        help="fraction of the correction to apply, 0 to 1 (default: 1)",
    )  # fmt: skip
    command.add_argument(
        "--backend", choices=BACKENDS, default="torch",
        help="engine that runs the network; openvino is faster on some CPUs and "
        f"needs its package: {extra_needed('openvino')} (default: torch)",
    )  # fmt: skip


def add_tls(command: argparse.ArgumentParser, use: str) -> None:
    """Add `--tls-cert`, with its help text, `--tls-key` and `--tls-ca`."""
    for name, text in (
        ("cert", use),
        ("key", "its private key, PEM, without a pass phrase"),
        ("ca", "CA certificates that verify the other side's certificate, PEM"),
    ):
        command.add_argument(f"--tls-{name}", metavar="FILE", type=path, help=text)


def require_posix(what: str) -> None:
    """Check that this system has the POSIX features that a command needs: shared locks, signals.

    Raises:
        UnsupportedSystemError: The system is Windows.
    """
    if not hasattr(os, "killpg"):
        raise UnsupportedSystemError(f"{what}: does not run on this system; need Linux or macOS")


def path(text: str) -> Path:
    """Return the path of a file or folder."""
    if not text:  # an unset shell variable; Path("") would be the current folder
        raise argparse.ArgumentTypeError("the name is empty; need a file or a folder")
    return Path(text)


def place(text: str) -> Path | Address:
    """Return the path of a folder or the address of a PACS."""
    from monai_dental.errors import AddressError
    from monai_dental.pacs import is_pacs, parse_address

    if not is_pacs(text):
        return path(text)
    try:
        return parse_address(text)
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def ae_title(text: str) -> str:
    """Return an AE title."""
    from monai_dental.pacs.address import is_ae_title

    if not is_ae_title(text):
        raise argparse.ArgumentTypeError("need 1 to 16 ASCII characters without a backslash")
    return text.strip()


def share(text: str) -> float:
    """Return a number from 0 to 1."""
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def shard(text: str) -> Shard:
    """Return the shard that "I/N" means."""
    from monai_dental.batch.record.shard import Shard

    index, _, count = text.partition("/")
    with contextlib.suppress(ValueError):
        if index.isdecimal() and count.isdecimal():
            return Shard(int(index), int(count))
    raise argparse.ArgumentTypeError(f"{text!r} is not a shard; need I/N with I from 1 to N: 1/4")


def seconds(text: str) -> float:
    """Return a number of seconds above 0."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")


def port(text: str) -> int:
    """Return a port number; 0 means any free port."""
    if text.isdecimal() and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
