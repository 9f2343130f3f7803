"""The server's responses; `guard` controls access."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

import monai_dental
from monai_dental.errors import MonaiDentalError
from monai_dental.formats.registry import suffix_of
from monai_dental.viewer import assets
from monai_dental.viewer.words import Words
from monai_dental.web.archive import results_archive
from monai_dental.web.desk import Desk
from monai_dental.web.images import Image
from monai_dental.web.job import NOISE, THUMBNAIL
from monai_dental.web.line import LATER, URGENT
from monai_dental.web.names import attachment, ending_on_disk, shown_name
from monai_dental.web.uploads import MOST_IMAGES, RequestError, receive

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
_PAGE = files("monai_dental.web").joinpath("page")
_REPORT_POLICY = "frame-ancestors 'none'"  # the report's pages contain their own policy


class Routes:
    """The responses of the server.

    Args:
        desk: The desk, with the images and the worker processes.
        keep: Stores an image's result file where the image came from, and returns its name there;
            None if there is no such place. It may block.
    """

    def __init__(self, desk: Desk, keep: Callable[[Image, Path], str] | None = None) -> None:
        self._desk = desk
        self._keep = keep
        self._reports: dict[str, Path] = {}

    def app(
        self, lifespan: Callable[[Any], contextlib.AbstractAsyncContextManager[None]] | None = None
    ) -> Starlette:
        """Return the ASGI app.

        Args:
            lifespan: Context that starts and ends with the app.
        """
        routes = [
            Route("/", self.page),
            Route("/viewer/{name}", self.viewer_file),
            Route("/page/{name}", self.page_file),
            Route("/api/changes", _told(self.changes)),
            Route("/api/images", _told(self.upload), methods=["POST"]),
            Route("/api/images/{key}", _told(self.remove), methods=["DELETE"]),
            Route("/api/images/{key}/denoise", _told(self.denoise), methods=["POST"]),
            Route("/api/images/{key}/thumbnail", _told(self.thumbnail)),
            Route("/api/images/{key}/before", _told(self.before)),
            Route("/api/images/{key}/after", _told(self.after)),
            Route("/api/images/{key}/figures", _told(self.figures)),
            Route("/api/images/{key}/noise", _told(self.noise)),
            Route("/api/images/{key}/result", _told(self.result)),
            Route("/api/images/{key}/keep", _told(self.keep), methods=["POST"]),
            Route("/api/all.zip", _told(self.archive)),
            Route("/api/report", _told(self.make_report), methods=["POST"]),
            Route("/report/{number}/{name}", _told(self.report_page)),
        ]
        return Starlette(routes=routes, lifespan=lifespan)

    async def page(self, request: Request) -> Response:
        """Answer with the page."""
        settings = {"keeps": self._keep is not None}
        words = {"languages": assets.languages(), "settings": settings}
        text = Template(_PAGE.joinpath("index.html").read_text(encoding="utf-8")).substitute(
            data=json.dumps(words).replace("<", "\\u003c"), version=monai_dental.__version__
        )
        return Response(text, media_type="text/html")

    async def viewer_file(self, request: Request) -> Response:
        """Answer with a file of the viewer."""
        name = request.path_params["name"]
        if name == "viewer.css":
            return Response(assets.style(), media_type=_TYPES[".css"])
        if name in assets.module_names():
            return Response(assets.module(name), media_type=_TYPES[".js"])
        return Response("no such file\n", 404)

    async def page_file(self, request: Request) -> Response:
        """Answer with a file of the page."""
        name = request.path_params["name"]
        if name not in {each.name for each in _PAGE.iterdir()}:
            return Response("no such file\n", 404)
        text = _PAGE.joinpath(name).read_text(encoding="utf-8")
        return Response(text, media_type=_TYPES[Path(name).suffix])

    async def changes(self, request: Request) -> Response:
        """Answer with the changes since the page last asked."""
        since = _whole(request, "since")
        return JSONResponse({**self._desk.images.changes(since), "model": self._desk.model})

    async def upload(self, request: Request) -> Response:
        """Receive a file, and start work on it."""
        if len(self._desk.images) >= MOST_IMAGES:
            raise RequestError(413, f"there are {MOST_IMAGES} images already; remove some")
        name = shown_name(request.query_params.get("name", ""))
        length = request.headers.get("content-length", "")
        key, folder = self._desk.images.new_folder()
        path = folder / f"source{ending_on_disk(name)}"
        try:
            await receive(request.stream(), path, int(length) if length.isdecimal() else None)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        image = self._desk.images.add(key, name, path, is_upload=True)
        self._desk.follow(image)
        return JSONResponse(image.as_json(), 201)

    async def remove(self, request: Request) -> Response:
        """Remove an image."""
        self._desk.images.remove(self._image(request))
        return Response(status_code=204)

    async def denoise(self, request: Request) -> Response:
        """Denoise an image before all others."""
        await self._desk.denoised(self._image(request), URGENT)
        return Response(status_code=204)

    async def thumbnail(self, request: Request) -> Response:
        """Answer with a small PNG."""
        image = self._image(request)
        await self._desk.inspected(image, LATER)
        return FileResponse(image.folder / THUMBNAIL, media_type="image/png")

    async def before(self, request: Request) -> Response:
        """Answer with a frame's grey values."""
        image = self._image(request)
        return await self._frame(request, image, await self._desk.opened(image))

    async def after(self, request: Request) -> Response:
        """Answer with a frame's grey values at strength 1."""
        image = self._image(request)
        return await self._frame(request, image, await self._desk.denoised(image, URGENT))

    async def figures(self, request: Request) -> Response:
        """Answer with the figures of a frame at a strength."""
        image = self._image(request)
        strength, frame = _strength(request), self._frame_number(request, image)
        return JSONResponse(await self._desk.figures(image, strength, frame))

    async def noise(self, request: Request) -> Response:
        """Answer with the noise map of the frame whose figures were requested last."""
        path = self._image(request).folder / NOISE
        if not path.exists():
            raise RequestError(404, "no noise map yet; ask for the figures first")
        return Response(await asyncio.to_thread(path.read_bytes), media_type=_BYTES)

    async def result(self, request: Request) -> Response:
        """Answer with the file that `monai-dental denoise --strength` writes."""
        image, strength = self._image(request), _strength(request)
        async with self._desk.saved(image, strength) as path:
            content = await asyncio.to_thread(path.read_bytes)
        ending = "" if suffix_of(image.name) else suffix_of(image.path.name).lower()
        headers = {"Content-Disposition": attachment(f"{image.name}{ending}")}
        return Response(content, media_type=_BYTES, headers=headers)

    async def keep(self, request: Request) -> Response:
        """Store a result where its image came from."""
        image, strength = self._image(request), _strength(request)
        if self._keep is None or not image.source:
            raise RequestError(
                404, "results cannot be kept where this image came from; save it instead"
            )
        async with self._desk.saved(image, strength) as path:
            name = await asyncio.to_thread(self._keep, image, path)
        return JSONResponse({"name": name}, 201)

    async def archive(self, request: Request) -> Response:
        """Answer with a ZIP of all results, streamed while it is made."""
        images, strength, words = self._chosen(request), _strength(request), _words(request)
        chunks = results_archive(self._desk, images, strength, words)
        headers = {"Content-Disposition": attachment("denoised.zip")}
        return StreamingResponse(_nonempty(chunks), media_type="application/zip", headers=headers)

    async def make_report(self, request: Request) -> Response:
        """Write a report on the denoised images, and answer with its address."""
        done = [image for image in self._desk.images if image.state == "done"]
        folder = await self._desk.report(done, _strength(request), _words(request).tag)
        number = str(len(self._reports) + 1)
        self._reports[number] = folder
        return JSONResponse({"address": f"report/{number}/index.html"}, 201)

    async def report_page(self, request: Request) -> Response:
        """Answer with a page of a report."""
        folder = self._reports.get(request.path_params["number"])
        name = request.path_params["name"]
        if folder is None or name not in {each.name for each in folder.iterdir()}:
            raise RequestError(404, "no such report; make one on the page")
        headers = {"Content-Security-Policy": _REPORT_POLICY}
        return FileResponse(folder / name, media_type="text/html", headers=headers)

    def _image(self, request: Request) -> Image:
        try:
            return self._desk.images[request.path_params["key"]]
        except KeyError:
            raise RequestError(404, "no such image on this server; reload the page") from None

    def _chosen(self, request: Request) -> list[Image]:
        """The requested images: all, or all but those that are only listed."""
        everything = request.query_params.get("which") == "all"
        return [i for i in self._desk.images if everything or i.state != "listed"]

    def _frame_number(self, request: Request, image: Image) -> int:
        frame = _whole(request, "frame")
        if frame >= image.info.get("frames", 1):
            raise RequestError(404, f"frame {frame + 1}: the image has {image.info['frames']}")
        return frame

    async def _frame(self, request: Request, image: Image, path: Path) -> Response:
        frame = self._frame_number(request, image)
        info = image.info
        size = info["rows"] * info["columns"] * int(info["dtype"][1])

        def read() -> bytes:
            with path.open("rb") as stream:
                stream.seek(frame * size)
                return stream.read(size)

        return Response(await asyncio.to_thread(read), media_type=_BYTES)


_BYTES = "application/octet-stream"


def _told(endpoint: Endpoint) -> Endpoint:
    """Answer errors with a sentence that says what is wrong with the request or file.

    A browser that has left, or a server that is ending, is no error.
    """

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except RequestError as error:
            return JSONResponse({"reason": str(error)}, error.status)
        except MonaiDentalError as error:
            return JSONResponse({"reason": str(error)}, 422)
        except (ClientDisconnect, asyncio.CancelledError):
            return Response(status_code=503)

    return answer


def _strength(request: Request) -> float:
    text = request.query_params.get("strength", "1")
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise RequestError(400, "strength is not a number from 0 to 1")


def _words(request: Request) -> Words:
    """Return the words of the page's language; English if there are none."""
    return Words(request.query_params.get("lang", "en"))


def _whole(request: Request, name: str) -> int:
    text = request.query_params.get(name, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise RequestError(400, f"{name} is not a whole number")
    return int(text)


async def _nonempty(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        if chunk:
            yield chunk
