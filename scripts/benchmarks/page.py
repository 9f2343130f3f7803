"""Measure the page of `serve`: time to start and to a result, and memory after many files.

    .venv/bin/python scripts/benchmarks/page.py [IMAGE] [--rounds 5] [--count 200] [--browser]

IMAGE is by default a simulated radiograph of 717 x 1471 pixels, the size of a panoramic one. Each
round times three steps: starting a server until its page accepts files; dropping IMAGE on the page
of another server, whose network is loaded; and denoising the same file with `monai-dental denoise`.
They take turns, so that other load on the machine slows all three equally: compare the ratios of
the medians.

Then simulated radiographs of 160 x 120 pixels are dropped on the page until --count are in its
list. Memory is the private memory (PSS) of the server and its two processes.

With --browser such radiographs are dropped in one go on the page in headless Chromium instead, as a
dentist does, and nothing else is measured: memory also of the tab's process, and the time until all
are denoised.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from monai_dental.phantom import write_phantoms

_PROGRAM = [sys.executable, "-m", "monai_dental"]
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_STEP = 50


class Page:
    """A client for the page of a running server.

    Args:
        url: Its address.
        pid: The server's process.
    """

    def __init__(self, url: str, pid: int) -> None:
        self.url, self._pid = url, pid

    def ask(self, path: str = "", data: bytes | None = None) -> bytes:
        """Return the response to a GET, or to a POST of data."""
        request = urllib.request.Request(self.url + path, data)
        with _OPENER.open(request, timeout=600) as answer:
            content: bytes = answer.read()
            return content

    def drop(self, path: Path) -> None:
        """Upload a file, as the page does when one is dropped on it."""
        self.ask(f"api/images?name={path.name}", path.read_bytes())

    def wait(self) -> None:
        """Wait until all images are denoised."""
        pending, revision = {""}, 0
        while pending:
            told = json.loads(self.ask(f"api/changes?since={revision}"))
            revision = told["revision"]
            pending.discard("")
            for image in told["images"]:
                if image["state"] == "failed":
                    raise SystemExit(f"{image['name']}: {image['reason']}")
                (pending.discard if image["state"] == "done" else pending.add)(image["key"])
            time.sleep(0.05)

    def memory_mb(self) -> float:
        """Return the memory of the server and its child processes, in MB."""
        return _memory_mb(self._pid)


@contextlib.contextmanager
def serve() -> Iterator[Page]:
    """Start a server that ends with the context."""
    command = [*_PROGRAM, "serve", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+/[\w-]+/", server.stdout.readline())
            assert found is not None
            page = Page(found[0], server.pid)
            page.ask()
            yield page
        finally:
            server.terminate()


def main() -> None:
    """Run the measurements, and print one line per figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("image", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--browser", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, serve() as page:
        if arguments.browser:
            measure_browser(page, arguments.count, Path(name))
            return
        image = arguments.image
        if image is None:
            write_phantoms(Path(name, "large"), count=1, size=(717, 1471), image_format="png")
            image = next(Path(name, "large", "noisy").iterdir())
        measure_times(page, image, arguments.rounds, Path(name))
        measure_memory(page, arguments.rounds + 1, arguments.count, Path(name))


def measure_times(page: Page, image: Path, rounds: int, folder: Path) -> None:
    """Print the times of a start, a drop and the command line, in seconds and as ratios."""
    page.drop(image)
    page.wait()  # until the network is loaded, as for all images but the first
    starts, drops, commands = [], [], []
    for number in range(rounds):
        begun = time.perf_counter()
        with serve():
            starts.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        page.drop(image)
        page.wait()
        drops.append(time.perf_counter() - begun)
        command = [*_PROGRAM, "denoise", str(image), "--output", str(folder / f"out{number}")]
        begun = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        commands.append(time.perf_counter() - begun)
    reference = median(commands)
    print(f"monai-dental denoise, median of {rounds}: {reference:.2f} s")
    for what, times in (("start to a page that takes files", starts), ("drop to result", drops)):
        print(f"{what}: {median(times):.2f} s, {median(times) / reference:.2f} of it", flush=True)


def measure_memory(page: Page, held: int, count: int, folder: Path) -> None:
    """Drop small images up to a number, and print the memory along the way.

    Args:
        page: The page.
        held: Number of images that it already has.
        count: Number of images at the end.
        folder: Folder for the images.
    """
    print(f"memory after {held} files: {page.memory_mb():.0f} MB", flush=True)
    write_phantoms(folder / "small", count=count - held, size=(120, 160), image_format="png")
    for number, path in enumerate(sorted((folder / "small" / "noisy").iterdir()), held + 1):
        page.drop(path)
        if number % _STEP == 0 or number == count:
            page.wait()
            print(f"memory after {number} files: {page.memory_mb():.0f} MB", flush=True)


def measure_browser(page: Page, count: int, folder: Path) -> None:
    """Drop small images on the page in Chromium, and print time and memory, tab and server.

    Args:
        page: The page.
        count: How many images.
        folder: Where the images and the browser's profile may be made.
    """
    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from browsing import open_browser  # type: ignore[import-not-found]
    from page_actions import drop  # type: ignore[import-not-found]

    write_phantoms(folder / "small", count=count, size=(120, 160), image_format="png")
    files = sorted((folder / "small" / "noisy").iterdir())
    done = "document.querySelectorAll('[data-state=done]').length"
    with open_browser("chromium", "chromedriver", folder / "profile") as browser:
        browser.visit(page.url)
        while json.loads(page.ask("api/changes"))["model"] != "ready":
            time.sleep(0.1)

        def tell(when: str) -> None:
            tab = max(_memory_mb(pid) for pid in _renderers(os.getpid()))
            print(f"memory {when}: server {page.memory_mb():.0f} MB, tab {tab:.0f} MB", flush=True)

        tell("before the drop")
        begun = time.perf_counter()
        drop(browser, *((path.name, path.read_bytes()) for path in files))
        while browser.run(f"return {done}") < count:
            time.sleep(0.5)
        print(f"drop to the last of {count} results: {time.perf_counter() - begun:.0f} s")
        tell(f"after {count} files")
        for message in browser.errors():
            print(message)


def _renderers(pid: int) -> Iterator[int]:
    """Yield the processes below one that draw a browser's pages."""
    for child in _children(pid):
        if b"--type=renderer" in Path(f"/proc/{child}/cmdline").read_bytes():
            yield child
        yield from _renderers(child)


def _children(pid: int) -> list[int]:
    told = [each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for child in " ".join(told).split()]


def _memory_mb(pid: int) -> float:
    found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    assert found is not None
    return int(found[1]) / 1000 + sum(map(_memory_mb, _children(pid)))


if __name__ == "__main__":
    main()
