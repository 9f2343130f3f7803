"""Time a batch end to end and each of its stages alone, and measure its workers' memory.

    .venv/bin/python scripts/benchmarks/batch.py --output results/batch [--panoramics 200]

It uses simulated radiographs, panoramic (PX, 717 x 1471) and intraoral (IO, 512 x 512), 12 bits,
every other one in JPEG Lossless. Each stage runs alone, in as many processes as the batch has
workers:

    read     read the file, decode the pixels
    denoise  the bundle's network
    derive   the derived instance, its digests and its compression
    store    encode the file, write it, flush it to the disk

The inputs of each stage are in memory. A stage repeats a few distinct radiographs; in the batch,
each file is different. The stages are timed before and after the batch and averaged, since other
programs may load the machine. The batch is timed from its plan to its last row, which includes the
start of all workers but the first; "start" is a batch of one tiny file per worker. Times are
wall-clock and CPU seconds (of all processes together); the latter are not affected by other
programs. "End to end" is given as a fraction of the slowest stage's rate: by the clock with the
start, by CPU time without it.

Memory: `--memory-files` small radiographs are denoised with the bundle `dae`; the resident memory
of each worker is recorded after each tenth of them.

Writes `stages.csv` and `memory.csv` to the output folder and prints them.
"""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    JPEGLosslessSV1,
    generate_uid,
)

from monai_dental.batch import Batch, DicomJob, InventorySource, Limits, StudyTree
from monai_dental.bundle.find import find_bundle
from monai_dental.dicom import derive, read_dataset, to_radiograph
from monai_dental.dicom.compression import compress, target_syntax
from monai_dental.dicom.select import read_rules
from monai_dental.inference.denoiser import Denoiser
from monai_dental.phantom import simulate_exposure
from monai_dental.phantom.dicom import encode_dicom
from monai_dental.process.machine import usable_cores

PANORAMIC, INTRAORAL, SMALL = (717, 1471), (512, 512), (64, 64)
DISTINCT = 3
STAGES = ("read", "denoise", "derive", "store")


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for everything")
    parser.add_argument("--bundle", default="unet", help="name or folder (default: unet)")
    parser.add_argument("--compress", default="none", help="see monai-dental batch")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="default: the cores")
    parser.add_argument("--panoramics", type=int, default=200, help="default: 200")
    parser.add_argument("--intraorals", type=int, default=200, help="default: 200")
    parser.add_argument("--memory-files", type=int, default=5000, help="0: leave out; default 5000")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.panoramics + arguments.intraorals:
        measure_time(arguments)
    if arguments.memory_files:
        measure_memory(arguments)


def measure_time(arguments: argparse.Namespace) -> None:
    """Time the stages and the batch."""
    counts = {PANORAMIC: arguments.panoramics, INTRAORAL: arguments.intraorals}
    source = arguments.output / "in"
    for size, count in counts.items():
        write_files(source, size, count)
    before = time_stages(arguments, counts)
    write_files(arguments.output / "tiny", SMALL, arguments.workers)
    start = time_batch(arguments, arguments.output / "tiny")
    whole = time_batch(arguments, source)
    after = time_stages(arguments, counts)
    seconds = {
        stage: [(one + other) / 2 for one, other in zip(before[stage], after[stage], strict=True)]
        for stage in STAGES
    }
    totals = [sum(column) for column in zip(*seconds.values(), strict=True)]
    seconds |= {"start": list(start), "end to end": list(whole)}
    files = sum(counts.values())
    rows = [
        {
            "stage": stage,
            "seconds": f"{one:.2f}",
            "share": f"{one / totals[0]:.1%}" if stage in STAGES else "",
            "processor_seconds": f"{other:.2f}",
            "processor_share": f"{other / totals[1]:.1%}" if stage in STAGES else "",
            "files_per_second": f"{files / one:.2f}",
        }
        for stage, (one, other) in seconds.items()
    ]
    show(arguments.output / "stages.csv", rows)
    slowest = max(STAGES, key=lambda stage: seconds[stage][0])
    clock, processor = seconds[slowest]
    print(f"end to end at {clock / whole[0]:.1%} of the rate of {slowest} alone, by the clock; at")
    print(f"{processor / (whole[1] - start[1]):.1%} by the processor, without the start")


def write_files(folder: Path, size: tuple[int, int], count: int) -> None:
    """Write radiographs of one size, each a separate instance."""
    folder.mkdir(parents=True, exist_ok=True)
    datasets = list(make_datasets(size))
    for number in range(count):
        dataset = datasets[number % len(datasets)]
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[f"{size} {number}"])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dcmwrite(folder / f"{size[0]}-{number:05}.dcm", dataset, enforce_file_format=True)


def make_datasets(size: tuple[int, int]) -> Iterator[Dataset]:
    """Yield the distinct radiographs of one size, every other one compressed."""
    for index in range(1, DISTINCT + 1):
        drawn = size if size != SMALL else INTRAORAL
        view = "panoramic" if size == PANORAMIC else "periapical"
        exposure = simulate_exposure(index, size=drawn, view=view)
        header = simulate_exposure(index, size=INTRAORAL)
        dataset = dcmread(io.BytesIO(encode_dicom(header, index, "noisy")))
        pixels = np.ascontiguousarray(exposure.noisy[-size[0] :, -size[1] :], "<u2")
        dataset.Rows, dataset.Columns = size
        dataset.PixelData = pixels.tobytes()
        if size == PANORAMIC:
            dataset.Modality, dataset.SOPClassUID = "PX", DigitalXRayImageStorageForPresentation
        if index % 2:
            compress(dataset, JPEGLosslessSV1)
        yield dataset


