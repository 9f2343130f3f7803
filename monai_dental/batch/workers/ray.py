"""Workers in a Ray cluster, or in a small one that lasts as long as the batch.

Each worker is an actor that holds a worker process of `workers.local`, which handles the faults of
a file as it does without Ray. This module only handles the loss of a machine.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from monai_dental.batch.job import Job, Recipe, Result
from monai_dental.batch.source import Instance
from monai_dental.batch.workers.local import LocalWorker
from monai_dental.batch.workers.protocol import Limits, WorkerGoneError, WorkerLostError
from monai_dental.errors import (
    MissingPackageError,
    MonaiDentalError,
    WorkerError,
    extra_needed,
    unexpected,
)
from monai_dental.process.machine import usable_cores

_Answer = TypeVar("_Answer")

_START_S = 300.0
_STARTS = 5  # Ray allows its own parts 30 s, which can be too short on a busy machine
_OBJECT_STORE = 80 << 20  # bytes; files and results are passed by path, so it stays small
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # reports to Ray's maker
    "RAY_ROTATION_MAX_BYTES": str(1 << 20),
    "RAY_ROTATION_BACKUP_COUNT": "1",
}
# Ray only uses this address if it expects no cluster, as it does on Windows and macOS.
_LOOPBACK = "127.0.0.1"
_ALONE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_worker_niceness": "0",  # default 15: a batch keeps the priority it was started with
}


class RayCluster:
    """The machines of a Ray cluster; see `connect_ray`.

    Args:
        ray: The package, connected.
        is_on_gpus: Whether each worker takes a GPU, if the cluster has any.
    """

    def __init__(self, ray: Any, is_on_gpus: bool) -> None:
        self._ray = ray
        resources = ray.cluster_resources()
        self._gpus = int(resources.get("GPU", 0)) if is_on_gpus else 0
        self._cpus = int(resources.get("CPU", 0))
        self._memory_mb = int(resources.get("memory", 0)) >> 20

    def default_workers(self, files: int) -> int:
        """Return the number of workers: one per GPU if there are any, otherwise one per core."""
        most = self._gpus or min(self._cpus, self._memory_mb // 2048)
        return max(1, min(most, files))

    def memory_mb(self, workers: int) -> int:
        """Return a worker's share of the memory that Ray leaves to programs, in MiB."""
        return max(1, self._memory_mb // workers)

    def start_worker(self, job: Job, limits: Limits, start_s: float = _START_S) -> RayWorker:
        """Start a worker on any machine with room; see `MakeWorker` and `RayWorker`."""
        actor = self._ray.remote(_Actor).options(
            num_cpus=limits.threads,
            num_gpus=1 if self._gpus else 0,
            max_restarts=0,
            scheduling_strategy="SPREAD",
        )
        return RayWorker(self._ray, lambda: actor.remote(job, limits), start_s)


class RayWorker:
    """A worker on one of Ray's machines; moves to another if that machine is lost.

    Args:
        ray: The package, connected.
        make: Makes an actor.
        start_s: How long an actor may wait for room on a machine, in seconds.
    """

    def __init__(self, ray: Any, make: Callable[[], Any], start_s: float) -> None:
        self._ray, self._make, self._start_s = ray, make, start_s
        self._start()

    def describe(self) -> Recipe:
        """Return the engine's settings; see `Worker.describe`."""
        try:
            recipe: Recipe = _unwrap(self._actor.describe.remote().future().result())
        except self._ray.exceptions.RayError as error:
            raise WorkerError(
                f"no worker has started in {self._start_s:g} s; need free CPUs (and GPUs, where "
                "there are some) in the Ray cluster, and monai_dental on its machines"
            ) from error
        return recipe

    def submit(self, instance: Instance, known: str) -> Future[Result]:
        """Start a file; see `Worker.submit`."""
        future: Future[Result] = self._actor.run.remote(instance, known).future()
        return future

    def collect(self, future: Future[Result]) -> Result:
        """Return the result for a file; see `Worker.collect`."""
        try:
            result: Result = _unwrap(future.result())
        except self._ray.exceptions.RayError:
            if not self._up.done() or self._up.exception() is not None:
                raise WorkerGoneError("no machine of the Ray cluster has room for it") from None
            self._start()
            raise WorkerLostError("crashed its worker, or that worker's machine") from None
        return result

    def stop(self) -> None:
        """End the worker; see `Worker.stop`."""
        self._timer.cancel()
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._actor)

    def _start(self) -> None:
        actor = self._make()
        up: Future[None] = actor.ready.remote().future()
        timer = threading.Timer(self._start_s, self._ray.kill, (actor,))
        timer.daemon = True
        timer.start()
        up.add_done_callback(lambda _: timer.cancel())
        self._actor, self._up, self._timer = actor, up, timer


