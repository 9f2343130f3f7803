"""Health, metrics and page of a node, over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from monai_dental.errors import MonaiDentalError, PacsError
from monai_dental.node.log import COUNTERS
from monai_dental.node.page_server import NodePage
from monai_dental.web.policy import HEADERS

_PREFIX = "monai_dental_node"
_TEXT = "text/plain; charset=utf-8"
_MOST_ARCHIVES = 32  # with their own label
_OTHERS = "others"


@dataclass(frozen=True)
class ArchiveHealth:
    """Health of the forwarding to an archive.

    Attributes:
        forwarded: Instances proven to have arrived there since the node started.
        retries: Failed attempts since the node started.
        waiting: Instances that wait to be forwarded to it.
        failures: Failed attempts since the last success.
    """

    forwarded: int = 0
    retries: int = 0
    waiting: int = 0
    failures: int = 0

    def __add__(self, other: ArchiveHealth) -> ArchiveHealth:
        """Return the sum of both."""
        return ArchiveHealth(*map(sum, zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, eq=False)
class Health(Collector):
    """Health of a node.

    Attributes:
        counts: Counters since it started, by the names of `COUNTERS`.
        queue: Number of instances, by state.
        spool_bytes: Size of the spool.
        spool_limit_bytes: Maximum size of the spool.
        is_spool_full: Whether instances are refused for lack of space.
        associations: Current number of associations.
        forward_failures: Failed attempts to forward since the last success.
        pauses: What pauses, and why, in words.
        archives: Health of each archive, by address.
    """

    counts: dict[str, int]
    queue: dict[str, int]
    spool_bytes: int
    spool_limit_bytes: int
    is_spool_full: bool
    associations: int
    forward_failures: int
    pauses: tuple[str, ...] = ()
    archives: Mapping[str, ArchiveHealth] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """What prevents the node from receiving or forwarding instances, in words."""
        found = []
        if self.is_spool_full:
            found.append("the spool is full: instances are refused")
        has_several = len(self.archives) > 1
        for address, archive in self.archives.items():
            if has_several and archive.failures:
                found.append(f"forwarding to {address} failed {archive.failures} times in a row")
        if self.forward_failures and not has_several:
            found.append(f"forwarding failed {self.forward_failures} times in a row")
        return [*found, *self.pauses]

    @property
    def notes(self) -> list[str]:
        """What needs attention although the node works, in words."""
        failed = self.queue.get("failed", 0)
        return [f"{failed} instances failed; `monai-dental node-status` says why"] * (failed > 0)

    def metrics(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; for `prometheus_client`."""
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(f"{_PREFIX}_{name}", text, value=self.counts[name])
        states = GaugeMetricFamily(
            f"{_PREFIX}_instances", "Instances in the queue, by state", labels=["state"]
        )
        for state, count in self.queue.items():
            states.add_metric([state], count)
        yield states
        for name, text, value in (
            ("spool_bytes", "Size of the spool", self.spool_bytes),
            ("spool_limit_bytes", "Size limit of the spool", self.spool_limit_bytes),
            ("spool_full", "Whether instances are refused for lack of space", self.is_spool_full),
            ("associations", "Current associations", self.associations),
            ("forward_failures", "Failed attempts since the last success", self.forward_failures),
        ):
            yield GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=int(value))
        yield from self._collect_archives()

    def _collect_archives(self) -> Iterator[Metric]:
        """Yield the metrics of each archive; archives beyond the 32nd are added together."""
        shown = dict(islice(self.archives.items(), _MOST_ARCHIVES))
        others = [each for address, each in self.archives.items() if address not in shown]
        if others:
            shown[_OTHERS] = sum(others, ArchiveHealth())
        for name, text, kind in (
            ("forwarded", "Instances proven to have arrived in an archive", CounterMetricFamily),
            ("retries", "Attempts to forward to an archive that failed", CounterMetricFamily),
            ("waiting", "Instances that wait to be forwarded to an archive", GaugeMetricFamily),
            ("failures", "Failed attempts since the last success", GaugeMetricFamily),
        ):
            family = kind(f"{_PREFIX}_archive_{name}", text, labels=["archive"])
            for address, archive in shown.items():
                family.add_metric([address], getattr(archive, name))
            yield family


class HealthServer:
    """A server for `/health` (200 or 503) and `/metrics`; the page answers all other requests.

    Health and metrics show only numbers and reasons.

    Args:
        host: Address to listen on.
        port: TCP port; 0 for any free port.
        look: Returns the node's health.
        page: The page.

    Raises:
        PacsError: The port cannot be used.
    """

    def __init__(self, host: str, port: int, look: Callable[[], Health], page: NodePage) -> None:
        class Handler(_Handler):
            health = staticmethod(look)

        Handler.page = page

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise PacsError(
                f"{host}:{port}: cannot listen there: {error.strerror or type(error).__name__}"
            ) from error
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """The TCP port that the server listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Start to serve."""
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    health: Callable[[], Health]
    page: NodePage
    timeout = 10

    def do_GET(self) -> None:
        """Answer a request."""
        if self.path == "/metrics":
            self._answer(200, self.health().metrics(), CONTENT_TYPE_LATEST)
        elif self.path == "/health":
            health = self.health()
            problems = health.problems
            said = "\n".join([*(problems or ["ok"]), *health.notes]) + "\n"
            self._answer(503 if problems else 200, said.encode(), _TEXT)
        else:
            self._answer_by_page()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: a monitor sends requests all the time."""

    def _answer_by_page(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        peer, own = self.client_address[0], self.connection.getsockname()[:2]
        try:
            answer = self.page.answer(self.path, headers, peer, own)
        except MonaiDentalError as error:
            self._answer(500, f"{error}\n".encode(), _TEXT)
        else:
            self._answer(answer.status, answer.content, answer.media_type, HEADERS)

    def _answer(
        self, status: int, content: bytes, kind: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
