"""The page of `serve` on MONAI Label's server, with the images of the datastore."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from monailabel.interfaces.exception import ImageNotFoundException
from starlette.types import Receive, Scope, Send

from monai_dental.errors import DatasetError
from monai_dental.label.model import Model
from monai_dental.web.desk import Desk
from monai_dental.web.guard import Hardened
from monai_dental.web.images import Image
from monai_dental.web.job import PageJob
from monai_dental.web.routes import Routes
from monai_dental.web.temporary import temporary_folder

if TYPE_CHECKING:
    from monailabel.interfaces.datastore import Datastore
    from starlette.types import ASGIApp

_TAG = "original"


class LabelPage:
    """An ASGI app that shows and denoises the images of a datastore.

    It starts its worker processes when the page is first opened.
    """

    def __init__(self, datastore: Datastore, model: Model) -> None:
        self._datastore, self._model = datastore, model
        self._listed: set[str] = set()
        self._starting = asyncio.Lock()
        self._desk: Desk | None = None
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        async with self._starting:
            if self._desk is None:
                await self._start()
        if scope["path"].removeprefix(scope.get("root_path", "")) in ("", "/"):
            await self._list()
        assert self._app is not None
        await self._app(scope, receive, send)

    async def _start(self) -> None:
        stack = contextlib.ExitStack()
        folder = stack.enter_context(temporary_folder())
        atexit.register(stack.close)
        self._desk = Desk(PageJob(self._model.folder), folder)
        self._app = Hardened(Routes(self._desk, self._keep).app())
        await self._desk.start()

    async def _list(self) -> None:
        """List the images that are new in the datastore since the page was last opened."""
        assert self._desk is not None
        found = await asyncio.to_thread(self._datastore.list_images)
        for image_id in sorted(set(found) - self._listed):
            self._listed.add(image_id)
            self._desk.images.add_remote(image_id, image_id, self._fetcher(image_id))

    def _fetcher(self, image_id: str) -> Callable[[], list[Path]]:
        def fetch() -> list[Path]:
            try:
                path = Path(self._datastore.get_image_uri(image_id))
            except ImageNotFoundException as error:
                raise DatasetError(f"{image_id}: it is no longer in the datastore") from error
            return sorted(path.iterdir()) if path.is_dir() else [path]

        return fetch

    def _keep(self, image: Image, path: Path) -> str:
        """Store a result in the datastore."""
        kept: str = self._datastore.save_label(image.source, str(path), _TAG, {})
        return kept
