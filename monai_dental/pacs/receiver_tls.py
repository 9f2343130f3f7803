"""TLS of a node: both sides show a certificate (PS3.15 B.9, BCP 195)."""

from __future__ import annotations

import ssl
from pathlib import Path

from monai_dental.errors import PacsError


def server_context(cert: Path, key: Path, authorities: Path) -> ssl.SSLContext:
    """What the node speaks TLS with, 1.2 or later.

    Args:
        cert: Its certificate, PEM, with those between it and the root.
        key: Its private key, PEM, without a pass phrase.
        authorities: The certificates that those of senders must be signed by, PEM.

    Returns:
        A context that lets nobody in without such a certificate.

    Raises:
        PacsError: A file cannot be read, is no PEM, or key and certificate do not match.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    for path in (cert, key, authorities):
        try:
            path.open("rb").close()
        except OSError as error:
            raise PacsError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        # A pass phrase is never asked for: a service has nobody to answer.
        context.load_cert_chain(cert, key, password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        raise PacsError(
            f"{cert}, {key}: need a PEM certificate and its PEM private key without a pass phrase"
        ) from error
    try:
        context.load_verify_locations(authorities)
    except ssl.SSLError as error:
        raise PacsError(f"{authorities}: holds no PEM certificate") from error
    return context
