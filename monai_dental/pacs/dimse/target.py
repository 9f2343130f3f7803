"""A PACS that stores instances by C-STORE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

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
    LISTED,
    NATIVE,
    STATUS,
    InstanceKey,
    Parcel,
    ParcelTarget,
)
from monai_dental.pacs.retry import BRIEF, FaultError, Patience, Streak

AE_TITLE = "MONAI_DENTAL"
"""Our own default AE title."""

_BREAKS = 3  # if so many associations broke off with it, the instance is at fault
_T = TypeVar("_T")


class DimseTarget(ParcelTarget):
    """A PACS as target of derived instances; an `ObjectTarget` too.

    An instance counts as stored once the PACS commits to keeping it, if its reports can reach us.
    Otherwise a C-FIND must find it, and a C-GET must return the same pixels; if the PACS offers us
    no C-GET, the C-FIND suffices. Success of the C-STORE is no proof unless `proof` says so: an
    archive may answer Success and keep what it had under that UID.

    A target can be pickled, without the commitments; each process then has its own associations. A
    target is for one thread.

    Args:
        address: The PACS.
        calling_ae_title: Our own AE title, which the PACS may need to know.
        patience: How long to retry if the PACS does not answer.
        commitments: Receives the PACS' storage commitment reports; None if nothing listens.
        scratch: Folder for copies that are fetched and compared; None for the system's own.
        proof: Proof that an instance has arrived: `ASK_BACK`, `COMMITMENT` or `STATUS`.
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
        """Pickle without the associations."""
        made = (self.address, self._title, self._patience, None, self._scratch, self._proof)
        return DimseTarget, made

    def prepare(self) -> None:
        """Check that the PACS can be reached and accepts us; takes about a second at most.

        Raises:
            PacsError: It cannot be reached, or does not accept us.
        """
        self._persist(self._store_scu.echo, BRIEF)

    def close(self) -> None:
        """Release the associations."""
        self._store_scu.close()
        self._query_scu.close()

    def send(self, parcel: Parcel) -> str:
        """Send an instance, and check that it has arrived; see `ParcelTarget.send`."""
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
            commitments.pause("the PACS accepted the request, but did not report in time")
            return False
        return parcel.key.sop_instance_uid in committed

    def _refuse_uncommitted(self, parcel: Parcel) -> NoReturn:
        if self._commitments is None or self._commitments.is_paused:
            raise PacsUnavailableError(
                f"{self.address}: offers no storage commitment; need it, or another proof"
            )
        raise PacsError(f"{parcel.name}: the PACS does not commit to keeping it")

    def _prove(self, parcel: Parcel) -> str:
        syntaxes = {parcel.transfer_syntax_uid, *NATIVE}
        contexts = [(parcel.sop_class_uid, syntax) for syntax in sorted(syntaxes)]
        try:
            # An archive may index an instance some time after it has stored it.
            is_shown = self._patience.until(
                lambda: self._persist(lambda: _has(self._query_scu, parcel.key, contexts))
            )
        except NotOfferedError:  # no instance is at fault
            raise PacsUnavailableError(
                f"{self.address}: stores instances, but offers {self._title} neither storage "
                f"commitment nor C-FIND; need one of them as proof, or, for a node, proof = status"
            ) from None
        if not is_shown:
            raise PacsError(f"{parcel.name}: the PACS accepted it, but a query does not find it")
        try:
            copy = self._persist(
                lambda: self._query_scu.get(parcel.key, contexts, parcel.longest_copy)
            )
        except NotOfferedError:
            return LISTED
        with copy:
            return parcel.prove(copy)

    def _persist(self, action: Callable[[], _T], patience: Patience | None = None) -> _T:
        return persist(action, self.address, patience or self._patience)


def persist(action: Callable[[], _T], address: DimseAddress, patience: Patience) -> _T:
    """Do something with a PACS, named in messages, and retry if it fails; return the result.

    Raises:
        PacsUnavailableError: At the last attempt, the PACS did not answer or had no space.
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
    """Return whether a C-FIND finds an instance."""
    matches = list(scu.find(make_identifier(key), contexts))
    with quiet_pydicom():
        return key.sop_instance_uid in [match.get("SOPInstanceUID") for match in matches]
