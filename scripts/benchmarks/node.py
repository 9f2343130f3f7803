"""Compare a node's receiving rate with dcmtk's storescp: same sender, same files, same disk.

    .venv/bin/python scripts/benchmarks/node.py --output results/node [--files 60] [--runs 7]

The sender is dcmtk's storescu with one association; the files have the size of panoramic
radiographs, 2.1 MB each, uncompressed. Nothing is denoised. The node answers when an instance is on
the disk (fsync) and in its queue; storescp, in bit-preserving mode, when it has written it. Runs
alternate, each into an empty folder. Rates are by wall-clock time; CPU time is that of the receiver
alone, not affected by other programs. Needs Debian's dcmtk.

Writes `rates.csv` to the output folder and prints medians and their ratio.
"""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
import resource
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.uid import generate_uid

from monai_dental.node.intake import Intake
from monai_dental.node.log import Counts
from monai_dental.node.queue import Queue
from monai_dental.node.receiver import Receiver
from monai_dental.node.settings import make_settings
from monai_dental.node.spool import Spool
from monai_dental.pacs.quiet import quiet_libraries
from monai_dental.phantom import simulate_exposure
from monai_dental.phantom.dicom import encode_dicom

PANORAMIC = (717, 1471)
MAX_PDU = 131072  # the longest that dcmtk supports
STORESCP, STORESCU = "/usr/bin/storescp", "/usr/bin/storescu"  # pynetdicom has these names too


def main() -> None:
    """Run the measurement and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for everything")
    parser.add_argument("--files", type=int, default=60, help="instances a run (default: 60)")
    parser.add_argument("--runs", type=int, default=7, help="runs of each (default: 7)")
    arguments = parser.parse_args()
    source = arguments.output / "in"
    shutil.rmtree(source, ignore_errors=True)
    megabytes = write_files(source, arguments.files) / 1e6
    receivers: dict[str, Callable[[Path], AbstractContextManager[Run]]] = {}
    receivers.update(node=node, storescp=storescp)
    rates: dict[str, list[float]] = {name: [] for name in receivers}
    costs: dict[str, list[float]] = {name: [] for name in receivers}
    for _ in range(arguments.runs):
        for name, receive in receivers.items():
            folder = arguments.output / name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with receive(folder) as run:
                rates[name].append(megabytes / send(source, run.port))
            costs[name].append(1000 * run.processor_s / megabytes)
            sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
            assert sum(size > 1e6 for size in sizes) == arguments.files, (
                f"{name}: files are missing"
            )
    show(arguments.output / "rates.csv", rates, costs)


@dataclass
class Run:
    """A receiver's port and, once it has ended, its CPU seconds."""

    port: int
    processor_s: float = 0.0


def write_files(folder: Path, count: int) -> int:
    """Write distinct instances, and return their size in bytes."""
    folder.mkdir(parents=True)
    dataset = dcmread(io.BytesIO(encode_dicom(simulate_exposure(1, size=(512, 512)), 1, "noisy")))
    dataset.Rows, dataset.Columns = PANORAMIC
    draw = np.random.default_rng(0)
    for number in range(count):
        dataset.PixelData = draw.integers(0, 4096, PANORAMIC).astype("<u2").tobytes()
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dcmwrite(folder / f"{number:05}.dcm", dataset, enforce_file_format=True)
    return sum(path.stat().st_size for path in folder.iterdir())


def send(source: Path, port: int) -> float:
    """Send a folder, and return the seconds."""
    begun = time.perf_counter()
    subprocess.run([STORESCU, "-aec", "DENOISE", "+sd", "127.0.0.1", str(port), source], check=True)
    return time.perf_counter() - begun


@contextmanager
def node(folder: Path) -> Iterator[Run]:
    """Run a node's receiver with its spool and queue in a separate process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(folder, theirs), daemon=True)
    process.start()
    run = Run(ours.recv())
    try:
        yield run
    finally:
        ours.send(None)
        run.processor_s = ours.recv()
        process.join(30)


def serve(folder: Path, connection: Connection) -> None:
    """Receive until told to end."""
    quiet_libraries()
    settings = make_settings(
        {
            "forward": "ARCHIVE@127.0.0.1:1",
            "allow": ("STORESCU",),
            "host": "127.0.0.1",
            "port": 0,
            "max_pdu": MAX_PDU,
        }
    )
    spool = Spool(folder, settings.spool_limit << 20)
    spool.prepare()
    queue = Queue(folder, is_writable=True)
    intake = Intake(
        spool,
        settings.max_object << 20,
        is_known=lambda key: queue.get(key) is not None,
        on_received=lambda key, arrival: queue.receive(key, arrival.uid, study=arrival.study),
        counts=Counts(),
    )
    receiver = Receiver(settings, intake)
    receiver.start()
    begun = time.process_time()
    connection.send(receiver.port)
    connection.recv()
    connection.send(time.process_time() - begun)
    receiver.stop()
    queue.close()


@contextmanager
def storescp(folder: Path) -> Iterator[Run]:
    """Run dcmtk's storescp."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [STORESCP, "--bit-preserving", "--max-pdu", str(MAX_PDU), "-od", str(folder)]
    process = subprocess.Popen([*command, str(port)])
    try:
        wait_for(port)
        run = Run(port)
        yield run
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
    finally:
        process.terminate()
        process.wait(30)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    run.processor_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def wait_for(port: int) -> None:
    """Wait until the port accepts connections."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.05)


def show(path: Path, rates: dict[str, list[float]], costs: dict[str, list[float]]) -> None:
    """Write all runs as CSV, and print the medians."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["receiver", "run", "megabytes_per_second", "processor_s_per_gigabyte"])
        for name, found in rates.items():
            for run, (rate, cost) in enumerate(zip(found, costs[name], strict=True), start=1):
                writer.writerow([name, run, f"{rate:.1f}", f"{cost:.2f}"])
    print(
        "| receiver | median, MB/s | slowest | fastest | processor, s/GB |\n|---|---|---|---|---|"
    )
    for name, found in rates.items():
        numbers = (statistics.median(found), min(found), max(found))
        shown = " | ".join(f"{number:.0f}" for number in numbers)
        print(f"| {name} | {shown} | {statistics.median(costs[name]):.1f} |")
    ratio = statistics.median(rates["node"]) / statistics.median(rates["storescp"])
    print(f"\nnode / storescp: {ratio:.2f}")


if __name__ == "__main__":
    main()
