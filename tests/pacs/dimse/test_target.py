"""C-STORE with proof of arrival: to Orthanc, and to application entities that misbehave."""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from archives import SHORT
from pydicom import Dataset, dcmread
from pydicom.uid import ImplicitVRLittleEndian, JPEGLSLossless
from pynetdicom import StoragePresentationContexts

from monai_dental.batch.target import StoredObject
from monai_dental.dicom.derive import encode_dataset
from monai_dental.dicom.quiet import quiet_pydicom
from monai_dental.errors import OutputError, PacsError, PacsUnavailableError
from monai_dental.pacs import DimseAddress
from monai_dental.pacs.dimse.archive import DimseArchive
from monai_dental.pacs.dimse.commitment import STORAGE_COMMITMENT, Commitments
from monai_dental.pacs.dimse.listener import Listener
from monai_dental.pacs.dimse.query_scu import STUDY_ROOT_FIND, STUDY_ROOT_GET
from monai_dental.pacs.dimse.target import DimseTarget
from monai_dental.pacs.parcel import InstanceKey, pack
from monai_dental.pacs.source import FoundInstance


def test_orthanc_holds_what_is_stored(orthanc, target, instance) -> None:
    to = target(orthanc.dimse)
    to.prepare()
    sent = [instance(1), instance(2, transfer_syntax=JPEGLSLossless), instance(3, modality="PX")]

    stored = [to.store(each) for each in sent]

    files = orthanc.files()
    for dataset, each in zip(sent, stored, strict=True):
        uid = str(dataset.SOPInstanceUID)
        assert each.sop_instance_uid == uid
        study_and_series = f"{dataset.StudyInstanceUID}/{dataset.SeriesInstanceUID}"
        assert each.location == f"{study_and_series}/{uid}"
        assert dataset.PixelData in files[uid]
        assert to.find(each) == each
        assert pickle.loads(pickle.dumps(to)).find(each) == each


def test_what_is_gone_is_not_found(orthanc, target, instance) -> None:
    to = target(orthanc.dimse)
    stored = to.store(instance())

    orthanc.clear()

    assert to.find(stored) is None


def test_same_instance_again_changes_nothing(orthanc, target, instance) -> None:
    to = target(orthanc.dimse)

    assert to.store(instance()) == to.store(instance())
    assert len(orthanc.files()) == 1


