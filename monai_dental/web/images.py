"""The images of the page, and the changes since the page last asked."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        key: Identifier in URLs; made by the server, never sent by a browser.
        name: Name for display and for a ZIP, a relative path.
        path: The file.
        folder: Folder for the files made from it.
        is_upload: Whether the file is an upload, which is removed with the image.
        state: "listed", "waiting", "denoising", "done" or "failed".
        reason: Reason of the failure.
        info: Result of `monai_dental.viewer.describe`; empty until the image is read.
        derivation: How the network's result was made.
        revision: Increases with every change that the page must know of.
        work: Work in progress, by action.
        used: Increases whenever the image is viewed.
        fetch: Fetches the files of a remote image, of which the first is this image's; None if the
            file is already at `path`.
        source: Identifier at the place of origin, if that stores results.
        users: How many read its files now, besides `work`.
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
    users: int = 0

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the image's files while something reads them besides `work`."""
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1

    def as_json(self) -> dict[str, Any]:
        """Return the data that is sent to the page."""
        return {
            "key": self.key, "name": self.name, "state": self.state, "reason": self.reason,
            "info": self.info,
        }  # fmt: skip


class Images:
    """All images, in order of arrival.

    Args:
        folder: Folder for the images' own folders.
        cache_bytes: Limit in bytes for files on the disk that can be made again.
    """

    def __init__(self, folder: Path, cache_bytes: int = 4 << 30) -> None:
        self._folder, self._cache_bytes = folder, cache_bytes
        self._images: dict[str, Image] = {}
        self._names: Counter[str] = Counter()
        self._removed: list[tuple[int, str]] = []
        self._revisions, self._uses, self._keys = (itertools.count(1) for _ in range(3))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    def __iter__(self) -> Iterator[Image]:
        """Iterate over the images."""
        return iter(list(self._images.values()))

    def __getitem__(self, key: str) -> Image:
        """Return an image; raise KeyError if there is none."""
        return self._images[key]

    def new_folder(self) -> tuple[str, Path]:
        """Return a key and an empty folder for a new image."""
        key = str(next(self._keys))
        folder = self._folder / key
        folder.mkdir(mode=0o700)
        return key, folder

    def add(self, key: str, name: str, path: Path, *, is_upload: bool) -> Image:
        """Add an image with a key from `new_folder`; number its name if it is taken."""
        unique, number = name, 2
        while unique in self._names:
            file = Path(name)
            unique = file.with_name(f"{file.stem} ({number}){file.suffix}").as_posix()
            number += 1
        return self._register(Image(key, unique, path, self._folder / key, is_upload))

    def add_folder(self, folder: Path, paths: list[Path]) -> None:
        """Add the images of a folder without opening them."""
        for path in paths:
            key = str(next(self._keys))
            name = path.relative_to(folder).as_posix()
            self._register(Image(key, name, path, self._folder / key, is_upload=False))

    def add_remote(self, source: str, name: str, fetch: Callable[[], list[Path]]) -> None:
        """Add an image that is fetched when it is first opened; the arguments are of `Image`."""
        key, folder = self.new_folder()
        image = Image(key, name, folder / "fetched", folder, is_upload=False)
        image.fetch, image.source = fetch, source
        self._register(image)

    def _register(self, image: Image) -> Image:
        self._images[image.key] = image
        self._names[image.name] += 1
        self.touch(image)
        return image

    def remove(self, image: Image) -> None:
        """Remove an image and its folder."""
        for work in image.work.values():
            work.cancel()
        del self._images[image.key]
        self._names -= Counter([image.name])
        self._removed.append((next(self._revisions), image.key))
        shutil.rmtree(image.folder, ignore_errors=True)

    def touch(self, image: Image) -> None:
        """Mark an image as changed, so that the page gets the update."""
        image.revision = next(self._revisions)

    def changes(self, since: int) -> dict[str, Any]:
        """Return the changes since a revision."""
        changed = [image for image in self._images.values() if image.revision > since]
        removed = [(revision, key) for revision, key in self._removed if revision > since]
        last = max([since, *(i.revision for i in changed), *(revision for revision, _ in removed)])
        return {
            "revision": last,
            "images": [image.as_json() for image in changed],
            "removed": [key for _, key in removed],
        }

    def use(self, image: Image) -> None:
        """Mark an image as viewed: its cached files are the last to be removed."""
        image.used = next(self._uses)
        sizes = {each: _cached_bytes(each) for each in self._images.values() if each.used}
        total = sum(sizes.values())
        for each in sorted(sizes, key=lambda each: each.used):
            if total <= self._cache_bytes or each is image:
                break
            if not each.users and all(work.done() for work in each.work.values()):
                for name in (BEFORE, AFTER, FULL):
                    (each.folder / name).unlink(missing_ok=True)
                total -= sizes[each]


def _cached_bytes(image: Image) -> int:
    files = (image.folder / name for name in (BEFORE, AFTER, FULL))
    return sum(file.stat().st_size for file in files if file.exists())
