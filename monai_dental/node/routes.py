"""Destinations of derived instances and of originals."""

from __future__ import annotations

import contextlib
from pathlib import Path

from monai_dental.dicom.head import read_head
from monai_dental.errors import CorruptImageError
from monai_dental.node.settings import NodeSettings, Route


class Router:
    """Choice of the first route that fits."""

    def __init__(self, settings: NodeSettings) -> None:
        self._routes, self._forward = settings.routes, settings.forward
        self._keywords = sorted({each for route in self._routes for each in route.tags})

    @property
    def has_originals(self) -> bool:
        """Whether any originals are forwarded."""
        return any(route.originals for route in self._routes)

    def originals(self, sender: str, path: Path) -> tuple[str, ...]:
        """Return the destinations of an original, each once; arguments are as for `__call__`."""
        if not self.has_originals:
            return ()
        route = self._find(sender, path)
        return tuple(dict.fromkeys(route.forward)) if route and route.originals else ()

    def __call__(self, sender: str, path: Path) -> tuple[str, ...]:
        """Return the destinations of an instance, each once.

        Args:
            sender: AE title of its sender; "" if unknown.
            path: The derived instance; an unreadable one matches no tags, and fails later.
        """
        route = self._find(sender, path)
        return tuple(dict.fromkeys(route.forward)) if route else (self._forward,)

    def _find(self, sender: str, path: Path) -> Route | None:
        values = dict.fromkeys(self._keywords, "")
        if values:
            with contextlib.suppress(CorruptImageError):
                values = read_head(path, *self._keywords)
        return next((each for each in self._routes if _fits(each, sender, values)), None)


def _fits(route: Route, sender: str, values: dict[str, str]) -> bool:
    if route.senders and sender not in route.senders:
        return False
    return all(values[keyword] in wanted for keyword, wanted in route.tags.items())
