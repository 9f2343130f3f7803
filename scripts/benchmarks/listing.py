"""Memory and disk that a batch takes for each file of its input folder, before it does any.

    .venv/bin/python scripts/benchmarks/listing.py --output results/listing [--files 20000]

Empty files with paths of 35 characters. Memory is what Python has allocated at most (tracemalloc),
while the folder is listed, and while the run plans what to do: without a manifest, and with one in
which each file has been derived. Disk is the manifest's size with such rows. Prints bytes a file.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from monai_dental.batch import Batch, DicomJob, InventorySource, StudyTree
from monai_dental.bundle.find import find_bundle
from monai_dental.dicom.select import read_rules

UID = "2.25.254989539176270107541683639829673306637"
DIGEST, STAMP = "ab" * 32, "cd" * 16


class PlannedError(Exception):
    """The run has its plan."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for everything")
    parser.add_argument("--files", type=int, default=20_000, help="default: 20000")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.output, ignore_errors=True)
    source, output = arguments.output / "in", arguments.output / "out"
    for number in range(arguments.files):
        folder = source / f"study-{number // 100:08}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"instance-{number:07}.dcm").touch()
    with peak("listed", arguments.files):
        inventory = InventorySource(source, excluded=output)
    assert {len(each.name.as_posix()) for each in inventory} == {35}

    tree = StudyTree(output)
    job = DicomJob(find_bundle("dae"), read_rules(), tree)
    batch = Batch(inventory, tree, job, work=output, workers=1)
    with batch.open() as manifest:
        with peak("planned, all new", arguments.files), contextlib.suppress(PlannedError):
            next(batch.run(manifest, stop))
        names = (f"{UID}/{UID}/{UID}"[: -len(f"{n:07}")] + f"{n:07}.dcm" for n in range(10**7))
        done = [
            replace(
                row, outcome="derived", digest=DIGEST, output=name, output_uid=UID,
                output_digest=DIGEST, output_stamp=STAMP, recipe=DIGEST,
                model_digest=DIGEST, strength=1.0, seconds=1.234,
                finished="2026-01-31T08:00:00.000000+00:00", stamp=STAMP,
            )
            for row, name in zip(list(manifest.rows()), names, strict=False)
        ]  # fmt: skip
        manifest.put(done)
        del done
        with (
            peak("planned, all derived before", arguments.files),
            contextlib.suppress(PlannedError),
        ):
            next(batch.run(manifest, stop))
    size = (output / "manifest.sqlite").stat().st_size
    print(f"manifest on the disk: {size / arguments.files:.0f}")


def stop(count: int) -> None:
    """End a run that has made its plan."""
    raise PlannedError


@contextlib.contextmanager
def peak(what: str, files: int) -> Iterator[None]:
    """Print the most memory that was allocated meanwhile, in bytes a file."""
    tracemalloc.start()
    yield
    print(f"{what}: {tracemalloc.get_traced_memory()[1] / files:.0f}")
    tracemalloc.stop()


if __name__ == "__main__":
    main()
