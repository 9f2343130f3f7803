"""A folder of DICOM files with faults, and the command that batches it without torch."""

from __future__ import annotations

import importlib
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmwrite, uid

from monai_dental.batch.record.manifest import Manifest, Row


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module `faults`, importable by worker processes."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    yield importlib.import_module("faults")
    sys.modules.pop("faults", None)


@pytest.fixture
def add_file(tmp_path: Path, dicom_dataset: Callable[..., Any]) -> Callable[..., Path]:
    """Factory of files in the input folder, each a separate instance."""
    count = 0

    def add(name: str, **options: Any) -> Path:
        nonlocal count
        count += 1
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"SOPInstanceUID": f"1.2.3.4.{count}", **options}
        dcmwrite(path, dicom_dataset(**options), enforce_file_format=True)
        return path

    return add


@pytest.fixture
def batch(faults: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`monai-dental batch in --output out` with the job of `faults`, in this process."""
    from monai_dental.cli import main

    monkeypatch.setattr("monai_dental.batch.dicom.DicomJob", faults.FaultyJob)

    def run(*options: Any, output: Path = tmp_path / "out") -> int:
        arguments = ["batch", tmp_path / "in", "--output", output, "--workers", 1, *options]
        return main(list(map(str, arguments)))

    return run


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., dict[str, Row]]:
    """The rows of the manifest, by name."""

    def read(output: Path = tmp_path / "out") -> dict[str, Row]:
        manifest = Manifest(output)
        try:
            return {row.name: row for row in manifest.rows()}
        finally:
            manifest.close()

    return read


@pytest.fixture
def outputs(tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    """All files of the output folder but the manifest and its lock, by name."""

    def read(output: Path = tmp_path / "out") -> dict[str, bytes]:
        return {
            path.relative_to(output).as_posix(): path.read_bytes()
            for path in output.rglob("*")
            if path.is_file() and not path.name.startswith("manifest.")
        }

    return read


# What each IOD allows: stored bits, photometric interpretations, signs, frames.
_PROJECTION = ((8, 10, 12, 16), ("MONOCHROME1", "MONOCHROME2"), (False,), 1)
_IODS: dict[str, tuple[tuple[int, ...], tuple[str, ...], tuple[bool, ...], int]] = {
    "IO": _PROJECTION,
    "PX": _PROJECTION,
    "DX": _PROJECTION,
    "CR": (*_PROJECTION[:2], (False, True), 1),
    "CT": ((12, 16), ("MONOCHROME1", "MONOCHROME2"), (False, True), 1),
    "enhanced CT": ((12, 16), ("MONOCHROME2",), (False, True), 3),
}
_NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
_LOSSY_BITS = {uid.JPEGBaseline8Bit: 8, uid.JPEGExtended12Bit: 12}
_LOSSY = (*_LOSSY_BITS, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K)


@dataclass(frozen=True)
class Matrix:
    """Dental instances of every kind, and two batches of them.

    Attributes:
        sources: Stored values by file name; None if the file's compression is lossy.
        source: Folder of the instances.
        same: Output with `--strength 0 --compress as-source`.
        changed: Output with the whole correction, uncompressed.
    """

    sources: dict[str, np.ndarray | None]
    source: Path
    same: Path
    changed: Path

    def derived(self, output: Path) -> dict[str, Path]:
        """The derived instances of an output folder, by the name of their source."""
        manifest = Manifest(output)
        try:
            return {row.name: output / row.output for row in manifest.rows() if row.output}
        finally:
            manifest.close()


@pytest.fixture(scope="session")
def matrix(
    tmp_path_factory: pytest.TempPathFactory,
    picture: Callable[..., np.ndarray],
    dicom_dataset: Callable[..., Any],
    encapsulated_syntaxes: tuple[str, ...],
) -> Matrix:
    """IO, PX, DX, CR, CT, enhanced CT; photometric interpretations, bits, signs, syntaxes."""
    folder = tmp_path_factory.mktemp("matrix")
    (folder / "in").mkdir()
    sources: dict[str, np.ndarray | None] = {}
    for number, (modality, bits, photometric, signed, syntax) in enumerate(
        _cases(encapsulated_syntaxes)
    ):
        stored = picture(bits, signed=signed)
        if frames := _IODS[modality][3] if modality == "enhanced CT" else 0:
            stored = np.stack([np.roll(stored, frame, 0) for frame in range(frames)])
        name = f"{number}_{modality.replace(' ', '_')}_{bits}_{uid.UID(syntax).keyword}.dcm"
        dataset = dicom_dataset(
            stored, bits_stored=bits, photometric=photometric, modality=modality,
            frames=max(frames, 1), transfer_syntax=syntax, SOPInstanceUID=f"1.2.3.5.{number}",
            SeriesInstanceUID=f"1.2.3.5.{number}.1", StudyInstanceUID=f"1.2.3.5.{number}.2",
        )  # fmt: skip
        dcmwrite(folder / "in" / name, dataset, enforce_file_format=True)
        sources[name] = None if syntax in _LOSSY else stored
    for output, options in (
        ("same", ["--strength", "0", "--compress", "as-source"]),
        ("changed", []),
    ):
        script = Path(__file__).with_name("faults.py")
        command = [sys.executable, script, "batch", folder / "in", "--output", folder / output]
        subprocess.run([*command, "--workers", "1", *options], check=True)
    return Matrix(sources, folder / "in", folder / "same", folder / "changed")


def _cases(encapsulated: tuple[str, ...]) -> Iterator[tuple[str, int, str, bool, str]]:
    for modality, (depths, photometrics, signs, _) in _IODS.items():
        for case in itertools.product(depths, photometrics, signs):
            yield modality, *case, uid.ExplicitVRLittleEndian
    for syntax in (*_NATIVE, *encapsulated):
        if not uid.UID(syntax).is_transfer_syntax:
            continue  # pydicom 3.0 writes no file of JPEG XL; see tests/dicom/test_read.py
        bits = _LOSSY_BITS.get(syntax, 16)
        yield "PX", bits, "MONOCHROME1", False, syntax
        if syntax not in _LOSSY_BITS:
            yield "IO", 8, "MONOCHROME2", False, syntax
            yield "CR", 10, "MONOCHROME1", syntax not in _LOSSY, syntax
            yield "enhanced CT", 12, "MONOCHROME2", syntax not in _LOSSY, syntax
