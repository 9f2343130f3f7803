"""Start and end the server."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn

from monai_dental.errors import ServerError
from monai_dental.formats.find import find_images
from monai_dental.web.desk import Desk
from monai_dental.web.guard import Guard
from monai_dental.web.job import PageJob
from monai_dental.web.routes import Routes
from monai_dental.web.temporary import temporary_folder

LOOPBACK = "127.0.0.1"
"""The only address that the server listens on, since it has no password."""

_TOKEN_BYTES = 18


def serve(
    job: PageJob,
    port: int,
    studies: Path | None,
    *,
    opens_browser: bool,
    tell: Callable[[str], None],
) -> bool:
    """Serve the page until a signal ends the server.

    Args:
        job: The job that denoises.
        port: Port of 127.0.0.1; 0 for any free port.
        studies: A folder whose images are listed; they are only read, never written.
        opens_browser: Whether to open the page in the user's browser.
        tell: Shows a line to the user: the address, as soon as the server answers there.

    Returns:
        Whether the server ever started.

    Raises:
        ServerError: The port cannot be listened on.
        DatasetError: The folder holds no images.
        OutputError: Temporary files cannot be written.
    """
    paths = [] if studies is None else find_images(studies)
    listener = _listen(port)
    port = listener.getsockname()[1]
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    address = f"http://{LOOPBACK}:{port}/{token}/"
    with _ended_by_hangup(), temporary_folder() as folder:
        desk = Desk(job, folder)
        if studies is not None:
            desk.images.add_folder(studies, paths)

        @contextlib.asynccontextmanager
        async def lifespan(_: Any) -> AsyncIterator[None]:
            await desk.start()
            try:
                yield
            finally:
                await desk.stop()

        hosts = frozenset(f"{name}:{port}" for name in (LOOPBACK, "localhost"))
        app = Guard(Routes(desk).app(lifespan), token, hosts)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, date_header=False,
            timeout_graceful_shutdown=2, ws="none",
        )  # fmt: skip
        server = _Server(config, address, desk, opens_browser, tell)
        with contextlib.suppress(KeyboardInterrupt):  # the normal end of a server
            server.run(sockets=[listener])
    return bool(server.started)


class _Server(uvicorn.Server):
    """A server that reports its address as soon as it answers there.

    It ends the work before the connections.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        address: str,
        desk: Desk,
        opens_browser: bool,
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(config)
        self._address, self._desk = address, desk
        self._opens_browser, self._tell = opens_browser, tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        self._tell(f"The page is at {self._address}")
        self._tell("Only this machine can open it. Ctrl-C ends it.")
        if self._opens_browser:  # with some browsers, this returns only when they are closed
            threading.Thread(target=webbrowser.open, args=(self._address,), daemon=True).start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._desk.stop()  # else who waits for a picture would hold the end up
        await super().shutdown(sockets)


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise ServerError(
            f"{LOOPBACK}:{port}: cannot listen there: {error.strerror or error}; try --port 0"
        ) from error


@contextlib.contextmanager
def _ended_by_hangup() -> Iterator[None]:
    """End the server like Ctrl-C when its terminal is closed, so that nothing is left behind."""
    if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
        yield
        return
    # Do not raise an exception: during a request, it would end only that request.
    before = signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
