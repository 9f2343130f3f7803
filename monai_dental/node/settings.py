"""The settings of a node, and the commented TOML file that may hold them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from monai_dental.bundle.find import DEFAULT_BUNDLE
from monai_dental.dicom.compression import COMPRESSIONS
from monai_dental.errors import PacsError
from monai_dental.inference.backends import BACKENDS
from monai_dental.pacs.address import is_ae_title
from monai_dental.pacs.tls import TlsFiles

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MEBIBYTE = 1 << 20
_ANY_PORT = 65535
_SMALLEST_PDU = 4096
_MOST_ASSOCIATIONS = 400  # pynetdicom waits by select(), which knows 1024 files


def default_spool() -> Path:
    """`$XDG_DATA_HOME/monai_dental/node`, else `~/.local/share/monai_dental/node`."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data, "monai_dental", "node")


@dataclass(frozen=True)
class NodeSettings:
    """What a node is told; each is an option of `monai-dental node` and a key of its TOML file.

    Attributes:
        forward: Where results go: `AE@HOST:PORT`, or an address of `monai_dental.pacs.address`.
        allow: AE titles that may call.
        ae_title: The node's own, which senders must call it by.
        host: Address to listen on; 0.0.0.0 for all networks.
        port: TCP port; 0 for any that is free.
        spool: Folder of what is received and not yet forwarded, and of the queue.
        spool_limit: What the spool may take, in MiB.
        tls_cert: The node's certificate, PEM; with `tls_key` and `tls_ca`, or none of the three.
        tls_key: Its private key, PEM, without a pass phrase.
        tls_ca: The certificates that those of senders must be signed by, PEM.
        associations: How many at once.
        max_pdu: Longest PDU that is taken, in bytes.
        max_object: Longest dataset that is taken, in MiB.
        health_port: Port of health and metrics on 127.0.0.1; None for neither, 0 for any.
        longest_wait: Longest time between two attempts to forward, in seconds.
        bundle: As of `monai-dental batch`, like all that follow.
        strength: Share of the network's correction that is applied, 0 to 1.
        device: For example "cpu"; None what the bundle says.
        backend: One of `monai_dental.inference.backends.BACKENDS`.
        compress: One of `monai_dental.dicom.compression.COMPRESSIONS`.
        all_xray: Whether dental anatomy is not asked for.
        rules: Rules of selection; None for those that come with the package.
        workers: Worker processes; None for as many as the machine has room for.
        time_limit: Time that one instance may take to denoise, in seconds.
        memory_limit: Memory that one instance may take, in MiB; None for a worker's share.

    Raises:
        PacsError: A value is not allowed.
    """

    forward: str
    allow: tuple[str, ...]
    ae_title: str = "DENOISE"
    host: str = "0.0.0.0"
    port: int = 11112
    spool: Path = field(default_factory=default_spool)
    spool_limit: int = 20480
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    associations: int = 20
    max_pdu: int = 131072
    max_object: int = 512
    health_port: int | None = None
    longest_wait: float = 300.0
    bundle: str = DEFAULT_BUNDLE
    strength: float = 1.0
    device: str | None = None
    backend: str = "torch"
    compress: str = "none"
    all_xray: bool = False
    rules: Path | None = None
    workers: int | None = None
    time_limit: float = 600.0
    memory_limit: int | None = None

    def __post_init__(self) -> None:
        """Check each value."""
        for title in (self.ae_title, *self.allow):
            if not is_ae_title(title) or title != title.strip():
                raise PacsError(
                    f"AE title {title!r}: need 1 to 16 ASCII characters, no backslash, no blank at "
                    "either end"
                )
        if not self.allow:
            raise PacsError("allow: need the AE titles that may send, AE,AE")
        for name in ("port", "health_port"):
            port = getattr(self, name)
            if port is not None and not 0 <= port <= _ANY_PORT:
                raise PacsError(f"{_option(name)} is {port}; need 0 to {_ANY_PORT}")
        for name in ("spool_limit", "associations", "max_object", "workers", "memory_limit"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise PacsError(f"{_option(name)} is {number}; need at least 1")
        if self.associations > _MOST_ASSOCIATIONS:
            raise PacsError(
                f"associations is {self.associations}; need at most {_MOST_ASSOCIATIONS}"
            )
        for name in ("longest_wait", "time_limit"):
            if not 0 < getattr(self, name) < float("inf"):
                raise PacsError(f"{_option(name)} is {getattr(self, name)}; need seconds above 0")
        if not _SMALLEST_PDU <= self.max_pdu <= MEBIBYTE:
            raise PacsError(f"max-pdu is {self.max_pdu}; need {_SMALLEST_PDU} to {MEBIBYTE} bytes")
        if not 0 <= self.strength <= 1:
            raise PacsError(f"strength is {self.strength}; need 0 to 1")
        for name, choices in (("backend", BACKENDS), ("compress", COMPRESSIONS)):
            if getattr(self, name) not in choices:
                need = ", ".join(choices)
                raise PacsError(f"{name} is {getattr(self, name)}; need one of {need}")
        if self.max_object > self.spool_limit:
            raise PacsError(
                f"max-object is {self.max_object} MiB and spool-limit {self.spool_limit} MiB; "
                "need room for one object"
            )
        TlsFiles.of(self.tls_cert, self.tls_key, self.tls_ca)  # refuses some without the others

    @property
    def tls(self) -> TlsFiles | None:
        """The files for TLS; None where it is not spoken."""
        return TlsFiles.of(self.tls_cert, self.tls_key, self.tls_ca)


def make_settings(given: Mapping[str, Any], config: Path | None) -> NodeSettings:
    """Put settings together: options first, then the file, then what holds without either.

    Args:
        given: Options that were given, by the names of `NodeSettings`.
        config: The TOML file; None for none.

    Raises:
        PacsError: The file cannot be read, has an unknown key or a value of a wrong type; or a
            value is missing or not allowed.
    """
    values = {} if config is None else _read(config)
    values.update(given)
    for name in ("forward", "allow"):
        if name not in values:
            where = "" if config is None else f", or {name} in {config}"
            raise PacsError(f"nothing says {name}; need --{name}{where}")
    return NodeSettings(**values)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PacsError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise PacsError(f"{path}: is no TOML: {error}") from error
    types = {_option(each.name): (each.name, str(each.type)) for each in fields(NodeSettings)}
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key not in types:
            raise PacsError(f"{path}: {key} is no setting; the settings are {', '.join(types)}")
        name, kind = types[key]
        need, convert = _KINDS[kind.removesuffix(" | None")]
        converted = convert(value)
        if converted is None:
            raise PacsError(f"{path}: {key} is {type(value).__name__}; need {need}")
        values[name] = converted
    return values


def _option(name: str) -> str:
    return name.replace("_", "-")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _path(value: Any) -> Path | None:
    return Path(value) if _text(value) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _texts(value: Any) -> tuple[str, ...] | None:
    is_list = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return tuple(value) if is_list else None


_KINDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "str": ("a text in quotes", _text),
    "Path": ("a path in quotes", _path),
    "int": ("a whole number", _whole),
    "float": ("a number", _number),
    "bool": ("true or false", _flag),
    "tuple[str, ...]": ("a list of texts", _texts),
}
