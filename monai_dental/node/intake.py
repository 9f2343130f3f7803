"""Intake of received instances into a node, by any protocol."""

from __future__ import annotations

from collections.abc import Callable

from pydicom.uid import DeflatedExplicitVRLittleEndian

from monai_dental.dicom.head import META
from monai_dental.dicom.identity import is_uid
from monai_dental.dicom.inflate import inflated_size
from monai_dental.node.incoming import IncomingFile
from monai_dental.node.log import Counts
from monai_dental.node.queue_rows import Arrival
from monai_dental.node.spool import Spool
from monai_dental.pacs.dimse.streams import TooLargeError


class Intake:
    """Intake of instances into the spool and the queue; safe to use from several threads.

    Args:
        spool: Where instances are stored.
        max_object: Maximum size of an inflated dataset, in bytes.
        is_known: Returns whether the instance with a key need not be stored again.
        on_received: Called with the key of each instance that was stored, and its `Arrival`.
        counts: The node's counters.
    """

    def __init__(
        self,
        spool: Spool,
        max_object: int,
        *,
        is_known: Callable[[str], bool],
        on_received: Callable[[str, Arrival], None],
        counts: Counts,
    ) -> None:
        self._spool, self.max_object, self.counts = spool, max_object, counts
        self._is_known, self._on_received = is_known, on_received

    def open(self, head: bytes, names: tuple[str, str, str]) -> IncomingFile:
        """Begin to write an instance.

        Args:
            head: The bytes of its file before the dataset.
            names: SOP Class, SOP Instance and Transfer Syntax UID, on which its key depends.
        """
        return self._spool.begin(head, "".join(f"{name}\0" for name in names).encode())

    def take(
        self, incoming: IncomingFile, names: tuple[str, str, str], sender: str, peer: str
    ) -> None:
        """Store an instance: it is on the disk and in the queue when this returns.

        Args:
            incoming: The complete instance; afterwards it is either kept or removed.
            names: As for `open`.
            sender: AE title of the sender; "" if it has none.
            peer: IP address of the sender.

        Raises:
            TooLargeError: It would inflate beyond the limit.
            OutputError: There is not enough space, or it cannot be written.
        """
        sop_class, uid, syntax = names
        key = incoming.key
        try:
            if self._is_known(key):
                self.counts.add("known")
                return
            if syntax == DeflatedExplicitVRLittleEndian:
                self._check_inflated(incoming)
            incoming.keep()
        finally:
            incoming.discard()
        arrival = Arrival(
            uid if is_uid(uid) else "",
            self._spool.study(key),
            sop_class if is_uid(sop_class) else "",
            sender,
            peer,
        )
        self._on_received(key, arrival)
        self.counts.add("received")

    def _check_inflated(self, incoming: IncomingFile) -> None:
        """Refuse a deflated dataset (PS3.5 A.5) that inflates beyond the limit.

        Raises:
            TooLargeError: It does.
        """
        with incoming.open() as stream:
            head = stream.read(META)
            stream.seek(META + int.from_bytes(head[-4:], "little"))
            if inflated_size(stream, self.max_object) > self.max_object:
                raise TooLargeError("inflates beyond the limit")
