"""A PACS that takes instances by C-STORE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydicom import Dataset

from monai_dental.batch.target import StoredObject
from monai_dental.dicom.quiet import quiet_pydicom
from monai_dental.errors import PacsError, PacsUnavailableError
from monai_dental.pacs.address import DimseAddress
from monai_dental.pacs.dimse.association import (
    BrokenOffError,
    BusyError,
    NoRoomError,
    NotOfferedError,
)
from monai_dental.pacs.dimse.commitment import Commitments, StoppedError
from monai_dental.pacs.dimse.query_scu import QueryScu, make_identifier
from monai_dental.pacs.dimse.store_scu import StoreScu
from monai_dental.pacs.parcel import (
    ASK_BACK,
    COMMITMENT,
    COPY,
    LISTED,
    NATIVE,
    STATUS,
    InstanceKey,
    Parcel,
    check_copy,
    pack,
)
from monai_dental.pacs.retry import BRIEF, FaultError, Patience, Streak

AE_TITLE = "MONAI_DENTAL"
"""Our own AE title, unless another is wanted."""

_BREAKS = 3  # an instance that breaks so many associations off is at fault itself
_GROWTH, _MARGIN = 8, 1 << 20  # an archive may give back uncompressed what it got compressed
_T = TypeVar("_T")


class DimseTarget:
    """A PACS as target of derived instances; an `ObjectTarget` and a `ParcelTarget`.

    An instance is stored when the PACS commits itself to keep it, where reports of that can come
    to us; else when it shows it to a C-FIND and gives the same pixels back by C-GET. Where it
    offers no C-GET to us, the C-FIND has to do. Success of the C-STORE alone is no proof, unless
    `proof` says so: an archive may say so and keep what it had under that UID.

    It survives pickling, less the commitments; each process has associations of its own, and each
    is for one thread.

    Args:
        address: The PACS.
        calling_ae_title: Our own AE title, which the PACS may have to know.
        patience: How long we go on where the PACS does not answer.
        commitments: Takes the PACS' reports of storage commitment; None where nobody listens.
        scratch: Folder for what is fetched to be compared; None for the system's own.
        proof: What proves that an instance has arrived: `ASK_BACK`, `COMMITMENT` or `STATUS`.
    """

    def __init__(
        self,
        address: DimseAddress,
        calling_ae_title: str = AE_TITLE,
        patience: Patience | None = None,
        commitments: Commitments | None = None,
        scratch: Path | None = None,
        proof: str = ASK_BACK,
    ) -> None:
        self._scratch, self._proof = scratch, proof
        self.address = address
        self._title, self._patience = calling_ae_title, patience or Patience()
        self._commitments = commitments
        self._store_scu = StoreScu(address, calling_ae_title, commitments)
        self._query_scu = QueryScu(address, calling_ae_title, scratch)
        self._streak = Streak()

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the associations behind."""
        made = (self.address, self._title, self._patience, None, self._scratch, self._proof)
        return DimseTarget, made

    def prepare(self) -> None:
        """Check that the PACS is there and lets us in; within a second or so.

        Raises:
            PacsError: It is not, or does not.
        """
        self._persist(self._store_scu.echo, BRIEF)

    def close(self) -> None:
        """Release the associations."""
        self._store_scu.close()
        self._query_scu.close()

    def store(self, derived: Dataset) -> StoredObject:
        """Send an instance, and see that it has arrived; see `ObjectTarget.store`.

        Raises:
            PacsUnavailableError: The PACS cannot be reached, lets us in no more, has no room, or
                failed with five instances on end.
            PacsError: The PACS refuses the instance, or does not keep it.
            CorruptImageError: The instance cannot be written.
        """
        parcel = pack(derived)
        self.send(parcel)
        return parcel.stored

    def send(self, parcel: Parcel) -> str:
        """Send an instance, and see that it has arrived; see `ParcelTarget.send`."""
        with self._streak.watch(parcel.key.sop_instance_uid):
            self._persist(lambda: self._store_scu.store(parcel))
            if self._proof == STATUS:
                return STATUS
            if self._is_committed(parcel):
                return COMMITMENT
            if self._proof == COMMITMENT:
                self._refuse_uncommitted(parcel)
            return self._prove(parcel)

    def find(self, stored: StoredObject) -> StoredObject | None:
        """Ask whether the PACS still has an instance; see `ObjectTarget.find`.

        Raises:
            PacsError: It does not answer.
        """
        key = InstanceKey.parse(stored.location)
        return stored if self._persist(lambda: _has(self._query_scu, key)) else None

    def _is_committed(self, parcel: Parcel) -> bool:
        commitments = self._commitments
        if commitments is None or commitments.is_paused:
            return False
        try:
            committed = commitments.ask(lambda uid: self._store_scu.commit(parcel, uid))
        except StoppedError:
            raise
        except PacsError as error:
            commitments.pause(str(error))
            return False
        if committed is None:
            commitments.pause("the PACS took the request and did not report on it in time")
            return False
        return parcel.key.sop_instance_uid in committed

    def _refuse_uncommitted(self, parcel: Parcel) -> NoReturn:
        if self._commitments is None or self._commitments.is_paused:
            raise PacsUnavailableError(
                f"{self.address}: makes no storage commitment; need it, or another proof"
            )
        raise PacsError(f"{parcel.name}: the PACS does not commit itself to keep it")

    def _prove(self, parcel: Parcel) -> str:
        syntaxes = {parcel.transfer_syntax_uid, *NATIVE}
        contexts = [(parcel.sop_class_uid, syntax) for syntax in sorted(syntaxes)]
        try:
            # An archive may index what it took only later.
            is_shown = self._patience.until(
                lambda: self._persist(lambda: _has(self._query_scu, parcel.key, contexts))
            )
        except NotOfferedError:  # no instance is at fault
            raise PacsUnavailableError(
                f"{self.address}: takes instances, and offers {self._title} neither storage "
                "commitment nor C-FIND; need one of them as proof, or proof = status of a node"
            ) from None
        if not is_shown:
            raise PacsError(f"{parcel.name}: the PACS took it, but does not show it")
        max_bytes = _GROWTH * parcel.size + _MARGIN
        try:
            copy = self._persist(lambda: self._query_scu.get(parcel.key, contexts, max_bytes))
        except NotOfferedError:
            return LISTED
        with copy:
            check_copy(parcel, copy)
        return COPY

    def _persist(self, action: Callable[[], _T], patience: Patience | None = None) -> _T:
        return persist(action, self.address, patience or self._patience)


