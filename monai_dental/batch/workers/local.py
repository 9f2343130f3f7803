"""Worker processes, each with a loaded model, that files may crash, hang or blow up one by one.

Each worker is a pebble pool of its own, with pipes and locks of its own: whatever way a worker ends
concerns no other.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
import warnings
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool

from pebble import ProcessExpired, ProcessPool

from monai_dental.batch.job import TOO_LARGE, Engine, Job, Recipe, Result
from monai_dental.batch.source import Instance
from monai_dental.batch.workers.protocol import Limits, WorkerLostError
from monai_dental.errors import MonaiDentalError, WorkerError, unforeseen
from monai_dental.process.machine import memory_mb, usable_cores
from monai_dental.process.pool import end_with_parent, start_pool


class LocalWorker:
    """One worker process; started anew whenever it has ended.

    Args:
        job: What it does.
        limits: What one file may take.
    """

    def __init__(self, job: Job, limits: Limits) -> None:
        self._job = job
        self._limits = limits
        self._pool = self._start()

    def describe(self) -> Recipe:
        """The engine's settings; see `Worker.describe`."""
        try:
            recipe: Recipe = self._pool.schedule(_describe).result()
        except (ProcessExpired, BrokenProcessPool) as error:
            raise WorkerError("a worker process ended while it loaded the model") from error
        return recipe

    def submit(self, instance: Instance, known: str) -> Future[Result]:
        """Begin a file; see `Worker.submit`."""
        arguments = (instance, known)
        try:
            return self._pool.schedule(_run, arguments, timeout=self._limits.seconds)
        except RuntimeError:  # it ended while it was idle
            self.restart()
            return self._pool.schedule(_run, arguments, timeout=self._limits.seconds)

    def collect(self, future: Future[Result]) -> Result:
        """What came of a file; see `Worker.collect`."""
        try:
            return future.result()
        except FutureTimeoutError:
            self.restart()
            return Result("failed", f"took longer than {self._limits.seconds:g} s")
        except ProcessExpired as error:
            self.restart()
            raise WorkerLostError(f"ended its worker process {_cause(error.exitcode)}") from None
        except BrokenProcessPool:
            self.restart()
            raise WorkerLostError("ended its worker process") from None
        except MonaiDentalError:
            raise
        except MemoryError:
            return Result("failed", TOO_LARGE)
        except Exception as error:  # noqa: BLE001 - its text could quote patient data
            return Result("failed", unforeseen(error))

    def restart(self) -> None:
        """Start another process in the place of this one."""
        self.stop()
        self._pool = self._start()

    def stop(self) -> None:
        """End the process; see `Worker.stop`."""
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()

    def _start(self) -> ProcessPool:
        return start_pool(1, _initialize, (self._job, self._limits, os.getpid()))


def default_workers(files: int, *, is_on_gpu: bool = False) -> int:
    """How many workers: one for each core, where there is memory and work for so many.

    Args:
        files: Number of files.
        is_on_gpu: Whether all of them use one GPU, which then has one worker.
    """
    if is_on_gpu:
        return 1
    return max(1, min(usable_cores(), memory_mb() // 2048, files))


_engine: Engine | None = None
_error: MonaiDentalError | None = None


def _initialize(job: Job, limits: Limits, parent: int) -> None:
    """Make a fresh process a worker; an error is kept for who asks."""
    global _engine, _error
    _die_with(parent)
    # Libraries' messages may quote what is in a file: nothing but results leaves a worker.
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
        _error = WorkerError(f"a worker cannot start: {unforeseen(error)}")


def _describe() -> Recipe:
    return _loaded().recipe


def _run(instance: Instance, known: str) -> Result:
    try:
        return _loaded().run(instance, known)
    except (MonaiDentalError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - told here: pickled, it would lose its place
        return Result("failed", unforeseen(error))


def _loaded() -> Engine:
    if _engine is None:
        raise _error or WorkerError("a worker was not made ready")
    return _engine


def _die_with(parent: int) -> None:
    """End this process as soon as its parent has ended, be it by SIGKILL."""
    end_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    process = multiprocessing.parent_process()
    if process is not None:  # and elsewhere, or where a thread alone ended
        threading.Thread(target=_exit_after, args=(process,), daemon=True).start()


def _exit_after(process: multiprocessing.process.BaseProcess) -> None:
    process.join()
    os._exit(1)


def _limit_memory(limit_mb: int | None) -> None:
    """Let allocations fail beyond the memory of now and so much more."""
    if limit_mb is None:
        return
    import resource

    try:
        with open("/proc/self/status", encoding="ascii") as stream:
            (line,) = (line for line in stream if line.startswith("VmData:"))
    except (OSError, ValueError):
        return
    limit = (int(line.split()[1]) << 10) + (limit_mb << 20)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _cause(code: int) -> str:
    return f"by signal {-code}" if code < 0 else f"with exit status {code}"
