"""The desk: have images read, denoised and saved, each step once despite repeated requests."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from monai_dental.batch.workers.protocol import Limits
from monai_dental.errors import MonaiDentalError, unexpected
from monai_dental.process.machine import memory_mb, usable_cores
from monai_dental.web.images import Image, Images
from monai_dental.web.job import AFTER, BEFORE, FULL, THUMBNAIL, Answer, PageJob, Task
from monai_dental.web.line import LATER, SOON, URGENT, DeedError, Line

TIME_LIMIT_S = 600.0
"""Time limit for one file, as in a batch."""


class Desk:
    """Two worker processes and the images of the page.

    One process runs the network; the other reads and writes files, so images can be opened and
    saved while the network works.
    """

    def __init__(self, job: PageJob, folder: Path) -> None:
        memory = memory_mb() * 3 // 4
        self._network = Line(job, Limits(TIME_LIMIT_S, memory, max(1, usable_cores())))
        self._files = Line(PageJob(None), Limits(TIME_LIMIT_S, memory, 1))
        self._lines = {self._network, self._files}
        self._folder = folder
        self._tasks: set[asyncio.Task[Any]] = set()
        self._numbers = itertools.count(1)
        self.images = Images(folder)
        self.model = "loading"

    async def start(self) -> None:
        """Start both processes; images are accepted before they are ready."""
        self._spawn(self._files.start())
        self._spawn(self._load())

    async def stop(self) -> None:
        """End both processes, even if they are busy; whoever waits for them gets an error."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(line.stop() for line in self._lines))

    def follow(self, image: Image) -> None:
        """Start work on a new image: read it, then denoise it."""
        image.state = "waiting"
        self.images.touch(image)
        self._spawn(self._follow(image))

    async def inspected(self, image: Image, urgency: int = SOON) -> None:
        """Have an image's `info` and thumbnail read, unless they already were."""
        if image.info and (image.folder / THUMBNAIL).exists():
            return

        async def work() -> None:
            image.folder.mkdir(mode=0o700, exist_ok=True)
            await self._fetch(image)
            answer = await self._do(self._files, image, "inspect", urgency)
            image.info = answer.info
            self.images.touch(image)

        await self._once(image, "inspect", urgency, work)

    async def opened(self, image: Image) -> Path:
        """Return the file of an image's grey values."""
        await self.inspected(image, URGENT)

        async def work() -> None:
            await self._do(self._files, image, "open", URGENT)

        if not (image.folder / BEFORE).exists():
            await self._once(image, "open", URGENT, work)
        self.images.use(image)
        return image.folder / BEFORE

    async def denoised(self, image: Image, urgency: int = SOON) -> Path:
        """Return the file of an image's grey values after denoising."""
        await self.inspected(image, urgency)

        async def work() -> None:
            if image.state != "done":
                image.state = "waiting"
                self.images.touch(image)

            def began() -> None:
                if image.state != "done":
                    image.state = "denoising"
                    self.images.touch(image)

            answer = await self._do(self._network, image, "denoise", urgency, began)
            image.derivation = answer.derivation
            image.state = "done"
            self.images.touch(image)

        if not (image.folder / FULL).exists() or not (image.folder / AFTER).exists():
            await self._once(image, "denoise", urgency, work)
        self.images.use(image)
        return image.folder / AFTER

    async def figures(self, image: Image, strength: float, frame: int) -> dict[str, Any]:
        """Return the figures of a frame, and store its noise map in the image's folder."""
        await self.denoised(image, URGENT)
        task = self._task(image, "figures", strength=strength, frame=frame)
        with image.in_use():
            return (await self._network.do(task, URGENT)).info

    @contextlib.asynccontextmanager
    async def saved(self, image: Image, strength: float) -> AsyncIterator[Path]:
        """Write the result at a strength as `monai-dental denoise` does; yield its file.

        The file is removed at the end of the context; nobody else writes to it.
        """
        await self.denoised(image, URGENT)
        # Not in the image's folder, which may be removed meanwhile. The worker makes it.
        folder = self._folder / f"saved-{next(self._numbers)}"
        try:
            await self._save(image, strength, folder / image.path.name)
            yield folder / image.path.name
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def report(self, images: list[Image], strength: float, language: str) -> Path:
        """Write a report on the given images at a strength, and return the folder of its pages."""
        folder = Path(tempfile.mkdtemp(prefix="report-", dir=self._folder))
        shown = []
        for image in images:
            name = Path(image.name)
            with contextlib.suppress(DeedError):
                await self.denoised(image, URGENT)
                await self._save(image, strength, folder / "results" / name)
                shown.append(Task(image.path, name))
        if not shown:
            raise DeedError("no image is denoised yet; drop one on the page")
        # Use a separate line: many images take longer than the limit for one file.
        line = Line(PageJob(None), Limits(None, None, 1))
        self._lines.add(line)
        try:
            await line.start()
            task = Task(
                folder, Path(), deed="report", folder=folder, others=tuple(shown), language=language
            )
            await line.do(task)
        finally:
            self._lines.discard(line)
            await line.stop()
            shutil.rmtree(folder / "results", ignore_errors=True)
        return folder / "report"

    async def _save(self, image: Image, strength: float, path: Path) -> None:
        task = self._task(image, "save", strength=strength, result=path)
        with image.in_use():
            await self._files.do(task, URGENT)

    async def _fetch(self, image: Image) -> None:
        """Fetch a remote image; any further files become separate images."""
        if image.fetch is None:
            return
        try:
            paths = await asyncio.to_thread(image.fetch)
        except MonaiDentalError as error:
            image.state, image.reason = "failed", str(error)
            self.images.touch(image)
            raise DeedError(str(error)) from error
        image.path, image.fetch = paths[0], None
        for path in paths[1:]:
            key, _ = self.images.new_folder()
            other = self.images.add(key, f"{image.name} {path.name}", path, is_upload=False)
            other.source = image.source

    async def _load(self) -> None:
        try:
            await self._network.start()
            self.model = "ready"
        except MonaiDentalError as error:
            self.model = f"error: {error}"
        except Exception as error:  # noqa: BLE001 - the page must not wait for ever
            self.model = f"error: {unexpected(error)}"

    async def _follow(self, image: Image) -> None:
        with contextlib.suppress(DeedError):
            await self.inspected(image)
            await self.denoised(image, LATER)

    async def _do(
        self,
        line: Line,
        image: Image,
        deed: str,
        urgency: int,
        began: Callable[[], None] | None = None,
    ) -> Answer:
        try:
            return await line.do(self._task(image, deed), urgency, began)
        except DeedError as error:
            image.state, image.reason = "failed", str(error)
            self.images.touch(image)
            raise

    @staticmethod
    def _task(image: Image, deed: str, **options: Any) -> Task:
        name = Path(image.name)
        return Task(
            image.path, name, deed=deed, folder=image.folder, derivation=image.derivation, **options
        )

    async def _once(
        self, image: Image, deed: str, urgency: int, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Do a piece of work, or wait for it if it is already in progress."""
        running = image.work.get(deed)
        if running is None or running.done():
            running = image.work[deed] = asyncio.create_task(work())
            running.add_done_callback(_retrieved)
        elif urgency == URGENT:
            self._network.hasten(image.path)
            self._files.hasten(image.path)
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            if not running.cancelled():  # else it is the request that is cancelled
                raise
            raise DeedError("it was removed from the list meanwhile") from None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_retrieved)


def _retrieved(task: asyncio.Future[Any]) -> None:
    """Retrieve a task's error, so that asyncio does not warn that it was never retrieved."""
    if not task.cancelled():
        task.exception()
