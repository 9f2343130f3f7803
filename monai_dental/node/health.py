"""Health and metrics of a node, over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from monai_dental.errors import PacsError
from monai_dental.node.log import COUNTERS

_PREFIX = "monai_dental_node"
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, eq=False)
class Health(Collector):
    """How a node is.

    Attributes:
        counts: By the names of `COUNTERS`, since it started.
        queue: Number of instances, by state.
        spool_bytes: What the spool takes.
        spool_limit_bytes: What it may take.
        is_spool_full: Whether instances are refused for want of room.
        associations: Number of associations.
        forward_failures: Attempts to forward that failed since one succeeded.
        pauses: What rests, and why, in words.
    """

    counts: dict[str, int]
    queue: dict[str, int]
    spool_bytes: int
    spool_limit_bytes: int
    is_spool_full: bool
    associations: int
    forward_failures: int
    pauses: tuple[str, ...] = ()

    @property
    def problems(self) -> list[str]:
        """What keeps the node from taking instances or passing them on, in words."""
        found = []
        if self.is_spool_full:
            found.append("the spool is full: instances are refused")
        if self.forward_failures:
            found.append(f"forwarding failed {self.forward_failures} times in a row")
        return [*found, *self.pauses]

    @property
    def notes(self) -> list[str]:
        """What somebody should look at though the node goes on, in words."""
        failed = self.queue.get("failed", 0)
        return [f"{failed} instances failed; `monai-dental node-status` tells why"] * (failed > 0)

    def metrics(self) -> bytes:
        """All numbers in Prometheus' text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """The numbers; for `prometheus_client`."""
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(f"{_PREFIX}_{name}", text, value=self.counts[name])
        states = GaugeMetricFamily(
            f"{_PREFIX}_instances", "Instances in the queue, by state", labels=["state"]
        )
        for state, count in self.queue.items():
            states.add_metric([state], count)
        yield states
        for name, text, value in (
            ("spool_bytes", "What the spool takes", self.spool_bytes),
            ("spool_limit_bytes", "What the spool may take", self.spool_limit_bytes),
            ("spool_full", "Whether instances are refused for want of room", self.is_spool_full),
            ("associations", "Associations now", self.associations),
            ("forward_failures", "Attempts that failed since one succeeded", self.forward_failures),
        ):
            yield GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=int(value))


class HealthServer:
    """Answers `/health` with 200 or 503, and `/metrics`; both tell numbers and reasons alone.

    Args:
        host: Address to listen on.
        port: TCP port; 0 for any that is free.
        look: Says how the node is.

    Raises:
        PacsError: The port cannot be used.
    """

    def __init__(self, host: str, port: int, look: Callable[[], Health]) -> None:
        class Handler(_Handler):
            health = staticmethod(look)

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise PacsError(
                f"{host}:{port}: cannot listen there: {error.strerror or type(error).__name__}"
            ) from error
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """The TCP port that it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    health: Callable[[], Health]
    timeout = 10

    def do_GET(self) -> None:
        """Answer."""
        if self.path == "/metrics":
            self._answer(200, self.health().metrics(), CONTENT_TYPE_LATEST)
        elif self.path == "/health":
            health = self.health()
            problems = health.problems
            said = "\n".join([*(problems or ["ok"]), *health.notes]) + "\n"
            self._answer(503 if problems else 200, said.encode(), _TEXT)
        else:
            self._answer(404, b"need /health or /metrics\n", _TEXT)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a monitor asks all the time."""

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
