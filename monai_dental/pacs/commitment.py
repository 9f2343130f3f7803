"""Storage commitment: an archive's word that it keeps an instance (PS3.4 annex J, push model)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from pydicom import Dataset
from pydicom.uid import generate_uid

from monai_dental.batch.tree import is_uid
from monai_dental.dicom.quiet import PYDICOM_ERRORS, quiet_pydicom
from monai_dental.pacs.copies import Parcel
from monai_dental.pacs.node_log import say

STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
REQUEST = 1
"""The action type of a request, as of PS3.4 table J.3-1."""

_SUCCESS, _INVALID_ARGUMENT = 0x0000, 0x0115
_REPORTS = (1, 2)  # all committed; some are not (PS3.4 J.3.3)
_WAIT_S = 15.0


class Commitments:
    """Requests for commitment, and the reports on them, which come on whatever association.

    One who asks waits a while for the report. Where none comes the archive cannot reach us, or
    takes hours for it: nobody is asked any more, and what arrives is proven otherwise.

    Args:
        ae_title: The archive's, under which it may call to report.
        wait_s: How long to wait for a report, in seconds.
    """

    def __init__(self, ae_title: str, wait_s: float = _WAIT_S) -> None:
        self.ae_title, self._wait_s = ae_title, wait_s
        self._reported = threading.Condition()
        self._open: dict[str, set[str] | None] = {}
        self._is_given_up = self._is_told = False

    @property
    def is_given_up(self) -> bool:
        """Whether nobody is asked any more."""
        return self._is_given_up

    def give_up(self, reason: str) -> None:
        """Ask nobody any more.

        Args:
            reason: Why, for the log.
        """
        self._is_given_up = True
        say(logging.INFO, f"no storage commitment, instances are asked back: {reason}")

    def ask(self, send: Callable[[str], None]) -> set[str] | None:
        """Ask for commitment, and wait for the report.

        Args:
            send: Sends the request under the Transaction UID that it is given; what it raises is
                raised here.

        Returns:
            The SOP Instance UIDs that are committed; None where no report came.
        """
        transaction = str(generate_uid(prefix=None))
        with self._reported:
            self._open[transaction] = None
        try:
            send(transaction)
            with self._reported:
                self._reported.wait_for(lambda: self._open[transaction] is not None, self._wait_s)
                committed = self._open[transaction]
        finally:
            with self._reported:
                del self._open[transaction]
        if committed and not self._is_told:
            self._is_told = True
            say(logging.INFO, "the archive commits itself to keep what arrives")
        return committed

    def report(self, event: Any) -> tuple[int, None]:
        """Take a report; pynetdicom's handler of EVT_N_EVENT_REPORT.

        Returns:
            The status of PS3.7 10.1.1.1.8 and no data set. Reports on what nobody waits for any
            more are taken too, and change nothing.
        """
        try:
            with quiet_pydicom():
                information = event.event_information
                transaction = str(information.TransactionUID)
                items = information.get("ReferencedSOPSequence") or ()
                committed = {str(item.ReferencedSOPInstanceUID) for item in items}
        except PYDICOM_ERRORS:
            return _INVALID_ARGUMENT, None
        if event.event_type not in _REPORTS or not is_uid(transaction):
            return _INVALID_ARGUMENT, None
        with self._reported:
            if transaction in self._open:
                self._open[transaction] = committed
                self._reported.notify_all()
        return _SUCCESS, None


def make_request(parcel: Parcel, transaction: str) -> Dataset:
    """The action information of a request (PS3.4 table J.3-1).

    Args:
        parcel: What the archive shall keep.
        transaction: The Transaction UID.
    """
    item = Dataset()
    item.ReferencedSOPClassUID = parcel.sop_class_uid
    item.ReferencedSOPInstanceUID = parcel.key.sop_instance_uid
    request = Dataset()
    request.TransactionUID = transaction
    request.ReferencedSOPSequence = [item]
    return request
