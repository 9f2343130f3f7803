"""A real archive that commits to keeping what a node forwards, and may do nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import pytest
from pydicom import Dataset
from pynetdicom import AE

from monai_dental.cli import main
from monai_dental.node.receiver_limits import BoundedDimse
from monai_dental.pacs.dimse.association import VERIFICATION
from monai_dental.pacs.dimse.commitment import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE


def test_archive_that_knows_the_node_commits_itself(
    make_orthanc, make_node, make_file, dcmtk, capfd
) -> None:
    archive = make_orthanc()
    node = make_node(f"ARCHIVE@127.0.0.1:{archive.dicom_port}")
    modality = {"AET": "DENOISE", "Host": "127.0.0.1", "Port": node.port}
    archive.call("/modalities/node", json.dumps(modality).encode(), method="PUT")
    node.start()

    files = [make_file(number) for number in (0, 2)]
    sent = dcmtk("dcmsend", "-aet", "DCMSEND", "-aec", "DENOISE", "127.0.0.1", node.port, *files)
    assert sent.returncode == 0, sent.stderr
    node.wait_for(lambda metrics: metrics['instances{state="forwarded"}'] == len(files))

    assert "INFO the archive commits to keeping what arrives\n" in node.log
    assert "no storage commitment" not in node.log
    assert len(archive.files()) == len(files)
    assert main(["node-status", str(node.spool)]) == 0
    assert "forwarded 2: proven by storage commitment\n" in capfd.readouterr().out

    # It may report, and send nothing.
    refused = dcmtk(
        "storescu", "-aet", "ARCHIVE", "-aec", "DENOISE", "127.0.0.1", node.port, make_file(10)
    )
    assert refused.returncode != 0
    assert node.metrics()["received_total"] == len(files)


def commitment_entity(title: str, node: Any) -> Any:
    """An association of somebody who would report."""
    entity = AE(title)
    entity.add_requested_context(STORAGE_COMMITMENT)
    entity.add_requested_context(VERIFICATION)
    return entity.associate("127.0.0.1", node.port, ae_title="DENOISE")


@pytest.fixture
def node(make_node: Callable[..., Any]) -> Any:
    made = make_node("ARCHIVE@127.0.0.1:1")
    made.start()
    return made


def test_only_the_archive_may_report(node) -> None:
    for title, is_offered in (("ARCHIVE", True), ("SENDER", False)):
        association = commitment_entity(title, node)
        offered = {str(context.abstract_syntax) for context in association.accepted_contexts}
        assert (STORAGE_COMMITMENT in offered) == is_offered
        association.release()


def test_report_on_nothing_that_was_asked_is_survived(node) -> None:
    association = commitment_entity("ARCHIVE", node)
    for uid, size, status in (("1.2.3", 0, 0x0000), ("MARKER", 0, 0x0115), ("1.2", 1000, 0x0115)):
        item = Dataset()
        item.ReferencedSOPInstanceUID = "1." + "2" * 60
        report = Dataset()
        report.TransactionUID = uid
        report.ReferencedSOPSequence = [item] * size
        answer, _ = association.send_n_event_report(
            report, 1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
        )
        assert answer.Status == status
    association.release()
    assert "MARKER" not in node.log


def test_endless_report_ends_its_association(node) -> None:
    association = commitment_entity("ARCHIVE", node)
    report = Dataset()
    report.TransactionUID = "1.2.3"
    report.add_new(0x00091010, "OB", bytes(1 << 20))

    answer, _ = association.send_n_event_report(
        report, 1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
    )

    assert "Status" not in answer
    assert "sent an endless message that is not an instance" in node.log


def test_second_report_before_the_first_is_answered_ends_the_association(caplog) -> None:
    association = MagicMock()
    dimse = BoundedDimse(association, MagicMock(), 1)
    for _ in range(3):
        dimse.begin_report()
        dimse.end_report()
    assert not association.dul.event_queue.put.called

    dimse.begin_report()
    dimse.begin_report()

    association.dul.event_queue.put.assert_called_once_with("Evt19")
    assert "sends without waiting for answers" in caplog.text
