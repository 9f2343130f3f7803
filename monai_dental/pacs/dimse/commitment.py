"""Storage commitment: an archive's promise to keep an instance (PS3.4 annex J, push model)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from pydicom import Dataset
from pydicom.uid import generate_uid

from monai_dental.dicom.identity import is_uid
from monai_dental.dicom.quiet import PYDICOM_ERRORS, quiet_pydicom
from monai_dental.errors import PacsUnavailableError
from monai_dental.pacs.parcel import Parcel

STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"
STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
REQUEST = 1
"""The action type of a request (PS3.4 table J.3-1)."""

_SUCCESS, _INVALID_ARGUMENT = 0x0000, 0x0115
_REPORTS = (1, 2)  # all committed; some are not (PS3.4 J.3.3)
_LONGEST_REPORT = 1 << 16  # in bytes; a report is about one instance
_WAIT_S, _PAUSE_S = 5.0, 600.0


class StoppedError(PacsUnavailableError):
    """The wait for a report was stopped."""


class Commitments:
    """Requests for storage commitment, and their reports, which may arrive on any association.

    A request waits a short time for its report. If none arrives, the archive cannot reach us or is
    slow: then no requests are made for some minutes, and arrival is proven in other ways.

    Args:
        ae_title: The archive's AE title, under which it sends reports.
        wait_s: How long to wait for a report, in seconds.
        pause_s: How long to make no requests after a missing report, in seconds.
        say: Logs one line; by default nothing is logged.
    """

    def __init__(
        self,
        ae_title: str,
        wait_s: float = _WAIT_S,
        pause_s: float = _PAUSE_S,
        *,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.ae_title, self._wait_s, self._pause_s = ae_title, wait_s, pause_s
        self._tell = say
        self._reported = threading.Condition()
        self._open: dict[str, set[str] | None] = {}
        self._pause_end = 0.0
        self._said = ""
        self._is_stopped = False

    @property
    def is_paused(self) -> bool:
        """Whether requests are paused."""
        return time.monotonic() < self._pause_end

    def pause(self, reason: str) -> None:
        """Make no requests for some minutes, and log why."""
        self._pause_end = time.monotonic() + self._pause_s
        self._say(f"no storage commitment: {reason}; the archive is queried instead")

    def stop(self) -> None:
        """Stop waiting for reports."""
        with self._reported:
            self._is_stopped = True
            self._reported.notify_all()

    def ask(self, send: Callable[[str], None]) -> set[str] | None:
        """Request commitment, and wait for the report.

        Args:
            send: Sends the request with the given Transaction UID; its errors are raised here.

        Returns:
            The committed SOP Instance UIDs, or None if no report arrived.

        Raises:
            StoppedError: The wait was stopped.
        """
        transaction = str(generate_uid(prefix=None))
        with self._reported:
            self._open[transaction] = None
        try:
            send(transaction)
            with self._reported:
                self._reported.wait_for(
                    lambda: self._is_stopped or self._open[transaction] is not None, self._wait_s
                )
                committed = self._open[transaction]
        finally:
            with self._reported:
                del self._open[transaction]
        if committed is None and self._is_stopped:
            raise StoppedError("the node stops before the archive has reported")
        if committed:
            self._say("the archive commits to keeping what arrives")
        return committed

    def report(self, event: Any) -> tuple[int, None]:
        """Receive a report; pynetdicom's handler of EVT_N_EVENT_REPORT.

        Returns:
            The status of PS3.7 10.1.1.1.8 and no data set. Reports that nobody waits for any longer
            are accepted, too, and change nothing.
        """
        content = event.request.EventInformation
        if content is None or len(content.getvalue()) > _LONGEST_REPORT:
            return _INVALID_ARGUMENT, None
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
            if transaction in self._open and self._open[transaction] is None:
                self._open[transaction] = committed
                self._reported.notify_all()
        return _SUCCESS, None

    def _say(self, text: str) -> None:
        """Log a line, unless it repeats the last one."""
        if text != self._said:
            self._said = text
            self._tell(text)


def make_request(parcel: Parcel, transaction: str) -> Dataset:
    """Return the action information of a request (PS3.4 table J.3-1)."""
    item = Dataset()
    item.ReferencedSOPClassUID = parcel.sop_class_uid
    item.ReferencedSOPInstanceUID = parcel.key.sop_instance_uid
    request = Dataset()
    request.TransactionUID = transaction
    request.ReferencedSOPSequence = [item]
    return request
