from __future__ import annotations

from pathlib import Path

import pytest

from monai_dental.errors import AddressError, PacsUnavailableError
from monai_dental.pacs import DicomwebAddress, DimseAddress, is_pacs, parse_address
from monai_dental.pacs.address import queries, with_tls
from monai_dental.pacs.dimse.target import DimseTarget
from monai_dental.pacs.tls import TlsFiles


def test_dicomweb_address_has_base_and_query() -> None:
    address = parse_address(
        "dicomweb+https://pacs.example:8443/dicom-web/?Modality=IO&StudyDate=20260101-"
    )

    assert address == DicomwebAddress(
        "https://pacs.example:8443/dicom-web",
        (("Modality", ("IO",)), ("StudyDate", ("20260101-",))),
    )


def test_dimse_address_has_ae_title_host_and_port() -> None:
    assert parse_address("dimse://OLD%20PACS@10.0.0.7:104") == DimseAddress(
        "OLD PACS", "10.0.0.7", 104
    )
    assert parse_address("dimse://A@[::1]:11112?PatientID=a%26b") == DimseAddress(
        "A", "::1", 11112, (("PatientID", ("a&b",)),)
    )


@pytest.mark.parametrize(
    "text",
    [
        "dicomweb+http://127.0.0.1:8042/dicom-web",
        "dimse://A%20B@[::1]:104",
        "dimse+tls://A@h:2762",
    ],
)
def test_address_is_shown_as_it_was_written_without_its_query(text: str) -> None:
    assert str(parse_address(text)) == text
    assert str(parse_address(f"{text}?PatientName=MARKER")) == text


def test_repeated_key_stands_for_several_queries() -> None:
    address = parse_address("dimse://A@h:1?Modality=IO&StudyDate=20260101&Modality=PX&Modality=IO")

    assert list(queries(address)) == [
        {"Modality": "IO", "StudyDate": "20260101"},
        {"Modality": "PX", "StudyDate": "20260101"},
    ]


def test_tls_needs_our_files() -> None:
    files = TlsFiles(Path("a.crt"), Path("a.key"), Path("ca.crt"))
    address = parse_address("dimse+tls://A@h:2762")

    assert with_tls(address, files) == DimseAddress("A", "h", 2762, is_tls=True, tls=files)
    with pytest.raises(AddressError, match="dimse\\+tls://A@h:2762: need tls-cert"):
        with_tls(address, None)
    with pytest.raises(PacsUnavailableError, match="no files for TLS"):  # never in the clear
        DimseTarget(address).prepare()
    for text in ("dimse://A@h:104", "dicomweb+https://h/x"):
        assert with_tls(parse_address(text), files) == parse_address(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dicomweb+ftp://h/x", "a known scheme"),
        ("dimse+ssl://A@h:1", "a known scheme"),
        ("dicomweb+https:///x", "no host"),
        ("dicomweb+https://h:MARKER/x", "cannot be read"),
        ("dicomweb+https://h/a b", "blanks"),
        ("dicomweb+https://h/x#MARKER", "after '#'"),
        ("dicomweb+https://MARKER:MARKER@h/x", "holds credentials"),
        ("dicomweb+https://MARKER@h/x", "holds credentials"),
        ("dimse://AE:MARKER@h:1", "has a password"),
        ("dimse://h:1", "called AE title"),
        ("dimse://@h:1", "called AE title"),
        ("dimse://%20@h:1", "called AE title"),
        ("dimse://SEVENTEEN_LETTERS@h:1", "called AE title"),
        ("dimse://A%5CB@h:1", "called AE title"),
        ("dimse://A%C3%84@h:1", "called AE title"),
        ("dimse://A@h", "has no port"),
        ("dimse://A@h:0", "has no port"),
        ("dimse://A@h:65536", "cannot be read"),
        ("dimse://A@h:1/studies", "has a path"),
        ("dimse://A@h:1?Modality", "the query cannot be read"),
        ("dimse://A@h:1?Modality=%FF", "the query cannot be read"),
        ("dimse://A@h:1?Modality=", "Modality has no printable value"),
        ("dimse://A@h:1?PatientID=MARKER%0A", "PatientID has no printable value"),
        ("dimse://A@h:1?MARKER=IO", "not a keyword of the DICOM data dictionary"),
        ("dimse://A@h:1?limit=3", "not a keyword of the DICOM data dictionary"),
        ("dimse://A@h:1?QueryRetrieveLevel=STUDY", "cannot be searched for"),
        ("dimse://A@h:1?PixelData=1", "cannot be searched for"),
        ("dimse://A@h:1?TransferSyntaxUID=1.2", "cannot be searched for"),
        ("dimse://A@h:1?ReferencedStudySequence=1", "cannot be searched for"),
    ],
)
def test_what_is_no_address_is_refused_and_not_quoted(text: str, said: str) -> None:
    with pytest.raises(AddressError, match=said) as caught:
        parse_address(text)
    assert "MARKER" not in str(caught.value)


def test_paths_are_no_addresses() -> None:
    assert is_pacs("dimse://A@h:1")
    assert is_pacs("dicomweb+https://h")
    assert not is_pacs("/data/dimse")
    assert not is_pacs("dicomweb/in")