def persist(action: Callable[[], _T], address: DimseAddress, patience: Patience) -> _T:
    """Do something with a PACS, and again where it does not come about.

    Args:
        action: What to do.
        address: The PACS, for messages.
        patience: How long to go on.

    Returns:
        What the action returns.

    Raises:
        PacsUnavailableError: The PACS did not answer, or had no room, to the last.
        FaultError: It broke off three times.
        PacsError: It refuses.
    """
    breaks = 0

    def is_worth_it(error: BaseException) -> bool:
        nonlocal breaks
        breaks += isinstance(error, BrokenOffError)
        return isinstance(error, (BusyError, NoRoomError, BrokenOffError)) and breaks < _BREAKS

    try:
        return patience.persist(action, is_worth_it)
    except NoRoomError as full:
        raise PacsUnavailableError(str(full)) from None
    except BrokenOffError as broken:
        raise FaultError(f"{address}: {broken}, {breaks} times") from None


def _has(scu: QueryScu, key: InstanceKey, contexts: list[tuple[str, str]] | None = None) -> bool:
    """Whether the PACS shows an instance to a C-FIND."""
    matches = list(scu.find(make_identifier(key), contexts))
    with quiet_pydicom():
        return key.sop_instance_uid in [match.get("SOPInstanceUID") for match in matches]
