"""`monai-dental batch` from and to archives: wrong usage is reported before any work."""

from __future__ import annotations

import re

import pytest

from monai_dental.cli import main


@pytest.mark.parametrize(
    ("source", "output", "options", "said"),
    [
        ("in", "dimse://A@h:1", [], "need --work DIR"),
        ("in", "dimse://A@h:1?Modality=IO", ["--work", "w"], "an output cannot have a query"),
        ("in", "out", ["--work", "w"], "--work is for an output in a PACS"),
        ("dimse://A@127.0.0.1:1", "out", [], "cannot be reached|does not answer"),
        ("dimse://A@h:1", "out", ["--masks", "in"], "masks need an input folder"),
        ("dimse+tls://A@h:1", "out", [], "need tls-cert, tls-key and tls-ca for TLS"),
        ("dimse+tls://A@h:1", "out", ["--tls-cert", "in"], "or none of the three"),
        (
            "in",
            "out",
            ["--tls-cert", "a", "--tls-key", "b", "--tls-ca", "c"],
            r"need an address that begins with dimse\+tls://",
        ),
    ],
)
def test_wrong_usage_is_told(
    source, output, options, said, batch, tmp_path, monkeypatch, capfd
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()

    assert main(["batch", source, "--output", output, *options]) == 2

    assert re.search(said, capfd.readouterr().err)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "w").exists()


def test_address_that_is_none_is_wrong_usage(capfd) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["batch", "in", "--output", "dimse://user:MARKER@h:1"])
    error = capfd.readouterr().err
    assert "has a password" in error
    assert "MARKER" not in error


def test_query_that_finds_nothing_is_told(orthanc, batch, tmp_path, capfd) -> None:
    for place in (orthanc.dimse, orthanc.dicomweb):
        assert batch(f"{place}?PatientID=MARKER", tmp_path / "out") == 2
        error = capfd.readouterr().err
        assert error == f"error: {place}: the query finds no instance\n"
