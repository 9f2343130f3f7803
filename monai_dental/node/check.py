"""Trying what a node will do, without doing it: for `--check-config`."""

from __future__ import annotations

import socket

from monai_dental.errors import AddressError, BundleError, OutputError, PacsError
from monai_dental.files.lock import hold_lock
from monai_dental.inference.backends import installed_backends
from monai_dental.node.settings import NodeSettings
from monai_dental.pacs.address import DicomwebAddress, DimseAddress

_ANY = ("0.0.0.0", "::", "")


def check_device(name: str) -> None:
    """Check that there is a device to denoise on.

    Raises:
        BundleError: There is none of that name.
    """
    import torch

    try:
        torch.zeros(1, device=torch.device(name)).item()
    except (RuntimeError, AssertionError) as error:
        raise BundleError(
            f"device: {name}: no such device here; need cpu, or cuda with a GPU"
        ) from error


def check_backend(name: str) -> None:
    """Check that what runs the network is installed.

    Raises:
        BundleError: It is not.
    """
    if name not in installed_backends():
        raise BundleError(f"backend: {name}: is not installed; need its extra, or torch")


def check_ports(settings: NodeSettings) -> None:
    """Check that the node can listen where it is to; not where a node runs on its spool already.

    Raises:
        PacsError: It cannot: a port is in use, or an address is not this machine's.
    """
    places = [("port", settings.host, settings.port)]
    if settings.health_port is not None:
        places.append(("health-port", settings.health_host, settings.health_port))
        is_same_host = settings.host == settings.health_host or settings.host in _ANY
        if settings.port and settings.port == settings.health_port and is_same_host:
            raise PacsError(f"port and health-port are both {settings.port}; need two")
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
    """Check that results go to a place that there is, and that is not the node itself.

    Raises:
        AddressError: Its name does not resolve, or it leads back here.
        PacsError: A file for TLS is of no use.
    """
    if isinstance(address, DicomwebAddress):
        host, _, _ = address.url.partition("://")[2].partition("/")
        _resolve(host.rpartition("@")[2].rsplit(":", 1)[0].strip("[]"), "forward")
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
        raise AddressError(f"{option}: {host}: no IP address is known for it") from error


def _is_here(address: str) -> bool:
    """Whether an IP address is one of this machine's."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((address, 0))
    except OSError:
        return False
    return True
