"""Addresses of a PACS: `dicomweb+https://HOST/PATH?QUERY` and `dimse[+tls]://AE@HOST:PORT?QUERY`."""

from __future__ import annotations

import dataclasses
import itertools
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from pydicom.datadict import dictionary_is_retired, dictionary_VR, tag_for_keyword

from monai_dental.errors import AddressError
from monai_dental.pacs.tls import TlsFiles

_SCHEMES = ("dicomweb+https", "dicomweb+http", "dimse", "dimse+tls")
_FORMS = "dicomweb+https://HOST/PATH, dimse://AE@HOST:PORT or dimse+tls://AE@HOST:PORT"
_OURS = ("QueryRetrieveLevel", "SpecificCharacterSet", "RetrieveAETitle")
_NO_KEYS = ("SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN", "OB or OW", "AT")
_MAX_KEYS = 50


@dataclass(frozen=True)
class DicomwebAddress:
    """A DICOMweb service (PS3.18).

    Attributes:
        url: Its base URL, http(s)://HOST[:PORT]/PATH, without a trailing slash.
        query: The instances to select: DICOM keywords, each with its allowed values.
    """

    url: str
    query: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __str__(self) -> str:
        """The address without its query, which can name a patient."""
        return f"dicomweb+{self.url}"


@dataclass(frozen=True)
class DimseAddress:
    """An application entity that speaks DIMSE (PS3.7, PS3.8).

    Attributes:
        called_ae_title: Its AE title.
        host: Its host name or IP address.
        port: Its TCP port.
        query: The instances to select: DICOM keywords, each with its allowed values.
        is_tls: Whether to use TLS.
        tls: Our files for TLS; None without TLS, or if they are not known yet.
    """

    called_ae_title: str
    host: str
    port: int
    query: tuple[tuple[str, tuple[str, ...]], ...] = ()
    is_tls: bool = False
    tls: TlsFiles | None = None

    def __str__(self) -> str:
        """The address without its query, which can name a patient."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "dimse+tls" if self.is_tls else "dimse"
        return f"{scheme}://{urllib.parse.quote(self.called_ae_title)}@{host}:{self.port}"


Address = DicomwebAddress | DimseAddress
_AddressT = TypeVar("_AddressT")


def is_pacs(text: str) -> bool:
    """Return whether a text is meant as the address of a PACS, not as a path."""
    return text.startswith(("dicomweb+", "dicomweb:", "dimse:", "dimse+"))


def parse_address(text: str) -> Address:
    """Read an address.

    Args:
        text: The address as a user writes it. Values of the query are percent-encoded; if a keyword
            is repeated, any of its values matches.

    Raises:
        AddressError: It is not a valid address. The message quotes neither credentials nor values
            of the query.
    """
    scheme = text.partition(":")[0]
    if scheme not in _SCHEMES:
        # Not quoted: another kind of text can have anything before a colon.
        raise AddressError(
            f"the address of a PACS does not begin with a known scheme; need {_FORMS}"
        )
    try:
        parts = urllib.parse.urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise AddressError(f"{scheme}: host or port cannot be read; need {_FORMS}") from error
    shown = f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if not host or any(not char.isprintable() or char.isspace() for char in text):
        raise AddressError(f"{scheme}: no host, or blanks in the address; need {_FORMS}")
    if parts.fragment:
        raise AddressError(f"{shown}: has a part after '#'; need {_FORMS}")
    query = _parse_query(parts.query, shown)
    if not scheme.startswith("dicomweb"):
        return _parse_dimse(parts, host, port, query)
    if "@" in parts.netloc:
        raise AddressError(
            f"{shown}: holds credentials, which all users of this machine can see; need them in "
            "the environment: MONAI_DENTAL_TOKEN"
        )
    url = f"{scheme.removeprefix('dicomweb+')}://{parts.netloc}{parts.path.rstrip('/')}"
    return DicomwebAddress(url, query)


def with_tls(address: _AddressT, files: TlsFiles | None) -> _AddressT:
    """Return an address with our files for TLS if it needs them.

    Raises:
        AddressError: It needs them, but there are none.
    """
    if not isinstance(address, DimseAddress) or not address.is_tls:
        return address
    if files is None:
        raise AddressError(f"{address}: need tls-cert, tls-key and tls-ca for TLS")
    return dataclasses.replace(address, tls=files)


def queries(address: Address) -> Iterator[dict[str, str]]:
    """Yield the queries of an address, each with one value for each keyword.

    DICOM has no "or" except for UIDs (PS3.4 C.2.2.2): a search for two modalities is two searches.
    """
    keywords = [keyword for keyword, _ in address.query]
    for values in itertools.product(*(values for _, values in address.query)):
        yield dict(zip(keywords, values, strict=True))


def _parse_dimse(
    parts: urllib.parse.SplitResult,
    host: str,
    port: int | None,
    query: tuple[tuple[str, tuple[str, ...]], ...],
) -> DimseAddress:
    user, at, _ = parts.netloc.rpartition("@")
    shown = f"{parts.scheme}://AE@{parts.netloc.rpartition('@')[2]}"
    if ":" in user:
        raise AddressError(f"{shown}: has a password, but DIMSE uses none; need {_FORMS}")
    title = urllib.parse.unquote(user)
    if not at or not is_ae_title(title):
        raise AddressError(
            f"{shown}: need the called AE title before the '@': 1 to 16 ASCII characters"
        )
    if not port:
        raise AddressError(f"{shown}: has no port; need {_FORMS}, such as …:11112 or …:104")
    if parts.path not in ("", "/"):
        raise AddressError(f"{shown}: has a path; need {_FORMS}")
    return DimseAddress(title.strip(), host, port, query, parts.scheme == "dimse+tls")


def is_ae_title(text: str) -> bool:
    """Return whether a text can be an AE title: 1 to 16 characters, no backslash (PS3.5 6.2)."""
    is_text = text.isascii() and text.isprintable() and "\\" not in text
    return is_text and 1 <= len(text.strip()) <= 16


def _parse_query(text: str, shown: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not text:
        return ()
    try:
        pairs = urllib.parse.parse_qsl(
            text, keep_blank_values=True, strict_parsing=True, errors="strict",
            max_num_fields=_MAX_KEYS,
        )  # fmt: skip
    except ValueError as error:
        raise AddressError(
            f"{shown}: the query cannot be read; need KEYWORD=VALUE&KEYWORD=VALUE…, "
            f"percent-encoded in UTF-8, at most {_MAX_KEYS}"
        ) from error
    found: dict[str, tuple[str, ...]] = {}
    for keyword, value in pairs:
        _check_keyword(keyword, shown)
        if not value or not value.isprintable():
            raise AddressError(f"{shown}: {keyword} has no printable value")
        found[keyword] = tuple(dict.fromkeys((*found.get(keyword, ()), value)))
    return tuple(found.items())


def _check_keyword(keyword: str, shown: str) -> None:
    tag = tag_for_keyword(keyword) if keyword.isidentifier() else None
    if tag is None:  # not quoted: it can be a value whose keyword was forgotten
        raise AddressError(
            f"{shown}: the query has a key that is not a keyword of the DICOM data dictionary; "
            "need keywords such as Modality or StudyDate (PS3.6)"
        )
    is_usable = tag >> 16 > 2 and dictionary_VR(tag) not in _NO_KEYS
    if keyword in _OURS or not is_usable or dictionary_is_retired(tag):
        raise AddressError(f"{shown}: {keyword} cannot be searched for; need another key")
