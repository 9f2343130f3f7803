"""dcmtk takes every derived instance of the corpus whose source it takes."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from pydicom import dcmread

from monai_dental.dicom import Derivation, derive, encode_dataset, read_dataset, to_radiograph
from monai_dental.errors import MonaiDentalError

DERIVATION = Derivation("Noise reduction", "corpus", "1", "0" * 64, 1.0)


@pytest.fixture(scope="module")
def derived(shared_data, tmp_path_factory) -> dict[Path, Path]:
    """The derived instances of the corpus, by their source."""
    corpus, folder = shared_data / "dicom_corpus", tmp_path_factory.mktemp("derived")
    if not corpus.is_dir():
        pytest.skip(f"no folder {corpus}")
    found = {}
    for number, path in enumerate(sorted(each for each in corpus.rglob("*") if each.is_file())):
        try:
            radiograph = to_radiograph(read_dataset(path), path)
            content = encode_dataset(derive(radiograph, DERIVATION))
        except MonaiDentalError:
            continue
        found[path] = folder / f"{number}.dcm"
        found[path].write_bytes(content)
    return found


@pytest.fixture
def receiver(
    tmp_path: Path, missing: Callable[[str], NoReturn]
) -> Iterator[tuple[Callable[..., None], Path]]:
    """Sends files by dcmtk's storescu to its storescp, which writes into a folder."""
    programs = [Path("/usr/bin", name) for name in ("storescu", "storescp")]  # not pynetdicom's
    if not all(map(shutil.which, programs)):
        missing("no storescu; apt-get install dcmtk")
    folder = tmp_path / "received"
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [programs[1], "+xa", "-uf", "-od", folder, port]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def send(syntax: str, path: Path) -> bool:
        # Only what the files need is proposed; one that is refused does not keep the others back.
        command = [programs[0], "-R", "-nh", syntax, "+sd", "+r", "127.0.0.1", port, path]
        return subprocess.run(command, capture_output=True, timeout=300).returncode == 0

    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                    break
            time.sleep(0.1)
        yield send, folder
    finally:
        process.terminate()
        process.wait()


def test_dcmconv_reads_what_it_reads_of_the_source(derived, dcmconv, tmp_path) -> None:
    assert len(derived) > 250
    for source, path in derived.items():
        if dcmconv(path):
            continue
        copy = tmp_path / "source.dcm"
        copy.write_bytes(source.read_bytes())
        assert not dcmconv(copy), source


def test_storescu_sends_what_it_sends_of_the_source(derived, receiver, tmp_path) -> None:
    send, folder = receiver
    send("-xe", next(iter(derived.values())).parent)
    arrived = {dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in folder.iterdir()}
    assert len(arrived) > 200
    for source, path in derived.items():
        if dcmread(path, stop_before_pixels=True).SOPInstanceUID in arrived:
            continue
        syntaxes = (
            "-xe",
            "-xi",
            "-xb",
            "-xs",
            "-xy",
            "-xx",
            "-xv",
            "-xw",
            "-xt",
            "-xu",
            "-xr",
            "-xd",
        )
        place = tmp_path / "one"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        shutil.copyfile(source, place / "source.dcm")
        assert not any(send(syntax, place) for syntax in syntaxes), source
