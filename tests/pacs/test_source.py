"""Instances of a PACS as the source of a batch, and the disk space that they use."""

from __future__ import annotations

import json
import threading
import tracemalloc
import zlib
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from monai_dental.batch.feed import Feed, Task
from monai_dental.batch.source import Instance
from monai_dental.dicom.derive import encode_dataset
from monai_dental.errors import DatasetError, OutputError, PacsError
from monai_dental.pacs.dicomweb.archive import DicomwebArchive
from monai_dental.pacs.parcel import InstanceKey
from monai_dental.pacs.source import FoundInstance, PacsSource
from monai_dental.pacs.source_spool import SourceSpool


class FakeArchive:
    """A source of files 100 bytes smaller than the limit, which counts the files on the disk."""

    def __init__(self, folder: Path, instances: dict[str, bytes]) -> None:
        self.folder, self.instances, self.most = folder, instances, 0
        self._lock = threading.Lock()

    def connect(self) -> FakeArchive:
        return self

    def search(self) -> Any:
        for uid in self.instances:
            yield FoundInstance(InstanceKey("1.2", "1.3", uid))

    def fetch(self, found: FoundInstance, stream: Any, max_bytes: int) -> None:
        stream.write(self.instances[found.key.sop_instance_uid])
        stream.flush()
        with self._lock:
            sizes = [path.stat().st_size for path in self.folder.iterdir() if path.exists()]
            self.most = max(self.most, sum(sizes))

    def close(self) -> None:
        pass


def test_spool_takes_no_more_disk_than_it_may(instance, tmp_path) -> None:
    sources = [instance(number) for number in range(5)]
    contents = {str(each.SOPInstanceUID): encode_dataset(each) for each in sources}
    archive = FakeArchive(tmp_path / "spool", contents)
    size = max(map(len, contents.values()))
    source = PacsSource(archive, int(2.5 * size))
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "left.dcm").touch()
    source.prepare(tmp_path / "spool")
    first, second, *_ = source

    assert source.reserve(first)
    assert not source.reserve(second)  # before the first byte
    source.fetch(first)
    assert first.path.read_bytes() == contents[first.sop_instance_uid]
    assert not source.reserve(second)  # it could be of the largest size
    source.release(first)
    assert source.reserve(second)
    source.release(second)
    assert list((tmp_path / "spool").iterdir()) == []
    source.close()
    assert not (tmp_path / "spool").exists()


def test_feed_keeps_to_the_disk_however_late_its_threads_begin(
    instance, tmp_path, monkeypatch
) -> None:
    contents = {f"1.2.3.4.{number}": encode_dataset(instance(number)) for number in range(1, 13)}
    size = max(map(len, contents.values()))
    contents["1.2.3.4.3"] = bytes(size)  # fails when it is there
    monkeypatch.setattr("monai_dental.pacs.source.MAX_BYTES", size)
    archive = FakeArchive(tmp_path / "spool", contents)
    go = threading.Semaphore(0)

    class Late(PacsSource):
        def fetch(self, instance: Instance) -> None:
            assert go.acquire(timeout=60)
            super().fetch(instance)

    source = Late(archive, int(2.5 * size))
    source.prepare(tmp_path / "spool")
    feed = Feed(source, [Task(each, "") for each in source])
    fetching, reasons = [], []

    while feed:
        feed.fill()
        fetching.append(len(feed.fetching))
        go.release(len(feed.fetching))
        for future in wait(list(feed.fetching)).done:
            task, reason = feed.collect(future)
            reasons.append(reason)
            feed.release(task)
        feed.ready.clear()

    assert set(fetching) == {2}
    assert archive.most <= 2 * size
    assert sorted(reasons) == [""] * 11 + ["the PACS sends broken DICOM: InvalidDicomError"]
    feed.close()
    source.close()


def test_no_more_than_the_head_of_a_deflated_instance_is_inflated(instance, tmp_path) -> None:
    """Inflating is limited in a worker, but not in the process of the batch."""
    deflated = instance(1, transfer_syntax=DeflatedExplicitVRLittleEndian)
    content = encode_dataset(deflated)
    begin = 144 + int.from_bytes(content[140:144], "little")
    squeeze = zlib.compressobj(wbits=-15)
    uid = b"\x08\0\x18\0UI\x0a\x001.2.3.4.2\0"
    bomb = content[:begin] + squeeze.compress(uid + b"\x09\0\x10\x10OB\0\0\0\0\0\x04")
    bomb += b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(64)) + squeeze.flush()
    source = PacsSource(FakeArchive(tmp_path, {"1.2.3.4.1": content, "1.2.3.4.2": bomb}), 1 << 20)
    source.prepare(tmp_path / "spool")

    tracemalloc.start()
    for each in source:
        source.fetch(each)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 8 << 20
    assert {path.read_bytes() for path in (tmp_path / "spool").iterdir()} == {content, bomb}
    source.close()


@pytest.mark.parametrize("is_there", [False, True])
def test_spool_is_for_its_owner_alone(tmp_path, is_there) -> None:
    folder = tmp_path / "spool"
    if is_there:
        folder.mkdir(mode=0o755)
    SourceSpool(folder, 1000, 1000)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_spool_tells_of_a_full_disk(tmp_path) -> None:
    spool = SourceSpool(tmp_path / "spool", 1000, 1000)
    assert spool.reserve(spool.path("a"))
    with pytest.raises(OutputError, match="No space left"), spool.open(spool.path("a")):
        raise OSError(28, "No space left on device")
    with pytest.raises(PacsError), spool.open(spool.path("a")):
        raise PacsError("x")
    assert list((tmp_path / "spool").iterdir()) == []
    assert spool.reserve(spool.path("b"))


def test_service_that_takes_no_offset_is_told(service, instance, patience) -> None:
    service.add(instance())
    pages = iter([service.matches] * 5)
    service.answers["search"] = lambda request: request.reply(json.dumps(next(pages, [])).encode())

    with pytest.raises(PacsError, match="returns the same page of a search again; need"):
        PacsSource(DicomwebArchive(service.address, patience), 1000)
    assert len(service.requests) == 2


def test_empty_search_is_an_error(tmp_path) -> None:
    with pytest.raises(DatasetError, match="finds no instance"):
        PacsSource(FakeArchive(tmp_path, {}), 1000)
