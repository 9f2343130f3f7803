"""TLS for DIMSE: both sides show a certificate (PS3.15 B.9, BCP 195)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from monai_dental.errors import PacsError


@dataclass(frozen=True)
class TlsFiles:
    """Our certificate and key, and the CA certificates for the other side; TLS 1.2 or later.

    Attributes:
        cert: Our certificate, PEM, with the intermediate certificates.
        key: Its private key, PEM, without a pass phrase.
        ca: CA certificates that verify the other side's certificate, PEM.
    """

    cert: Path
    key: Path
    ca: Path

    @classmethod
    def of(cls, cert: Path | None, key: Path | None, ca: Path | None) -> TlsFiles | None:
        """Return all three files, or None if none is given.

        Raises:
            PacsError: Some are missing.
        """
        if cert and key and ca:
            return cls(cert, key, ca)
        if cert or key or ca:
            raise PacsError("TLS: need tls-cert, tls-key and tls-ca, or none of the three")
        return None

    def server_context(self) -> ssl.SSLContext:
        """Return a context that accepts only clients with a certificate signed by `ca`.

        Raises:
            PacsError: A file cannot be read, is not PEM, or key and certificate do not match.
        """
        return self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def client_context(self) -> ssl.SSLContext:
        """Return a context that accepts only servers with a certificate signed by `ca`.

        Host names are not compared: DICOM does not require it (PS3.15 B.9), and devices'
        certificates seldom contain the address by which they are reached.

        Raises:
            PacsError: As for `server_context`.
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
            # Never prompt for a pass phrase: nobody could answer a service.
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
