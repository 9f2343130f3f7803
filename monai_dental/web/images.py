"""The images of the page: what each is, and what has changed since the page last asked."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_dental.web.job import AFTER, BEFORE, FULL

if TYPE_CHECKING:
    from monai_dental.dicom.derive import Derivation


@dataclass(eq=False)
class Image:
    """One image of the page.

    Attributes:
        key: What addresses call it; made here, never sent by a browser.
        name: What people call it: a relative path, for showing and for a ZIP.
        path: The file.
        folder: What is made of it lies here.
        is_upload: Whether the file is ours, and goes with the image.
        state: "listed", "waiting", "denoising", "done" or "failed".
        reason: Why it failed.
        info: As of `monai_dental.viewer.describe`; empty until it was read.
        derivation: How the network's result was made.
        revision: Grows whenever the page must know of a change.
        work: What is being done with it, by deed.
        used: Grows whenever somebody looks at it.
        fetch: Brings the files of what is elsewhere, the first of them this image's; None where
            the file is at its path.
        source: What the place that it comes from calls it, where that keeps results.
    """

    key: str
    name: str
    path: Path
    folder: Path
    is_upload: bool
    state: str = "listed"
    reason: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    derivation: Derivation | None = None
    revision: int = 0
    work: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    used: int = 0
    fetch: Callable[[], list[Path]] | None = None
    source: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return what the page is told."""
        return {
            "key": self.key, "name": self.name, "state": self.state, "reason": self.reason,
            "info": self.info,
        }  # fmt: skip


class Images:
    """All images, in the order in which they came.

    Args:
        folder: Where their folders are made.
        cache_bytes: How much of what can be made again is kept on the disk.
    """

    def __init__(self, folder: Path, cache_bytes: int = 4 << 30) -> None:
        self._folder, self._cache_bytes = folder, cache_bytes
        self._images: dict[str, Image] = {}
        self._removed: list[tuple[int, str]] = []
        self._revisions, self._uses, self._keys = (itertools.count(1) for _ in range(3))

    def __len__(self) -> int:
        """Return their number."""
        return len(self._images)

    def __iter__(self) -> Iterator[Image]:
        """Return the images."""
        return iter(list(self._images.values()))

    def __getitem__(self, key: str) -> Image:
        """Return an image; KeyError where there is none."""
        return self._images[key]

    def new_folder(self) -> tuple[str, Path]:
        """Return a key and an empty folder for an image to come."""
        key = str(next(self._keys))
        folder = self._folder / key
        folder.mkdir(mode=0o700)
        return key, folder

    def add(self, key: str, name: str, path: Path, *, is_upload: bool) -> Image:
        """Add an image, with a key of `new_folder`; two of one name are told apart."""
        taken = {image.name for image in self._images.values()}
        unique, number = name, 2
        while unique in taken:
            file = Path(name)
            unique = file.with_name(f"{file.stem} ({number}){file.suffix}").as_posix()
            number += 1
        image = Image(key, unique, path, self._folder / key, is_upload)
        self._images[key] = image
        self.touch(image)
        return image

    def add_folder(self, folder: Path, paths: list[Path]) -> None:
        """List the images of a folder; none of them is opened."""
        for path in paths:
            key = str(next(self._keys))
            name = path.relative_to(folder).as_posix()
            image = Image(key, name, path, self._folder / key, is_upload=False)
            self._images[key] = image
            self.touch(image)

    def add_remote(self, source: str, name: str, fetch: Callable[[], list[Path]]) -> None:
        """List an image that is fetched when it is first opened.

        Args:
            source: What its place calls it.
            name: What people call it.
            fetch: As of `Image`.
        """
        key, folder = self.new_folder()
        image = Image(key, name, folder / "fetched", folder, is_upload=False)
        image.fetch, image.source = fetch, source
        self._images[key] = image
        self.touch(image)

    def remove(self, image: Image) -> None:
        """Forget an image, and remove what is ours of it."""
        for work in image.work.values():
            work.cancel()
        del self._images[image.key]
        self._removed.append((next(self._revisions), image.key))
        shutil.rmtree(image.folder, ignore_errors=True)

    def touch(self, image: Image) -> None:
        """Have the page told of an image anew."""
        image.revision = next(self._revisions)

    def changes(self, since: int) -> dict[str, Any]:
        """Return what has changed since a revision."""
        changed = [image for image in self._images.values() if image.revision > since]
        removed = [(revision, key) for revision, key in self._removed if revision > since]
        last = max([since, *(i.revision for i in changed), *(revision for revision, _ in removed)])
        return {
            "revision": last,
            "images": [image.as_json() for image in changed],
            "removed": [key for _, key in removed],
        }

    def use(self, image: Image) -> None:
        """Note that somebody looks at an image: what is made of it is kept the longest."""
        image.used = next(self._uses)
        sizes = {each: _cached_bytes(each) for each in self._images.values() if each.used}
        total = sum(sizes.values())
        for each in sorted(sizes, key=lambda each: each.used):
            if total <= self._cache_bytes or each is image:
                break
            if not any(not work.done() for work in each.work.values()):
                for name in (BEFORE, AFTER, FULL):
                    (each.folder / name).unlink(missing_ok=True)
                total -= sizes[each]


def _cached_bytes(image: Image) -> int:
    files = (image.folder / name for name in (BEFORE, AFTER, FULL))
    return sum(file.stat().st_size for file in files if file.exists())