def time_stages(
    arguments: argparse.Namespace, counts: dict[tuple[int, int], int]
) -> dict[str, tuple[float, float]]:
    """Return wall-clock seconds (of the slowest process) and CPU seconds, by stage."""
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(arguments.workers), context.Queue()
    processes = [
        context.Process(target=run_stages, args=(arguments, counts, rank, barrier, queue))
        for rank in range(arguments.workers)
    ]
    for process in processes:
        process.start()
    found = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    return {
        stage: (max(each[stage][0] for each in found), sum(each[stage][1] for each in found))
        for stage in STAGES
    }


def run_stages(
    arguments: argparse.Namespace,
    counts: dict[tuple[int, int], int],
    rank: int,
    barrier: Any,
    queue: Any,
) -> None:
    """Time each stage over this process's share of the files."""
    import torch

    torch.set_num_threads(max(1, usable_cores() // arguments.workers))
    denoiser = Denoiser(find_bundle(arguments.bundle))
    derivation = replace(denoiser.derivation, created=datetime.now(timezone.utc))
    tree = StudyTree(arguments.output / f"stored-{rank}")
    tree.prepare()
    seconds = dict.fromkeys(STAGES, (0.0, 0.0))
    for size, count in counts.items():
        if not count:
            continue
        paths = sorted((arguments.output / "in").glob(f"{size[0]}-*.dcm"))[:DISTINCT]
        share = len(range(rank, count, arguments.workers))
        sources = [to_radiograph(read_dataset(path)) for path in paths]
        results = [each.with_pixels(each.pixels * np.float32(0.9)) for each in sources]

        def read(number: int, paths: list[Path] = paths) -> object:
            path = paths[number % len(paths)]
            return to_radiograph(read_dataset(path, path.read_bytes()))

        def denoise(number: int, sources: list[Any] = sources) -> object:
            return denoiser.denoise(sources[number % len(sources)].pixels)

        def make(number: int, results: list[Any] = results) -> Dataset:
            derived = derive(results[number % len(results)], derivation)
            compress(derived, target_syntax(arguments.compress, JPEGLosslessSV1))
            return derived

        derived = [make(number) for number in range(len(results))]

        def store(number: int, derived: list[Dataset] = derived) -> object:
            dataset = derived[number % len(derived)]
            dataset.SOPInstanceUID = generate_uid()
            return tree.store(dataset)

        functions: tuple[Callable[[int], object], ...] = (read, denoise, make, store)
        for stage, function in zip(STAGES, functions, strict=True):
            barrier.wait()
            clock, processor = time_calls(function, share)
            seconds[stage] = seconds[stage][0] + clock, seconds[stage][1] + processor
            barrier.wait()
    shutil.rmtree(tree.folder)
    queue.put(seconds)


def time_calls(function: Callable[[int], object], count: int) -> tuple[float, float]:
    """Return the wall-clock and CPU seconds of a number of calls."""
    begun, used = time.perf_counter(), time.process_time()
    for number in range(count):
        function(number)
    return time.perf_counter() - begun, time.process_time() - used


def make_batch(arguments: argparse.Namespace, source: Path, output: Path, bundle: str) -> Batch:
    """Return the batch that `monai-dental batch` would run."""
    tree = StudyTree(output)
    job = DicomJob(find_bundle(bundle), read_rules(), tree, compression=arguments.compress)
    return Batch(
        InventorySource(source, excluded=output),
        tree,
        job,
        work=output,
        workers=arguments.workers,
        limits=Limits(threads=max(1, usable_cores() // arguments.workers)),
    )


def time_batch(arguments: argparse.Namespace, source: Path) -> tuple[float, float]:
    """Return the wall-clock and CPU seconds from the plan to the last row."""
    output = arguments.output / "out"
    shutil.rmtree(output, ignore_errors=True)
    begun: list[float] = []
    batch = make_batch(arguments, source, output, arguments.bundle)
    used = processor_seconds()
    with batch.open() as manifest:
        for row in batch.run(manifest, lambda count: begun.append(time.perf_counter())):
            if row.outcome != "derived":
                raise SystemExit(f"{row.name}: {row.outcome}: {row.reason}")
        clock = time.perf_counter() - begun[0]
    return clock, processor_seconds() - used


def processor_seconds() -> float:
    """Return the CPU seconds of this process and its ended children."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure_memory(arguments: argparse.Namespace) -> None:
    """Measure the workers' memory over many small files."""
    source, output = arguments.output / "small", arguments.output / "small-out"
    write_files(source, SMALL, arguments.memory_files)
    shutil.rmtree(output, ignore_errors=True)
    batch = make_batch(arguments, source, output, "dae")
    rows: list[dict[str, object]] = []
    with batch.open() as manifest:
        for done, _ in enumerate(batch.run(manifest), start=1):
            if done % max(1, arguments.memory_files // 10) == 0:
                sizes = sorted(resident_mib())[-arguments.workers :]
                rows.append({"files": done, "workers_mib": " ".join(f"{x:.1f}" for x in sizes)})
    show(arguments.output / "memory.csv", rows)


def resident_mib() -> Iterator[float]:
    """Yield the resident memory of each child process."""
    for place in Path("/proc/self/task").iterdir():
        for child in (place / "children").read_text().split():
            for line in Path(f"/proc/{child}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    yield int(line.split()[1]) / 1024


def show(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a table as CSV and print it as Markdown."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print("| " + " | ".join(rows[0]) + " |")
    print("|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(map(str, row.values())) + " |")
    print(flush=True)


if __name__ == "__main__":
    main()
