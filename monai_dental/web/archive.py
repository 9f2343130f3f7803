"""All results as one ZIP, streamed while it is made: never whole on disk or in memory."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from typing import IO, Any, cast

from monai_dental.viewer.words import Words
from monai_dental.web.desk import Desk
from monai_dental.web.images import Image
from monai_dental.web.line import DeedError

_CHUNK = 1 << 20
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest in ZIP; it reveals no examination date

FAILURES = "not-denoised.txt"
"""Member that lists the missing images and the reasons."""


class _Pipe(io.RawIOBase):
    """An unseekable file whose content is removed as it is written."""

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


async def results_archive(
    desk: Desk, images: list[Image], strength: float, words: Words
) -> AsyncIterator[bytes]:
    """Yield a ZIP of the results at a strength, denoising images that are not yet denoised.

    Args:
        desk: The desk, which denoises and saves.
        images: The images.
        strength: Fraction of the correction to apply, 0 to 1.
        words: Language of the reasons for what is missing.
    """
    pipe = _Pipe()
    failures = []
    with zipfile.ZipFile(cast("IO[bytes]", pipe), "w") as archive:
        for image in images:
            member = zipfile.ZipInfo(image.name, _TIME)
            try:
                async with desk.saved(image, strength) as path:
                    with (
                        path.open("rb") as source,
                        archive.open(member, "w", force_zip64=True) as to,
                    ):
                        while chunk := await asyncio.to_thread(source.read, _CHUNK):
                            to.write(chunk)
                            yield pipe.take()
            except DeedError as error:
                failures.append(f"{image.name}: {words.said(str(error))}\n")
                continue
            yield pipe.take()
        if failures:
            archive.writestr(zipfile.ZipInfo(FAILURES, _TIME), "".join(failures))
    yield pipe.take()