def test_success_is_no_proof_where_the_archive_kept_other_pixels(
    orthanc, target, instance, picture
) -> None:
    orthanc.add(encode_dataset(instance(stored=picture(12) // 2)))

    with pytest.raises(PacsError, match=r"instance 1\.2\.3\.4\.1: the PACS holds other pixels"):
        target(orthanc.dimse).store(instance(stored=picture(12)))


def test_nothing_else_waits_while_the_pacs_takes_its_time(pacs, target, instance) -> None:
    """Another thread can use pydicom at the same time, whatever is requested of the PACS."""
    waited: list[bool] = []

    def use() -> None:
        with quiet_pydicom():
            pass

    def look(answer: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def handle(event: Any) -> Any:
            other = threading.Thread(target=use, daemon=True)
            other.start()
            other.join(20)
            waited.append(other.is_alive())
            return answer(event)

        return handle

    pacs.on_store = look(pacs.keep)
    pacs._find, pacs._get = look(pacs._find), look(pacs._get)

    assert target(pacs.start()).store(instance())

    assert waited == [False, False, False]


def test_association_is_used_again_and_holds_just_what_is_sent(pacs, target, instance) -> None:
    to = target(pacs.start())
    proposed = []
    pacs.on_store = lambda event: (
        proposed.append(len(event.assoc.requestor.requested_contexts)) or pacs.keep(event)
    )

    for number in range(3):
        to.store(instance(number))

    assert proposed == [3, 3, 3]  # explicit and implicit VR, and C-ECHO
    assert pacs.associations == 2  # one stores, one searches and fetches


def test_refused_instance_fails_alone(pacs, target, instance) -> None:
    to = target(pacs.start())
    pacs.on_store = lambda event: 0xA900
    with pytest.raises(PacsError, match="the PACS refuses it: status A900") as caught:
        to.store(instance(1))
    assert not isinstance(caught.value, OutputError)

    pacs.on_store = pacs.keep
    assert to.store(instance(2)).sop_instance_uid == "1.2.3.4.2"


def test_pacs_without_room_is_tried_again_and_then_stops_the_run(pacs, target, instance) -> None:
    to = target(pacs.start())
    answers = iter([0xA700, 0xA700])
    pacs.on_store = lambda event: next(answers, None) or pacs.keep(event)
    assert to.store(instance(1))
    assert len(pacs.stores) == 3

    pacs.on_store = lambda event: 0xA700
    with pytest.raises(PacsUnavailableError, match="is out of resources: status A700"):
        to.store(instance(2))
    assert len(pacs.stores) == 7


def test_association_that_breaks_off_in_mid_instance_is_opened_anew(pacs, target, instance) -> None:
    to = target(pacs.start())
    breaks = iter([True, True])

    def store(event: Any) -> int:
        if next(breaks, False):
            event.assoc.abort()
            return 0x0000
        return pacs.keep(event)

    pacs.on_store = store
    assert to.store(instance(1))
    assert len(pacs.stores) == 3


def test_instance_that_breaks_every_association_fails(pacs, target, instance) -> None:
    to = target(pacs.start())

    def store(event: Any) -> int:
        event.assoc.abort()
        return 0x0000

    pacs.on_store = store
    with pytest.raises(PacsError, match="broke the association off, 3 times") as caught:
        to.store(instance(1))
    assert not isinstance(caught.value, OutputError)


@pytest.mark.parametrize("is_broken_off", [True, False])
def test_pacs_that_fails_with_five_instances_on_end_stops_the_run(
    pacs, target, instance, is_broken_off
) -> None:
    to = target(pacs.start())

    def store(event: Any) -> int:
        if is_broken_off:
            event.assoc.abort()
        return 0x0110

    def fail(*numbers: int) -> None:
        for number in numbers:
            with pytest.raises(PacsError, match="broke|status 0110") as caught:
                to.store(instance(number))
            assert not isinstance(caught.value, OutputError)

    pacs.on_store = store
    fail(1, 2, 3, 4, 4)
    pacs.on_store = pacs.keep
    assert to.store(instance(5))
    pacs.on_store = store
    fail(1, 2, 3, 4, 1)
    with pytest.raises(PacsUnavailableError, match="the same with 5 instances in a row"):
        to.store(instance(6))


def test_instance_that_is_taken_but_not_kept_fails(pacs, target, instance) -> None:
    to = target(pacs.start())
    pacs.on_store = lambda event: 0x0000

    with pytest.raises(PacsError, match="accepted it, but a query does not find it"):
        to.store(instance(1))


def test_duplicate_is_no_failure_where_the_pacs_has_it(pacs, target, instance) -> None:
    to = target(pacs.start())
    pacs.on_store = lambda event: pacs.keep(event) or 0x0111

    assert to.store(instance(1))


def test_coercion_of_elements_is_no_failure(pacs, target, instance) -> None:
    def store(event: Any) -> int:
        pacs.keep(event)
        pacs.held["1.2.3.4.1"].PatientID = "OTHER"
        return 0xB000

    to = target(pacs.start())
    pacs.on_store = store

    assert to.store(instance(1))


def test_search_has_to_do_where_fetching_is_not_offered(pacs, target, instance) -> None:
    pacs.entity.remove_supported_context(STUDY_ROOT_GET)

    assert target(pacs.start()).store(instance(1))


@pytest.mark.parametrize("proof", ["status", "ask-back", "commitment"])
def test_archive_that_can_only_store_is_enough_where_that_is_said(
    pacs, instance, patience, proof
) -> None:
    for uid in (STUDY_ROOT_FIND, STUDY_ROOT_GET, STORAGE_COMMITMENT):
        pacs.entity.remove_supported_context(uid)
    commitments = Commitments("FAKE", wait_s=0.1, pause_s=3600)
    to = DimseTarget(pacs.start(), "TESTER", patience, commitments, proof=proof)

    if proof == "status":
        assert to.send(pack(instance())) == "status"
    else:  # the archive is at fault, no instance: none fails of it, and /health tells
        said = {"ask-back": "neither storage commitment nor C-FIND", "commitment": "offers no"}
        with pytest.raises(PacsUnavailableError, match=said[proof]):
            to.send(pack(instance()))
    to.close()


def test_archive_that_gives_nothing_is_told_before_the_search(pacs) -> None:
    pacs.entity.remove_supported_context(STUDY_ROOT_GET)
    archive = DimseArchive(pacs.start(), "TESTER", SHORT)

    with pytest.raises(PacsUnavailableError, match="need it to fetch instances, or --move-port"):
        next(archive.connect().search())


def test_archive_that_does_not_know_where_to_move_instances_is_told_of(pacs) -> None:
    address = pacs.start()
    listener = Listener(address, "TESTER", 0, max_bytes=1 << 20, host="127.0.0.1")
    archive = DimseArchive(address, "TESTER", SHORT, listener)
    found = FoundInstance(InstanceKey("1.2", "1.3", "1.4"))
    client = archive.connect()

    said = f"does not know TESTER as a destination of C-MOVE; .* port {listener.port}"
    with pytest.raises(PacsUnavailableError, match=said):
        client.fetch(found, io.BytesIO(), 1 << 20)
    client.close()
    archive.close()


def test_archive_that_cannot_be_asked_is_not_one_that_is_away(pacs, target) -> None:
    for uid in (STUDY_ROOT_FIND, STUDY_ROOT_GET):
        pacs.entity.remove_supported_context(uid)

    with pytest.raises(PacsError, match="does not offer C-FIND") as caught:
        target(pacs.start()).find(StoredObject("1.2/1.3/1.4", "1.4", "", ""))
    assert not isinstance(caught.value, OutputError)


def test_endless_answer_is_cut_off(pacs, target, instance, picture) -> None:
    to = target(pacs.start())
    large = instance(1, stored=picture(16, rows=3000, columns=2000))  # 12 MB for 2 kB

    def store(event: Any) -> int:
        pacs.held["1.2.3.4.1"] = large
        return 0x0000

    pacs.on_store = store
    with pytest.raises(PacsError, match=r"is larger than \d MiB, the limit"):
        to.store(instance(1))


def test_unsupported_class_or_syntax_fails_the_instance(pacs, target, instance) -> None:
    for context in StoragePresentationContexts:
        pacs.entity.remove_supported_context(context.abstract_syntax)
    with pytest.raises(PacsError, match="does not accept .* in JPEG-LS Lossless") as caught:
        target(pacs.start()).store(instance(1, transfer_syntax=JPEGLSLossless))
    assert not isinstance(caught.value, OutputError)


def test_archive_of_implicit_vr_alone_gets_the_bytes_of_text(pacs, target, instance) -> None:
    item = Dataset()
    item.PatientID = "0815X"
    source = instance(1, PatientID="0815X", ReferencedPatientSequence=[item])
    source.private_block(0x0009, "GEMS_GENIE_1", create=True).add_new(0x10, "LO", "0815X")
    content = encode_dataset(source)
    assert content.count(b"0815X ") == 3
    for context in StoragePresentationContexts:
        pacs.entity.remove_supported_context(context.abstract_syntax)
        pacs.entity.add_supported_context(context.abstract_syntax, ImplicitVRLittleEndian)
    sent = []
    pacs.on_store = lambda event: sent.append(event.request.DataSet.getvalue()) or pacs.keep(event)
    to = target(pacs.start())

    for letter in (b"\xc4", b"\xd6"):  # Latin-1, though the character set is UTF-8
        to.store(dcmread(io.BytesIO(content.replace(b"0815X", b"0815" + letter))))

    assert [each.count(b"\x06\0\0\x000815\xc4 ") for each in sent] == [3, 0]
    assert sent[1] == sent[0].replace(b"0815\xc4", b"0815\xd6")
    assert pacs.held["1.2.3.4.1"].PixelData == source.PixelData


def test_wrong_ae_title_is_told_at_once(pacs, orthanc, target) -> None:
    wrong = DimseAddress("NOBODY", "127.0.0.1", orthanc.dicom_port)
    with pytest.raises(PacsUnavailableError, match="called ae title not recognised"):
        target(wrong).prepare()

    pacs.entity.require_calling_aet = ["SOMEONE"]
    with pytest.raises(PacsUnavailableError, match="AE title TESTER: calling ae title not"):
        target(pacs.start()).prepare()


def test_nobody_there(pacs, target, instance) -> None:
    address = pacs.start()
    pacs.stop()

    with pytest.raises(PacsUnavailableError, match="cannot be reached|does not answer"):
        target(address).prepare()
    with pytest.raises(PacsUnavailableError):
        target(address).store(instance())
    with pytest.raises(PacsUnavailableError):
        target(address).find(StoredObject("1.2/1.3/1.4", "1.4", "", ""))


def test_instance_without_study_is_not_sent(pacs, target, instance) -> None:
    to = target(pacs.start())
    with pytest.raises(PacsError, match=r"\(0020,000D\) Study Instance UID") as caught:
        to.store(instance(StudyInstanceUID="MARKER"))
    assert "MARKER" not in str(caught.value)
    assert pacs.stores == []
