"""All results as one ZIP, sent as it is made: it never lies on the disk or in memory as a whole."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from typing import IO, Any, cast

from monai_dental.web.desk import Desk
from monai_dental.web.images import Image
from monai_dental.web.line import DeedError

_CHUNK = 1 << 20
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that ZIP knows: it says nothing of an examination

FAILURES = "not-denoised.txt"
"""Member that says which images are missing, and why."""


class _Pipe(io.RawIOBase):
    """A file that cannot seek, whose content is taken away as it is written."""

    def __init__(self) -> None:
        self._content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._content += data
        return len(data)

    def take(self) -> bytes:
        content = bytes(self._content)
        self._content.clear()
        return content


async def results_archive(desk: Desk, images: list[Image], strength: float) -> AsyncIterator[bytes]:
    """Yield a ZIP of the results at a strength; what is not denoised yet is denoised now.

    Args:
        desk: Denoises and saves.
        images: Which images.
        strength: Share of the correction that is applied, 0 to 1.
    """
    pipe = _Pipe()
    failures = []
    with zipfile.ZipFile(cast("IO[bytes]", pipe), "w") as archive:
        for image in images:
            try:
                path = await desk.saved(image, strength, image.folder / "archive")
            except DeedError as error:
                failures.append(f"{image.name}: {error}\n")
                continue
            try:
                member = zipfile.ZipInfo(image.name, _TIME)
                with path.open("rb") as source, archive.open(member, "w", force_zip64=True) as to:
                    while chunk := await asyncio.to_thread(source.read, _CHUNK):
                        to.write(chunk)
                        yield pipe.take()
            finally:
                path.unlink(missing_ok=True)
            yield pipe.take()
        if failures:
            archive.writestr(zipfile.ZipInfo(FAILURES, _TIME), "".join(failures))
    yield pipe.take()
