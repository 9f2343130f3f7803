"""The content of a manifest, for people and for other programs."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from monai_dental.batch.output_folder import StudyTree
from monai_dental.batch.record.manifest import COLUMNS, DERIVED, FAILED, OUTCOMES, SKIPPED, Row
from monai_dental.batch.record.manifests import Manifests
from monai_dental.errors import OutputError
from monai_dental.files.atomic import write_atomically
from monai_dental.files.spreadsheet import as_cell

# Standalone numbers: not those in names (MONOCHROME1), tags, UIDs and places in our code.
_NUMBERS = re.compile(r"(?<![\w.,(:])\d+(?:\.\d+)?(?![\w(]|[.,]\w)")


def format_counts(counts: dict[str, int]) -> str:
    """Return the counts of all outcomes in one line."""
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES)


def format_status(manifests: Manifests, tree: StudyTree) -> Iterator[str]:
    """Yield lines that show the state of a batch: reasons with their counts, then the outcomes."""
    counts = dict.fromkeys(OUTCOMES, 0)
    reasons: dict[str, list[str]] = {outcome: [] for outcome in OUTCOMES}
    named = set()
    for row in manifests.rows():
        counts[row.outcome] += 1
        named.add(row.output)
        if row.reason or row.outcome in (SKIPPED, FAILED):
            reasons[row.outcome].append(row.reason)
    for outcome in (DERIVED, SKIPPED, FAILED):
        for reason, count in group_reasons(reasons[outcome]):
            yield f"{outcome} {count}: {reason}"
    superseded = set(manifests.superseded()) - named
    unknown = sum(place not in named for place in set(tree.locations()) - superseded)
    if superseded:
        yield f"{len(superseded)} results of changed inputs or other settings are kept"
    if unknown:
        yield f"{unknown} files in the output are not in the manifest"
    for shard in manifests.missing:
        yield f"shard {shard} has not begun: its files are not counted"
    yield format_counts(counts)


def group_reasons(reasons: Iterable[str]) -> list[tuple[str, int]]:
    """Count equal reasons, the most frequent first.

    Args:
        reasons: One for each file.

    Returns:
        Reasons and their counts. Reasons that differ only in a number count as one, with N in place
        of that number.
    """
    groups: dict[str, list[str]] = {}
    for reason in reasons:
        groups.setdefault(_NUMBERS.sub("N", reason), []).append(reason)
    counts = [(_in_common(alike), len(alike)) for alike in groups.values()]
    return sorted(counts, key=lambda each: -each[1])


def _in_common(reasons: list[str]) -> str:
    numbers = zip(*map(_NUMBERS.findall, reasons), strict=True)
    common = iter([each[0] if len(set(each)) == 1 else "N" for each in numbers])
    return _NUMBERS.sub(lambda _: next(common), reasons[0])


def export_rows(rows: Iterable[Row], path: Path) -> None:
    """Write the rows of a manifest as a CSV file, or as one JSON object per line.

    Args:
        rows: The rows.
        path: The file; its suffix, .csv or .jsonl, selects the format.

    Raises:
        OutputError: The file has another suffix, or cannot be written.
    """
    stream = io.StringIO(newline="")
    if path.suffix == ".csv":
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {name: as_cell(value) for name, value in asdict(row).items()} for row in rows
        )
    elif path.suffix == ".jsonl":
        stream.writelines(f"{json.dumps(asdict(row))}\n" for row in rows)
    else:
        raise OutputError(f"{path}: need a name that ends in .csv or .jsonl")
    write_atomically(path, stream.getvalue().encode())
