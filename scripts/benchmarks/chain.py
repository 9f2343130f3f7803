"""Time radiographs sent through a node into an archive, compared with a batch into that archive.

    .venv/bin/python scripts/benchmarks/chain.py --output results/chain [--files 100] [--runs 3]

The same simulated panoramic radiographs (717 x 1471, 12 bits) take both ways into an empty Orthanc:
`monai-dental batch DIR --output dimse://…`, and dcmtk's storescu to `monai-dental node`. Both have
as many workers as the machine has cores, and verify each arrival. The batch is timed from the start
of its process, including the loading of the model by its workers. The node, which runs for days and
has the model loaded, is timed from the first byte that is sent to it. Both are timed until the
archive has the last instance. Runs alternate. Needs Debian's Orthanc and dcmtk.

Writes `chain.csv` to the output folder and prints medians and their ratio.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batch import PANORAMIC, write_files

COMMAND = [sys.executable, "-m", "monai_dental"]
ORTHANC, STORESCU = "/usr/sbin/Orthanc", "/usr/bin/storescu"


def main() -> None:
    """Run the measurement and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for everything")
    parser.add_argument("--files", type=int, default=100, help="instances a run (default: 100)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each way (default: 3)")
    parser.add_argument("--bundle", default="blind", help="name or folder (default: blind)")
    arguments = parser.parse_args()
    source = arguments.output / "in"
    shutil.rmtree(source, ignore_errors=True)
    write_files(source, PANORAMIC, arguments.files)
    seconds: dict[str, list[float]] = {"batch": [], "node": []}
    for run in range(arguments.runs):
        for name, go in (("batch", go_by_batch), ("node", go_by_node)):
            folder = arguments.output / f"{name}-{run}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with archive(folder) as (http, dicom):
                seconds[name].append(go(source, folder, arguments, http, dicom))
            print(f"{name}: {seconds[name][-1]:.1f} s", flush=True)
            shutil.rmtree(folder)
    with (arguments.output / "chain.csv").open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["way", "run", "files", "seconds"])
        for name, found in seconds.items():
            writer.writerows(
                [name, run, arguments.files, f"{each:.2f}"] for run, each in enumerate(found, 1)
            )
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    print("| way | files/s, median of runs |\n|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {arguments.files / median:.2f} |")
    print(f"\nnode / batch: {medians['batch'] / medians['node']:.2f}")


def go_by_batch(
    source: Path, folder: Path, arguments: argparse.Namespace, http: int, dicom: int
) -> float:
    """Denoise a folder into the archive, and return the seconds."""
    begun = time.perf_counter()
    subprocess.run(
        [*COMMAND, "batch", source, "--output", f"dimse://ARCHIVE@127.0.0.1:{dicom}",
         "--work", folder / "work", "--bundle", arguments.bundle],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    if instances(http) != arguments.files:
        raise SystemExit(f"the archive has {instances(http)} of {arguments.files} instances")
    return seconds


def go_by_node(
    source: Path, folder: Path, arguments: argparse.Namespace, http: int, dicom: int
) -> float:
    """Send a folder to a node that forwards to the archive, and return the seconds."""
    port = free_port()
    node = subprocess.Popen(
        [*COMMAND, "node", "--host", "127.0.0.1", "--port", str(port), "--allow", "STORESCU",
         "--forward", f"ARCHIVE@127.0.0.1:{dicom}", "--spool", folder / "spool",
         "--bundle", arguments.bundle],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert node.stdout is not None
        if "listens" not in node.stdout.readline():
            raise SystemExit("the node does not start")
        begun = time.perf_counter()
        subprocess.run(
            [STORESCU, "-aec", "DENOISE", "-xs", "+sd", "127.0.0.1", str(port), source],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        while instances(http) < arguments.files:
            time.sleep(0.05)
        return time.perf_counter() - begun
    finally:
        node.send_signal(signal.SIGTERM)
        node.wait(60)


@contextmanager
def archive(folder: Path) -> Iterator[tuple[int, int]]:
    """Run an empty Orthanc, and yield its ports for HTTP and DICOM."""
    http, dicom = free_port(), free_port()
    settings = {
        "HttpPort": http, "RemoteAccessAllowed": False, "DicomAet": "ARCHIVE", "DicomPort": dicom,
        "DicomAlwaysAllowFind": True, "DicomAlwaysAllowGet": True, "Plugins": [],
        "StorageDirectory": str(folder / "archive"), "IndexDirectory": str(folder / "archive"),
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([ORTHANC, folder / "orthanc.json"], stdout=log, stderr=log)
    try:
        while True:
            try:
                instances(http)
                break
            except OSError:
                time.sleep(0.1)
        yield http, dicom
    finally:
        process.kill()
        process.wait()


def instances(http: int) -> int:
    """Return the number of instances in the archive."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{http}/statistics", timeout=60) as answer:
        return int(json.load(answer)["CountInstances"])


def free_port() -> int:
    """Return a free TCP port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    main()
