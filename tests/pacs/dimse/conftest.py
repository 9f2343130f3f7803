"""Application entities that misbehave, and clients that store into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, StoragePresentationContexts, evt

from monai_dental.pacs import DimseAddress
from monai_dental.pacs.dimse.association import VERIFICATION
from monai_dental.pacs.dimse.commitment import STORAGE_COMMITMENT, Commitments
from monai_dental.pacs.dimse.query_scu import STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE
from monai_dental.pacs.dimse.target import DimseTarget


class FakePacs:
    """A PACS in this process, whose responses the test defines."""

    def __init__(self) -> None:
        self.stores: list[str] = []
        self.held: dict[str, Dataset] = {}
        self.on_store: Callable[[Any], int] = self.keep
        self.on_action: Callable[[Any], int] = lambda event: 0x0000
        self.searches = 0
        self.associations = 0
        self.entity = AE("FAKE")
        for context in StoragePresentationContexts:
            self.entity.add_supported_context(
                context.abstract_syntax, ALL_TRANSFER_SYNTAXES, scu_role=True, scp_role=True
            )
        services = (VERIFICATION, STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE)
        for uid in (*services, STORAGE_COMMITMENT):
            self.entity.add_supported_context(uid)

    def keep(self, event: Any) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        self.held.setdefault(str(dataset.SOPInstanceUID), dataset)
        return 0x0000

    def start(self) -> DimseAddress:
        handlers = [
            (evt.EVT_C_STORE, self._store), (evt.EVT_C_FIND, self._find),
            (evt.EVT_C_GET, self._get), (evt.EVT_ACCEPTED, self._accept),
            (evt.EVT_N_ACTION, self._act), (evt.EVT_C_MOVE, self._move),
        ]  # fmt: skip
        server = self.entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        return DimseAddress("FAKE", "127.0.0.1", server.socket.getsockname()[1])

    def stop(self) -> None:
        self.entity.shutdown()

    def _accept(self, event: Any) -> None:
        self.associations += 1

    def _store(self, event: Any) -> int:
        self.stores.append(str(event.request.AffectedSOPInstanceUID))
        return self.on_store(event)

    def _act(self, event: Any) -> tuple[int, None]:
        return self.on_action(event), None

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        self.searches += 1
        uid = str(event.identifier.SOPInstanceUID)
        if uid in self.held:
            match = Dataset()
            match.SOPInstanceUID = uid
            yield 0xFF00, match

    def _move(self, event: Any) -> Iterator[Any]:
        yield None, None  # it knows no destination

    def _get(self, event: Any) -> Iterator[Any]:
        yield 1
        yield 0xFF00, self.held[str(event.identifier.SOPInstanceUID)]


@pytest.fixture
def pacs() -> Iterator[FakePacs]:
    made = FakePacs()
    yield made
    made.stop()


@pytest.fixture
def target(patience: Any) -> Iterator[Callable[..., DimseTarget]]:
    made: list[DimseTarget] = []

    def make(address: DimseAddress, commitments: Commitments | None = None) -> DimseTarget:
        made.append(DimseTarget(address, "TESTER", patience, commitments))
        return made[-1]

    yield make
    for each in made:
        each.close()
