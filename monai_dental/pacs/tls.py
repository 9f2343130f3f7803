"""TLS of DIMSE: both sides show a certificate (PS3.15 B.9, BCP 195)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from monai_dental.errors import PacsError


@dataclass(frozen=True)
class TlsFiles:
    """What we show, and what the other side must show; TLS 1.2 or later.

    Attributes:
        cert: Our certificate, PEM, with those between it and the root.
        key: Its private key, PEM, without a pass phrase.
        ca: The certificates that those of the other side must be signed by, PEM.
    """

    cert: Path
    key: Path
    ca: Path

    @classmethod
    def of(cls, cert: Path | None, key: Path | None, ca: Path | None) -> TlsFiles | None:
        """All three files, or None for none of them.

        Raises:
            PacsError: Some are missing.
        """
        if cert and key and ca:
            return cls(cert, key, ca)
        if cert or key or ca:
            raise PacsError("TLS: need tls-cert, tls-key and tls-ca, or none of the three")
        return None

    def server_context(self) -> ssl.SSLContext:
        """A context that lets nobody in without a certificate that `ca` signed.

        Raises:
            PacsError: A file cannot be read, is no PEM, or key and certificate do not match.
        """
        return self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def client_context(self) -> ssl.SSLContext:
        """A context that speaks to nobody without a certificate that `ca` signed.

        Host names are not compared: DICOM does not ask for it (PS3.15 B.9), and the certificates
        of devices seldom hold the address that they are reached by.

        Raises:
            PacsError: As of `server_context`.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        return self._load(context)

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        for path in (self.cert, self.key, self.ca):
            try:
                path.open("rb").close()
            except OSError as error:
                raise PacsError(f"{path}: cannot be read: {error.strerror}") from error
        try:
            # A pass phrase is never asked for: a service has nobody to answer.
            context.load_cert_chain(self.cert, self.key, password=lambda: b"")
        except (ssl.SSLError, ValueError) as error:
            raise PacsError(
                f"{self.cert}, {self.key}: need a PEM certificate and its PEM private key without "
                "a pass phrase"
            ) from error
        try:
            context.load_verify_locations(self.ca)
        except ssl.SSLError as error:
            raise PacsError(f"{self.ca}: holds no PEM certificate") from error
        return context
