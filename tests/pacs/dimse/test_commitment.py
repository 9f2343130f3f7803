"""Storage commitment as proof of arrival, and archives that do not give it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from pydicom import Dataset

from monai_dental.errors import PacsError, PacsUnavailableError
from monai_dental.pacs.dimse.commitment import (
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    Commitments,
)


def report(event: Any, committed: bool = True) -> None:
    """Report on a request, over the association that it came on."""
    request = event.action_information
    items = Dataset()
    items.TransactionUID = request.TransactionUID
    items.ReferencedSOPSequence = request.ReferencedSOPSequence if committed else []
    items.FailedSOPSequence = [] if committed else request.ReferencedSOPSequence
    status, _ = event.assoc.send_n_event_report(
        items, 1 if committed else 2, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
    )
    assert status.Status == 0x0000


@pytest.mark.parametrize("moment", ["before the answer", "after it"])
def test_commitment_is_proof_where_it_is_reported(pacs, target, instance, moment) -> None:
    requests = []

    def act(event: Any) -> int:
        requests.append(event.action_information)
        if moment == "after it":
            threading.Timer(0.1, report, (event,)).start()
        else:
            report(event)
        return 0x0000

    pacs.on_action = act
    to = target(pacs.start(), Commitments("FAKE", wait_s=60))

    stored = [to.store(instance(number)) for number in (1, 2)]

    items = [request.ReferencedSOPSequence[0] for request in requests]
    uids = [item.ReferencedSOPInstanceUID for item in items]
    assert uids == [each.sop_instance_uid for each in stored]
    assert items[0].ReferencedSOPClassUID == instance(1).SOPClassUID
    assert len({request.TransactionUID for request in requests}) == 2
    assert pacs.searches == 0


def test_what_the_archive_does_not_commit_to_is_asked_back(pacs, target, instance) -> None:
    commitments = Commitments("FAKE", wait_s=60)
    pacs.on_action = lambda event: report(event, committed=False) or 0x0000
    to = target(pacs.start(), commitments)
    assert to.store(instance(1))
    assert pacs.searches == 1

    pacs.on_store = lambda event: 0x0000
    with pytest.raises(PacsError, match="accepted it, but a query does not find it"):
        to.store(instance(2))
    assert not commitments.is_paused


@pytest.mark.parametrize("fault", ["not offered", "refused", "no report"])
def test_archive_that_does_not_report_is_let_alone_for_a_while(
    pacs, target, instance, fault
) -> None:
    events, said = [], []
    pacs.on_action = lambda event: events.append(event) or (0x0110 * (fault == "refused"))
    if fault == "not offered":
        pacs.entity.remove_supported_context(STORAGE_COMMITMENT)
    commitments = Commitments("FAKE", wait_s=0.1, pause_s=3600, say=said.append)
    to = target(pacs.start(), commitments)

    assert to.store(instance(1))
    assert to.store(instance(2))

    assert pacs.searches == 2
    assert len(events) == (fault != "not offered")
    assert len([line for line in said if "no storage commitment" in line]) == 1
    if fault == "no report":
        report(events[0])  # late: it is taken, and changes nothing


def test_archive_that_was_let_alone_is_asked_again(pacs, target, instance) -> None:
    codes = iter([0x0110, 0x0000])
    pacs.on_action = lambda event: next(codes) or report(event) or 0x0000
    to = target(pacs.start(), Commitments("FAKE", wait_s=60, pause_s=0))

    assert to.store(instance(1))
    assert pacs.searches == 1
    assert to.store(instance(2))
    assert pacs.searches == 1


def test_archive_that_breaks_off_instead_of_committing_is_asked_back(
    pacs, target, instance
) -> None:
    requests = []
    pacs.on_action = lambda event: requests.append(event) or event.assoc.abort() or 0x0000
    to = target(pacs.start(), Commitments("FAKE", wait_s=60))

    for number in (1, 2):
        assert to.store(instance(number))

    assert len(requests) == 1
    assert pacs.searches == 2


def test_stop_ends_the_wait_for_a_report(pacs, target, instance) -> None:
    commitments = Commitments("FAKE", wait_s=600)
    threading.Timer(0.5, commitments.stop).start()

    with pytest.raises(PacsUnavailableError, match="stops before the archive has reported"):
        target(pacs.start(), commitments).store(instance(1))
