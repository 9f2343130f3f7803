"""Markdown tables of the scores that `measure_accuracy` returns."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from monai_dental.benchmark.accuracy import EDGE_COLUMN, Row
from monai_dental.benchmark.edges import CONTRASTS, LEVELS
from monai_dental.benchmark.measures import TEXTURE_BANDS


def format_accuracy(rows: Sequence[Row]) -> str:
    """Return Markdown tables of each measure's mean by method and noise."""
    noises, methods = (list(dict.fromkeys(row[key] for row in rows)) for key in ("noise", "method"))
    lines = []
    for measure, title, digits in _measures():
        own = [row for row in rows if _is_number(row.get(measure))]
        shown = [noise for noise in noises if any(row["noise"] == noise for row in own)]
        if not shown:
            continue
        lines += [f"| {title} | " + " | ".join(map(str, shown)) + " |"]
        lines += ["|---" * (len(shown) + 1) + "|"]
        for method in methods:
            cells = []
            for noise in shown:
                values = [
                    float(row[measure]) for row in own
                    if (row["noise"], row["method"]) == (noise, method)
                ]  # fmt: skip
                cells.append(f"{statistics.fmean(values):.{digits}f}" if values else "–")
            lines += [f"| {method} | " + " | ".join(cells) + " |"]
        lines += [""]
    return "\n".join(lines)


def _measures() -> Iterator[tuple[str, str, int]]:
    """Yield the column, title and number of decimals of each measure."""
    yield "psnr", "PSNR dB, data range 1", 2
    yield "ssim", "SSIM, data range 1", 3
    yield "noise_left", "noise left in flat parts", 2
    for low, high in TEXTURE_BANDS:
        title = f"texture kept, {low:g} to {high:g} cycles a pixel"
        yield f"texture_{low:g}_{high:g}", title, 2
    for contrast in CONTRASTS:
        for level in LEVELS:
            title = f"MTF50 of edges of contrast {contrast:g}, {level:.0%} of the noise left"
            yield EDGE_COLUMN.format(contrast, level), title, 2


def _is_number(value: str | float | None) -> bool:
    return isinstance(value, float) and math.isfinite(value)
