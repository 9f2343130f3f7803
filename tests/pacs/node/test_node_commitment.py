"""A real archive that commits itself to keep what a node forwards, and may do nothing else."""

from __future__ import annotations

import json

from pydicom import Dataset
from pynetdicom import AE

from monai_dental.pacs.commitment import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE


def test_archive_that_knows_the_node_commits_itself(
    make_orthanc, make_node, make_file, dcmtk
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

    assert "INFO the archive commits itself to keep what arrives\n" in node.log
    assert "no storage commitment" not in node.log
    assert len(archive.files()) == len(files)

    # It may report, and send nothing.
    path = make_file(10)
    refused = dcmtk(
        "storescu", "-aet", "ARCHIVE", "-aec", "DENOISE", "-R", "127.0.0.1", node.port, path
    )
    assert "instance refused: its AE title is not among those that may send" in node.log
    assert node.metrics()["received_total"] == len(files), refused.stderr


def test_report_on_nothing_that_was_asked_is_survived(make_orthanc, make_node) -> None:
    archive = make_orthanc()
    node = make_node(f"ARCHIVE@127.0.0.1:{archive.dicom_port}")
    node.start()
    entity = AE("ARCHIVE")
    entity.add_requested_context(STORAGE_COMMITMENT)
    association = entity.associate("127.0.0.1", node.port, ae_title="DENOISE")
    for uid, status in (("1.2.3", 0x0000), ("MARKER", 0x0115)):
        report = Dataset()
        report.TransactionUID = uid
        answer, _ = association.send_n_event_report(
            report, 1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
        )
        assert answer.Status == status
    association.release()
    assert "MARKER" not in node.log
