"""Speed of bundles and filters on this machine, compared in one run."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import nn

from monai_dental.benchmark.peers import PEERS
from monai_dental.bundle.find import find_bundle
from monai_dental.inference.denoiser import Denoiser
from monai_dental.networks.fused import separate_operators
from monai_dental.phantom import simulate_exposure
from monai_dental.process.pool import process_pool

Image = NDArray[np.float32]
Call = Callable[[Image], Any]

PANORAMIC = (717, 1471)
_PARAMETERS = {
    "median": 5.0, "gaussian": 1.5, "non_local_means": 0.07, "total_variation": 0.1,
    "bilateral": 0.3, "wavelet": 0.07, "bm3d": 0.07,
}  # fmt: skip
FAST_NON_LOCAL_MEANS = "fast_non_local_means"
"""OpenCV's filter for 8-bit images."""

FILTERS = (*PEERS, FAST_NON_LOCAL_MEANS)

_CONVOLUTIONS = ", its convolutions alone"
_LONG_S = 20.0
"""A call that takes longer is measured only once, after the unmeasured first call."""


@dataclass(frozen=True)
class Speed:
    """Cost of one denoising method.

    Attributes:
        name: The bundle or filter.
        megapixels_per_s: Wall-clock rate of the median call.
        seconds: Median wall-clock time of a call.
        cpu_seconds: Median CPU time of a call, all cores together.
        memory_mb: Peak memory of the process above its memory before the first call, in MiB; on
            macOS, the memory after that call instead of the peak.
        calls: Number of measured calls.
        share: Rate as a fraction of that of the bundle's convolutions alone; None for other
            methods.
    """

    name: str
    megapixels_per_s: float
    seconds: float
    cpu_seconds: float
    memory_mb: float
    calls: int
    share: float | None = None


def measure_speed(
    bundles: Sequence[str],
    size: tuple[int, int] = PANORAMIC,
    *,
    backends: Sequence[str] = ("torch",),
    peers: Sequence[str] = FILTERS,
    threads: int = 2,
    rounds: int = 7,
) -> list[Speed]:
    """Denoise a simulated panoramic radiograph repeatedly with bundles and filters in turn.

    Each method has its own process, whose first call is not measured. All then take turns, so that
    other load on the machine affects them equally. For each bundle, one row measures its
    convolutions alone, run in turn on inputs of the same shape, precision and layout. The network
    cannot run much faster than this with that library.

    Args:
        bundles: Names or folders.
        size: Rows and columns of the image.
        backends: Backends that run the networks; see `Denoiser`.
        peers: Names of filters, from `FILTERS`.
        threads: Cores to use.
        rounds: Number of turns.

    Returns:
        One row for each bundle and backend, its convolutions, and each filter.

    Raises:
        BundleError: A bundle is not found or incomplete.
        MissingPackageError: The package of a backend or filter is not installed.
    """
    makers: dict[str, Callable[[Image], Call]] = {}
    for bundle in bundles:
        folder = find_bundle(bundle)
        for backend in backends:
            makers[f"{bundle}, {backend}"] = partial(_bundle, folder, backend)
        makers[f"{bundle}{_CONVOLUTIONS}"] = partial(_convolutions, folder)
    makers |= {name: partial(_peer, name) for name in peers}
    noisy = simulate_exposure(1, size=size, bits_stored=16, view="panoramic").noisy / np.float32(
        65535
    )
    with contextlib.ExitStack() as stack:
        workers = {
            name: stack.enter_context(process_pool(1, _start, maker, noisy, threads))
            for name, maker in makers.items()
        }
        memory = {name: worker.schedule(_first_call).result() for name, worker in workers.items()}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in memory}
        for _ in range(rounds):
            for name, taken in times.items():
                if not taken or taken[-1][0] < _LONG_S:
                    taken.append(workers[name].schedule(_call).result())
    rows = {name: _row(name, noisy.size, times[name], memory[name]) for name in makers}
    for bundle, backend in product(bundles, backends):
        row, ceiling = rows[f"{bundle}, {backend}"], rows[f"{bundle}{_CONVOLUTIONS}"]
        rows[row.name] = replace(row, share=row.megapixels_per_s / ceiling.megapixels_per_s)
    return list(rows.values())


def _row(name: str, pixels: int, times: list[tuple[float, float]], memory_mb: float) -> Speed:
    seconds, cpu_seconds = (statistics.median(column) for column in zip(*times, strict=True))
    return Speed(name, pixels / seconds / 1e6, seconds, cpu_seconds, memory_mb, len(times))


def format_speeds(speeds: Sequence[Speed]) -> str:
    """Return measurements as a Markdown table, the fastest first."""
    lines = [
        "| | Mpixel/s | of its convolutions | seconds | CPU seconds | memory, MiB | calls |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {s.name} | {s.megapixels_per_s:.3g} | {'' if s.share is None else f'{s.share:.0%}'} | "
        f"{s.seconds:.3g} | {s.cpu_seconds:.3g} | "
        f"{s.memory_mb:.0f} | {s.calls} |"
        for s in sorted(speeds, key=lambda s: -s.megapixels_per_s)
    ]
    return "\n".join(lines)


_WORK: list[Callable[[], Any]] = []


def _start(maker: Callable[[Image], Call], noisy: Image, threads: int) -> None:
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    _WORK.append(partial(maker(noisy), noisy))


def _first_call() -> float:
    with contextlib.suppress(OSError):  # Linux: reset the peak from loading the model
        Path("/proc/self/clear_refs").write_text("5")
    before = _peak_mb()
    _WORK[0]()
    return _peak_mb() - before


def _call() -> tuple[float, float]:
    clock, processor = time.perf_counter(), time.process_time()
    _WORK[0]()
    return time.perf_counter() - clock, time.process_time() - processor


def _peak_mb() -> float:
    with contextlib.suppress(OSError, LookupError, ValueError):
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    memory = psutil.Process().memory_info()  # Windows reports the peak, macOS the current memory
    return float(getattr(memory, "peak_wset", memory.rss)) / (1 << 20)


def _bundle(folder: Path, backend: str, noisy: Image) -> Call:
    return Denoiser(folder, backend=backend).denoise


def _peer(name: str, noisy: Image) -> Call:
    if name == FAST_NON_LOCAL_MEANS:
        return lambda image: cv2.fastNlMeansDenoising((image * 255).astype(np.uint8), h=18)
    return partial(PEERS[name].denoise, parameter=_PARAMETERS[name])


def _convolutions(folder: Path, noisy: Image) -> Call:
    """Return a call that runs only a bundle's convolutions, on inputs recorded in a real call."""
    denoiser = Denoiser(folder)
    layers: list[tuple[nn.Module, torch.Tensor]] = []
    hooks = [
        module.register_forward_pre_hook(lambda m, inputs: layers.append((m, inputs[0].clone())))
        for module in denoiser.network.modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    with separate_operators():
        denoiser.denoise(noisy)
    for hook in hooks:
        hook.remove()
    reduced = any(x.dtype == torch.bfloat16 for _, x in layers)

    def run(image: Image) -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            for layer, x in layers:
                layer(x)
        if torch.cuda.is_available():  # kernels may still run after the calls return
            torch.cuda.synchronize()

    return run
