"""What a manifest says, for people and for other programs."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from monai_dental.atomic import write_atomically
from monai_dental.batch.manifest import COLUMNS, FAILED, OUTCOMES, SKIPPED, Manifest, Row
from monai_dental.batch.tree import StudyTree
from monai_dental.errors import OutputError

_NUMBERS = re.compile(r"\d+(\.\d+)+|\d+(?![0-9,A-F]*\))")


def format_counts(counts: dict[str, int]) -> str:
    """The counts of all outcomes, in one line."""
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES)


def format_status(manifest: Manifest, tree: StudyTree) -> Iterator[str]:
    """Lines that tell how a batch stands: reasons with their numbers, the counts last.

    Args:
        manifest: Its record.
        tree: Its output.
    """
    for outcome in (SKIPPED, FAILED):
        # Sizes differ from file to file: the reason is the same.
        reasons = Counter(_NUMBERS.sub("N", reason) for reason in manifest.reasons(outcome))
        for reason, count in reasons.most_common():
            yield f"{outcome} {count}: {reason}"
    superseded = manifest.superseded()
    named = {row.output for row in manifest.rows()}
    unknown = sum(place not in named for place in set(tree.locations()) - set(superseded))
    if superseded:
        yield f"{len(superseded)} results of changed inputs or other settings are kept"
    if unknown:
        yield f"{unknown} files in the output are not in the manifest"
    yield format_counts(manifest.counts())


def export_rows(rows: Iterable[Row], path: Path) -> None:
    """Write the rows of a manifest as a CSV file, or as one JSON object a line.

    Args:
        rows: The rows.
        path: The file; its ending, .csv or .jsonl, tells which.

    Raises:
        OutputError: Another ending, or the file cannot be written.
    """
    stream = io.StringIO(newline="")
    if path.suffix == ".csv":
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    elif path.suffix == ".jsonl":
        stream.writelines(f"{json.dumps(asdict(row))}\n" for row in rows)
    else:
        raise OutputError(f"{path}: need a name that ends in .csv or .jsonl")
    write_atomically(path, stream.getvalue().encode())
