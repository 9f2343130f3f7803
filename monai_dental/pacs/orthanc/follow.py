"""Following an Orthanc: each stable study is processed as a batch."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from monai_dental.batch.record.manifest import LEFT, MANIFEST, Manifest
from monai_dental.dicom.identity import is_uid
from monai_dental.errors import MonaiDentalError, OutputError, PacsUnavailableError
from monai_dental.files.atomic import write_atomically
from monai_dental.files.lock import hold_lock
from monai_dental.pacs.dicomweb.http import TOKEN, NotThereError
from monai_dental.pacs.orthanc.rest import OrthancAddress, OrthancClient
from monai_dental.pacs.parcel import InstanceKey
from monai_dental.pacs.retry import BRIEF

_LAST, _LOCK = "last-change", "orthanc.lock"
_LOOK_S = 2.0
_LONGEST_WAIT_S = 300.0
_KEPT_S, _TIDY_S = 30 * 86400.0, 3600.0


class Follower:
    """Processing of each study of an Orthanc once it is stable; continues where it stopped.

    A study is stable when no instance of it has arrived for the time set by Orthanc's `StableAge`.
    Orthanc's change StableStudy is not used: it is not sent for instances that were there when
    Orthanc restarted. A study is seen again once our results are in it; then nothing is left to do.
    A folder keeps the number of the change up to which all is done, and a manifest for each study,
    as for a batch. A study's manifest is removed if it has not changed for 30 days.

    Args:
        address: Orthanc's address.
        folder: Folder for the state.
        denoise: Processes what is left of a study, given its instances with Orthanc's identifiers,
            and the folder of its manifest.
        tell: Shows a line to the user.
        look_s: Seconds between two polls.
    """

    def __init__(
        self,
        address: OrthancAddress,
        folder: Path,
        denoise: Callable[[dict[InstanceKey, str], Path], None],
        tell: Callable[[str], None],
        look_s: float = _LOOK_S,
    ) -> None:
        self._address, self._folder = address, folder
        self._denoise, self._tell, self._look_s = denoise, tell, look_s
        self._client: OrthancClient | None = None
        self._seen: int | None = None
        self._pending: dict[str, int] = {}
        self._written: int | None = None
        self._tidied = 0.0

    def run(self) -> None:
        """Run until interrupted.

        Raises:
            OutputError: The folder cannot be used, or another process uses it.
        """
        wait_s, said = self._look_s, ""
        with self._held():
            while True:
                try:
                    if not self._step():
                        time.sleep(self._look_s)
                    if said:
                        self._tell("continues")
                    wait_s, said = self._look_s, ""
                except MonaiDentalError as error:  # Orthanc cannot be reached, the disk is full
                    if str(error) != said:
                        self._tell(f"waits: {error}")
                    said = str(error)
                    time.sleep(wait_s)
                    wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _step(self) -> bool:
        """Process the next changes; return whether there may be more."""
        client = self._client = self._client or OrthancClient(self._address, BRIEF, (TOKEN,))
        seen = self._begin(client)
        changes = client.changes(seen)
        for instance, number in changes.instances:
            with contextlib.suppress(NotThereError):  # removed since
                self._pending.setdefault(client.study_of(instance), number)
        self._seen = changes.last
        error = self._do_pending(client)
        self._write_last(min(self._pending.values(), default=changes.last + 1) - 1)
        if time.time() - self._tidied > _TIDY_S:
            self._forget()
        if error is not None:
            raise error
        return not changes.is_done

    def _do_pending(self, client: OrthancClient) -> MonaiDentalError | None:
        """Process stable studies; return the last error of those to be retried, or None.

        Raises:
            PacsUnavailableError: Orthanc cannot be reached.
        """
        last: MonaiDentalError | None = None
        for study in list(self._pending):
            try:
                found = client.stable_instances(study)
                if found is None:
                    continue
                self._do(found)
            except NotThereError:
                pass
            except PacsUnavailableError:
                raise
            except MonaiDentalError as error:
                last = error
                continue
            del self._pending[study]
        return last

    def _begin(self, client: OrthancClient) -> int:
        """Return the number of the change to continue after."""
        last, seen = client.last_change(), self._seen
        if seen is None:
            seen = self._read_last()
            if seen is None:
                seen = last
                self._write_last(seen)
            self._tell(f"follows {self._address} from change {seen} on")
        if last < seen:  # it has lost its changes, or is another Orthanc
            self._tell("Orthanc numbers its changes from 1 again: all studies are checked")
            self._pending.clear()
            seen = 0
        return seen

    def _do(self, found: dict[InstanceKey, str]) -> None:
        uids = {key.study_instance_uid for key in found if is_uid(key.study_instance_uid)}
        if len(uids) != 1:
            self._tell("a study is skipped: it has no instance, or no Study Instance UID")
            return
        work = self._folder / uids.pop()
        names, results = _known(work)
        if {str(key) for key in found if key.sop_instance_uid not in results} - names:
            self._denoise(found, work)

    @contextmanager
    def _held(self) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise OutputError(f"{self._folder}: cannot be made: {error.strerror}") from error
        with hold_lock(self._folder / _LOCK):
            try:
                yield
            finally:
                if self._client is not None:
                    self._client.close()

    def _read_last(self) -> int | None:
        path = self._folder / _LAST
        try:
            return int(path.read_text("ascii"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise OutputError(
                f"{path}: cannot be read; need the number of a change, or remove the file to "
                f"denoise only studies that arrive from now on"
            ) from error

    def _write_last(self, number: int) -> None:
        if number != self._written:
            write_atomically(self._folder / _LAST, f"{number}\n".encode())
            self._written = number

    def _forget(self) -> None:
        """Remove the folders of studies whose manifest has not changed for 30 days."""
        self._tidied = time.time()
        oldest = self._tidied - _KEPT_S
        for place in os.scandir(self._folder):
            if is_uid(place.name) and place.is_dir(follow_symlinks=False):
                manifest = Path(place.path, MANIFEST)
                with contextlib.suppress(OSError):
                    if manifest.stat().st_mtime < oldest:
                        shutil.rmtree(place.path)


def _known(work: Path) -> tuple[set[str], set[str]]:
    """Return which instances of a study have an outcome, and the UIDs of their results."""
    if not (work / MANIFEST).is_file():
        return set(), set()
    with contextlib.closing(Manifest(work)) as manifest:
        rows = [row for row in manifest.rows() if row.outcome != LEFT]
        superseded = {each.rpartition("/")[2] for each in manifest.superseded()}
    return {row.name for row in rows}, {row.output_uid for row in rows} | superseded
