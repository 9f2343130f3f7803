"""Checks of what a node needs, for `--check-config`."""

from __future__ import annotations

import socket
from itertools import combinations
from urllib.parse import urlsplit

from monai_dental.bundle.find import checked_device
from monai_dental.errors import AddressError, BundleError, OutputError, PacsError
from monai_dental.files.lock import hold_lock
from monai_dental.inference.backends import installed_backends
from monai_dental.node.settings import NodeSettings
from monai_dental.pacs.address import DicomwebAddress, DimseAddress

_ANY = ("0.0.0.0", "::", "")


def check_device(name: str) -> None:
    """Check that a device exists.

    Raises:
        BundleError: There is no device of that name.
    """
    try:
        checked_device(name)
    except BundleError as error:
        raise BundleError(f"device: {error}") from error


def check_backend(name: str) -> None:
    """Check that a backend is installed.

    Raises:
        BundleError: It is not.
    """
    if name not in installed_backends():
        raise BundleError(f"backend: {name}: is not installed; need its extra, or torch")


def check_ports(settings: NodeSettings) -> None:
    """Check that the node can listen on its ports; skipped if a node already runs on its spool.

    Raises:
        PacsError: A port is in use, or an address is not this machine's.
    """
    places = [("port", settings.host, settings.port)]
    if settings.health_port is not None:
        places.append(("health-port", settings.health_host, settings.health_port))
    if settings.stow_port is not None:
        places.append(("stow-port", settings.stow_host, settings.stow_port))
    for (first, host, port), (second, other, same) in combinations(places, 2):
        is_same_host = host == other or host in _ANY or other in _ANY
        if port and port == same and is_same_host:
            raise PacsError(f"{first} and {second} are both {port}; need two different ports")
    if _is_running(settings):
        return
    for option, host, port in places:
        try:
            _bind(host, port)
        except OSError as error:
            raise PacsError(
                f"{option}: {host}:{port}: cannot listen there: "
                f"{error.strerror or type(error).__name__}"
            ) from error


def check_forward(address: DimseAddress | DicomwebAddress, settings: NodeSettings) -> None:
    """Check that the host of a destination is known, and that it is not the node itself.

    Raises:
        AddressError: The name does not resolve, or the address is the node's own.
        PacsError: A file for TLS cannot be used.
    """
    if isinstance(address, DicomwebAddress):
        parts = urlsplit(address.url)
        found = _resolve(parts.hostname or "", "forward")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if port == settings.stow_port and any(map(_is_here, found)):
            raise AddressError(f"forward: {address}: is this node itself; need the archive")
        return
    if address.tls is not None:
        address.tls.client_context()
    found = _resolve(address.host, "forward")
    if address.port == settings.port and any(map(_is_here, found)):
        is_listening = settings.host in _ANY or settings.host in (*found, address.host)
        if is_listening:
            raise AddressError(f"forward: {address}: is this node itself; need the archive")


def _is_running(settings: NodeSettings) -> bool:
    lock = settings.spool / "node.lock"
    if not lock.is_file():
        return False
    try:
        with hold_lock(lock):
            return False
    except OutputError:
        return True


def _bind(host: str, port: int) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
        trial.bind(address)
        trial.listen(1)


def _resolve(host: str, option: str) -> list[str]:
    try:
        return [str(each[4][0]) for each in socket.getaddrinfo(host, None)]
    except OSError as error:
        raise AddressError(f"{option}: {host}: cannot be resolved to an IP address") from error


def _is_here(address: str) -> bool:
    """Return whether an IP address is one of this machine's."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((address, 0))
    except OSError:
        return False
    return True
