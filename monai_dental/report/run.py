"""Write a report: read each pair, compare it, and write it to its page."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from monai_dental.batch.source import Instance
from monai_dental.errors import MonaiDentalError, OutputError, unexpected
from monai_dental.files.atomic import open_atomically
from monai_dental.process.terminal import printable
from monai_dental.report.compare import compare
from monai_dental.report.entry import Entry
from monai_dental.report.page import article, overview, page_frame, page_name
from monai_dental.report.pairs import read_pair
from monai_dental.report.pictures import Pictures, pair_pictures
from monai_dental.viewer.words import Words

_DIGEST_LENGTH = 16
_LATER_PAGE = re.compile(r"page-([0-9]+)\.html")


def sample_evenly(instances: Sequence[Instance], count: int | None) -> list[Instance]:
    """Return an evenly spaced sample of instances, including the first and the last.

    Args:
        instances: All of them.
        count: Size of the sample; None, or more than there are, for all.
    """
    if count is None or count >= len(instances):
        return list(instances)
    places = np.linspace(0, len(instances) - 1, count).round().astype(int)
    return [instances[place] for place in places]


def write_report(
    instances: Sequence[Instance],
    denoised_dir: Path,
    output_dir: Path,
    *,
    reference_dir: Path | None = None,
    page_size: int = 10,
    total: int | None = None,
    hash_paths: bool = False,
    language: str = "en",
) -> Iterator[Entry]:
    """Write pages that show originals next to their results.

    Only one pair is in memory at a time. `index.html`, with a table of all images, is written last,
    when the other pages are complete. Surplus pages of an earlier report are removed.

    Args:
        instances: The originals, at least one.
        denoised_dir: Folder of the results, which have the names of the instances.
        output_dir: Existing folder for the pages.
        reference_dir: Folder of clean images of the same names.
        page_size: Number of images per page.
        total: Total number of images, if `instances` is a sample of them.
        hash_paths: Whether to replace each name by a digest.
        language: Tag of the pages' language; see `Words`.

    Yields:
        One entry for each image, in order. A bad image does not stop the loop. Of an unexpected
        error, only its type and location are reported; see `unexpected`.

    Raises:
        OutputError: A page cannot be written.
    """
    size, words = page_size, Words(language)
    parts = [instances[start : start + size] for start in range(0, len(instances), size)]
    entries: list[Entry] = []
    try:
        with tempfile.TemporaryFile(dir=output_dir) as first:
            for page, part in enumerate(parts, 1):
                with contextlib.ExitStack() as stack:
                    stream: BinaryIO = first
                    if page > 1:
                        stream = stack.enter_context(open_atomically(output_dir / page_name(page)))
                        head, foot = page_frame(page, len(parts), words)
                        stream.write(head.encode())
                    for instance in part:
                        name = shown_name(instance.name, is_hashed=hash_paths)
                        entry = Entry(instance.path, len(entries) + 1, page, name)
                        entry, pictures = _compared(entry, instance, denoised_dir, reference_dir)
                        stream.write(article(entry, pictures, words).encode())
                        del pictures  # so that only one pair is in memory
                        entries.append(entry)
                        yield entry
                    if page > 1:
                        stream.write(foot.encode())
            head, foot = page_frame(1, len(parts), words)
            with open_atomically(output_dir / page_name(1)) as index:
                index.write(head.encode())
                table = overview(entries, total or len(entries), words)
                index.writelines(map(str.encode, table))
                first.seek(0)
                shutil.copyfileobj(first, index)
                index.write(foot.encode())
        _remove_later_pages(output_dir, len(parts))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(f"{output_dir}: the report cannot be written: {reason}") from error


def shown_name(name: Path, *, is_hashed: bool) -> str:
    """Return the name of an image in a report.

    Args:
        name: Path below the source.
        is_hashed: Whether to return a digest: the first 16 hexadecimal digits of the SHA-256 of the
            path, with slashes, in UTF-8.

    Returns:
        The digest, or the path with non-printable characters escaped.
    """
    if is_hashed:
        content = name.as_posix().encode("utf-8", "surrogateescape")
        return hashlib.sha256(content).hexdigest()[:_DIGEST_LENGTH]
    return printable(name.as_posix())


def _compared(
    entry: Entry, instance: Instance, denoised_dir: Path, reference_dir: Path | None
) -> tuple[Entry, Pictures | None]:
    """Return the entry with its figures, and the pictures; or with the reason why it has none."""
    try:
        pair = read_pair(instance, denoised_dir, reference_dir)
        comparison = compare(pair.original, pair.denoised, pair.reference)
        compared = replace(entry, figures=comparison.figures, notes=pair.notes)
        return compared, pair_pictures(pair, comparison)
    except MonaiDentalError as error:
        return replace(entry, reason=str(error)), None
    except Exception as error:  # noqa: BLE001 - a bad pair must not end the report
        return replace(entry, reason=unexpected(error)), None


def _remove_later_pages(folder: Path, pages: int) -> None:
    for path in folder.iterdir():
        match = _LATER_PAGE.fullmatch(path.name)
        if match and int(match[1]) > pages:
            path.unlink()
