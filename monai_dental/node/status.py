"""State of a node for its page, which shows only UIDs and reasons."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import monai_dental
from monai_dental.node.queue import DERIVED, FAILED, FORWARDED, RECEIVED, SKIPPED, Queue
from monai_dental.node.queue_rows import QueuedInstance
from monai_dental.node.settings import NodeSettings

if TYPE_CHECKING:
    from monai_dental.node.health import Health

_ROWS = 100
_HOURS = 24
_HOUR_S = 3600.0


class NodeStatus:
    """State of a node, from its queue and its health.

    The queue is read by a separate connection, so that the node never waits for it.
    """

    def __init__(self, settings: NodeSettings, look: Callable[[], Health]) -> None:
        self._settings, self._look = settings, look
        self._started = time.time()

    def __call__(self) -> dict[str, Any]:
        """Return the state, for JSON; times are in ISO 8601, UTC.

        Raises:
            OutputError: The queue cannot be read.
        """
        health = self._look()
        disk = shutil.disk_usage(self._settings.spool)
        with closing(_QueueView(self._settings.spool)) as queue:
            by_hour = queue.forwarded_by_hour()
            return {
                "name": self._settings.ae_title,
                "version": monai_dental.__version__,
                "started": _iso(self._started),
                "problems": health.problems,
                "associations": health.associations,
                "counts": health.queue,
                "waiting": [_waiting(each) for each in queue.oldest(RECEIVED, DERIVED)],
                "failed": [_failed(each) for each in queue.oldest(FAILED)],
                "skipped": queue.reasons(SKIPPED),
                "rows": _ROWS,
                "by_hour": by_hour,
                "disk": {
                    "used": health.spool_bytes,
                    "limit": health.spool_limit_bytes,
                    "free": disk.free,
                },
                "archives": [
                    {
                        "address": each,
                        "failures": health.archives[each].failures,
                        "last": _iso(queue.last_forwarded(each)),
                    }
                    for each in self._settings.destinations
                ],
                "proofs": queue.proofs_of_today(),
            }


class _QueueView(Queue):
    """The queue's queries for the page, with results of limited length."""

    def oldest(self, *states: str) -> list[QueuedInstance]:
        """Return the rows that have been in the given states longest."""
        marks = ", ".join("?" * len(states))
        where = f"state IN ({marks}) ORDER BY changed LIMIT {_ROWS}"
        return list(self._select(where, *states))

    def last_forwarded(self, destination: str) -> float | None:
        """Return when an archive last received an instance, in seconds since the epoch, or None."""
        query = (
            "SELECT changed FROM instances WHERE state = ? AND destination = ? "
            "ORDER BY changed DESC LIMIT 1"
        )
        found = self._ask(query, FORWARDED, destination)
        return float(found[0][0]) if found else None

    def proofs_of_today(self) -> dict[str, int]:
        """Return how many instances arrived in the last 24 hours, by proof."""
        query = (
            "SELECT proof, COUNT(*) FROM instances WHERE state = ? AND changed > ? GROUP BY proof"
        )
        return dict(self._ask(query, FORWARDED, time.time() - _HOURS * _HOUR_S))

    def reasons(self, state: str) -> list[dict[str, Any]]:
        """Return the most frequent reasons of a state, each with its count."""
        query = (
            "SELECT reason, COUNT(*) FROM instances WHERE state = ? GROUP BY reason "
            f"ORDER BY 2 DESC, 1 LIMIT {_ROWS}"
        )
        return [{"reason": reason, "count": count} for reason, count in self._ask(query, state)]

    def forwarded_by_hour(self) -> list[int]:
        """Return how many instances arrived in each of the last 24 hours, the current hour last."""
        now = time.time()
        query = (
            "SELECT CAST((? - changed) / ? AS INTEGER), COUNT(*) FROM instances "
            "WHERE state = ? AND changed > ? GROUP BY 1"
        )
        since = now - _HOURS * _HOUR_S
        found = dict(self._ask(query, now, _HOUR_S, FORWARDED, since))
        return [found.get(age, 0) for age in reversed(range(_HOURS))]


def _waiting(queued: QueuedInstance) -> dict[str, Any]:
    if queued.state == RECEIVED:
        return {"uid": queued.uid or queued.key, "step": "denoise", "since": _iso(queued.changed)}
    return {
        "uid": queued.output_uid or queued.uid or queued.key,
        "step": "forward",
        "is_original": bool(queued.original),
        "since": _iso(queued.changed),
        "reason": queued.reason,
        "refusals": queued.attempts,
        "next": _iso(queued.due) if queued.due > time.time() else None,
    }


def _failed(queued: QueuedInstance) -> dict[str, Any]:
    return {
        "uid": queued.uid or queued.output_uid or queued.key,
        "since": _iso(queued.changed),
        "reason": queued.reason,
    }


def _iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
