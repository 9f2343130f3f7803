"""Denoise a CBCT volume, one multi-frame instance, in a batch, and tell what its worker takes.

    .venv/bin/python scripts/benchmarks/volume.py --output results/volume [--frames 400]

Frames of 512 x 512 pixels, 12 bits in 16, are simulated radiographs with noise, a few of them
again and again: for time and memory it does not matter what they show. A batch of one worker and
one thread does it; seconds are of the clock and of the processor, start and model included. Memory
is the largest resident set (VmHWM) of the worker after one frame, and of another after the volume.

Writes `volume.csv` to the output folder and prints it.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import resource
import shutil
import time
from pathlib import Path

import numpy as np
from pydicom import dcmread, dcmwrite

from monai_dental.batch import Batch, DicomJob, InventorySource, Limits, StudyTree
from monai_dental.bundle.find import find_bundle
from monai_dental.dicom.select import read_rules
from monai_dental.phantom import simulate_exposure
from monai_dental.phantom.dicom import encode_dicom

SIZE, DISTINCT = (512, 512), 4


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for everything")
    parser.add_argument("--bundle", default="blind", help="name or folder (default: blind)")
    parser.add_argument("--frames", type=int, default=400, help="default: 400")
    arguments = parser.parse_args()
    row = {"bundle": arguments.bundle, "frames": arguments.frames}
    for name, frames in (("one_frame", 1), ("volume", arguments.frames)):
        clock, processor, peak = measure(arguments, frames)
        row |= {
            f"{name}_seconds": f"{clock:.1f}",
            f"{name}_processor_seconds": f"{processor:.1f}",
            f"{name}_worker_mib": f"{peak:.0f}",
        }
    with (arguments.output / "volume.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerow(row)
    for key, value in row.items():
        print(f"{key}: {value}")


def measure(arguments: argparse.Namespace, frames: int) -> tuple[float, float, float]:
    """Seconds of the clock and of the processor, and MiB of the worker, of a batch of one file."""
    source, output = arguments.output / "in", arguments.output / "out"
    for folder in (source, output):
        shutil.rmtree(folder, ignore_errors=True)
    source.mkdir(parents=True)
    write_volume(source / "volume.dcm", frames)
    tree = StudyTree(output)
    job = DicomJob(find_bundle(arguments.bundle), read_rules(), tree)
    batch = Batch(
        InventorySource(source, excluded=output), tree, job, work=output, workers=1,
        limits=Limits(threads=1),
    )  # fmt: skip
    begun, used, peak = time.perf_counter(), processor_seconds(), 0.0
    with batch.open() as manifest:
        for row in batch.run(manifest):
            if row.outcome != "derived":
                raise SystemExit(f"{row.name}: {row.outcome}: {row.reason}")
            peak = max(peaks_mib())
    return time.perf_counter() - begun, processor_seconds() - used, peak


def write_volume(path: Path, frames: int) -> None:
    """Write one instance of so many frames."""
    exposures = [simulate_exposure(index + 1, size=SIZE) for index in range(DISTINCT)]
    dataset = dcmread(io.BytesIO(encode_dicom(exposures[0], 1, "noisy")))
    distinct = [np.ascontiguousarray(each.noisy, "<u2").tobytes() for each in exposures]
    dataset.NumberOfFrames = frames
    dataset.PixelData = b"".join(distinct[number % DISTINCT] for number in range(frames))
    dcmwrite(path, dataset, enforce_file_format=True)


def processor_seconds() -> float:
    """Seconds of the processor that ended children took."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def peaks_mib() -> list[float]:
    """The largest resident set of each child process."""
    children = [
        child
        for place in Path("/proc/self/task").iterdir()
        for child in (place / "children").read_text().split()
    ]
    found = (re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{c}/status").read_text()) for c in children)
    return [int(each[1]) / 1024 for each in found if each]


if __name__ == "__main__":
    main()
