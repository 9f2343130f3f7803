"""Worker processes, each with a loaded model, that may crash, hang or run out of memory on a file.

Each worker is a separate pebble pool with its own pipes and locks: however it ends, it affects no
other worker.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool

from pebble import ProcessExpired, ProcessPool

from monai_dental.batch.job import TOO_LARGE, Engine, Job, Recipe, Result
from monai_dental.batch.source import Instance
from monai_dental.batch.workers.protocol import Limits, WorkerLostError
from monai_dental.errors import MonaiDentalError, WorkerError, unexpected
from monai_dental.process.machine import memory_mb, usable_cores
from monai_dental.process.pool import end_with_parent, start_pool


class LocalWorker:
    """One worker process; restarted whenever it has ended."""

    def __init__(self, job: Job, limits: Limits) -> None:
        self._job = job
        self._limits = limits
        self._pool = self._start()

    def describe(self) -> Recipe:
        """Return the engine's settings; see `Worker.describe`."""
        try:
            recipe: Recipe = self._pool.schedule(_describe).result()
        except (ProcessExpired, BrokenProcessPool) as error:
            raise WorkerError("a worker process ended while it loaded the model") from error
        return recipe

    def submit(self, instance: Instance, known: str) -> Future[Result]:
        """Start a file; see `Worker.submit`."""
        arguments = (instance, known)
        try:
            return self._pool.schedule(_run, arguments, timeout=self._limits.seconds)
        except RuntimeError:  # it ended while it was idle
            self.restart()
            return self._pool.schedule(_run, arguments, timeout=self._limits.seconds)

    def collect(self, future: Future[Result]) -> Result:
        """Return the result for a file; see `Worker.collect`."""
        try:
            return future.result()
        except FutureTimeoutError:
            self.restart()
            return Result("failed", f"took longer than {self._limits.seconds:g} s")
        except ProcessExpired as error:
            self.restart()
            raise WorkerLostError(f"crashed its worker process {_cause(error.exitcode)}") from None
        except BrokenProcessPool:
            self.restart()
            raise WorkerLostError("crashed its worker process") from None
        except MonaiDentalError:
            raise
        except MemoryError:
            return Result("failed", TOO_LARGE)
        except Exception as error:  # noqa: BLE001 - its text could quote patient data
            return Result("failed", unexpected(error))

    def restart(self) -> None:
        """Replace this process with another one."""
        self.stop()
        self._pool = self._start()

    def stop(self) -> None:
        """End the process; see `Worker.stop`."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()

    def _start(self) -> ProcessPool:
        return start_pool(1, _initialize, (self._job, self._limits))


def default_workers(files: int, *, is_on_gpu: bool = False) -> int:
    """Return the number of workers: one per core, if there are memory and files for so many.

    Args:
        files: Number of files.
        is_on_gpu: Whether all workers use one GPU; then there is only one.
    """
    if is_on_gpu:
        return 1
    return max(1, min(usable_cores(), memory_mb() // 2048, files))


_engine: Engine | None = None
_error: MonaiDentalError | None = None


def _initialize(job: Job, limits: Limits) -> None:
    """Initialize a new process as a worker; keep an error for the first call."""
    global _engine, _error
    end_with_parent()
    # Libraries' messages may quote data of a file: only results may leave a worker.
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    os.environ["OMP_NUM_THREADS"] = str(limits.threads)
    try:
        _engine = job.open()
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(limits.threads)
        if "cv2" in sys.modules:
            sys.modules["cv2"].setNumThreads(limits.threads)
        _limit_memory(limits.memory_mb)
    except MonaiDentalError as error:
        _error = error
    except Exception as error:  # noqa: BLE001
        _error = WorkerError(f"a worker cannot start: {unexpected(error)}")


def _describe() -> Recipe:
    return _loaded().recipe


def _run(instance: Instance, known: str) -> Result:
    try:
        return _loaded().run(instance, known)
    except (MonaiDentalError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - reported here: pickling would lose its place
        return Result("failed", unexpected(error))


def _loaded() -> Engine:
    if _engine is None:
        raise _error or WorkerError("a worker was not initialized")
    return _engine


def _limit_memory(limit_mb: int | None) -> None:
    """Let allocations fail beyond the current memory plus a limit."""
    if limit_mb is None:
        return
    try:
        import resource

        with open("/proc/self/status", encoding="ascii") as stream:
            (line,) = (line for line in stream if line.startswith("VmData:"))
    except (ImportError, OSError, ValueError):  # not Linux: no limit
        return
    limit = (int(line.split()[1]) << 10) + (limit_mb << 20)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _cause(code: int) -> str:
    return f"(signal {-code})" if code < 0 else f"(exit status {code})"
