"""The progress bar of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NoReturn

    from tqdm import tqdm


def progress_bar(title: str, total: int, unit: str = "image") -> tqdm[NoReturn]:
    """Make a bar, which is hidden if the output is not a terminal."""
    from tqdm import tqdm

    return tqdm(desc=title, total=total, unit=unit, disable=None)


def advance(progress: tqdm[NoReturn], count: int, total: int | None = None) -> None:
    """Set the count of a bar, and its total if that is known only now."""
    progress.total = total or progress.total
    progress.update(count - progress.n)