class _Actor:
    """The actor on a machine of the cluster; returns errors, since Ray would print raised ones."""

    def __init__(self, job: Job, limits: Limits) -> None:
        vars(sys.modules["__main__"]).pop("__file__", None)  # the worker needs no module of Ray
        self._worker = LocalWorker(job, limits)

    def ready(self) -> None:
        """Return once the actor has started."""

    def describe(self) -> Recipe | MonaiDentalError:
        return _wrap(self._worker.describe)

    def run(self, instance: Instance, known: str) -> Result | MonaiDentalError:
        return _wrap(lambda: self._worker.collect(self._worker.submit(instance, known)))


@contextlib.contextmanager
def connect_ray(address: str | None = None, is_on_gpus: bool = True) -> Iterator[RayCluster]:
    """Connect to a Ray cluster, or start one on this machine only.

    The latter listens on loopback only and needs a password that only this process and its children
    have. It has neither dashboard nor usage reports, and ends with this process.

    Args:
        address: "host:port" of a cluster that includes this machine; None starts one.
        is_on_gpus: Whether each worker takes a GPU, if there are any.

    Raises:
        MissingPackageError: Ray is not installed.
        WorkerError: The cluster cannot be reached, or does not start.
    """
    variables, folder = dict(_QUIET), ""
    options: dict[str, Any] = {"address": address or "local"}
    if address is None:
        variables |= _ALONE
        variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        folder = tempfile.mkdtemp(prefix="md-ray-")  # short: socket paths have a length limit
        options |= {
            "num_cpus": usable_cores(), "include_dashboard": False, "_node_ip_address": _LOOPBACK,
            "object_store_memory": _OBJECT_STORE, "_temp_dir": f"{folder}/ray",
        }  # fmt: skip
    try:
        with _environment(variables):  # Ray reads it for its whole lifetime
            ray = _import_ray()
            _start_ray(ray, address, options)
            try:
                if address is None and ray.nodes()[0]["NodeManagerAddress"] != _LOOPBACK:
                    raise WorkerError("Ray: would accept other machines; do not import ray earlier")
                yield RayCluster(ray, is_on_gpus)
            finally:
                ray.shutdown()
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables within this context."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start_ray(ray: Any, address: str | None, options: dict[str, Any]) -> None:
    """Start Ray, or connect to it; see `connect_ray`."""
    for attempt in range(_STARTS):
        try:
            with _same_signal_handler():
                ray.init(**options, log_to_driver=False, configure_logging=False)
            return
        except Exception as error:  # noqa: BLE001 - whatever Ray raises
            ray.shutdown()
            if address is not None:
                raise WorkerError(
                    f"Ray at {address} cannot be reached: {type(error).__name__}; need the "
                    "host:port of a running cluster that this machine is part of"
                ) from error
            if attempt + 1 == _STARTS:
                raise WorkerError(
                    f"Ray does not start on this machine: {type(error).__name__}, {_STARTS} times; "
                    "need one that is less busy, or --ray-address"
                ) from error


def _import_ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise MissingPackageError(
            f"--engine ray needs the package ray: {extra_needed('scale')}"
        ) from error
    return ray


@contextlib.contextmanager
def _same_signal_handler() -> Iterator[None]:
    """Keep the handler of SIGTERM: Ray's own ends the process without a message."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wrap(function: Callable[[], _Answer]) -> _Answer | MonaiDentalError:
    try:
        return function()
    except MonaiDentalError as error:
        return error
    except Exception as error:  # noqa: BLE001 - its text could quote patient data
        return WorkerError(f"a worker failed: {unexpected(error)}")


def _unwrap(result: Any) -> Any:
    if isinstance(result, MonaiDentalError):
        raise result
    return result
