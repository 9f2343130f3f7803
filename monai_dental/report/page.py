"""The HTML of a report's pages. All external text is escaped here."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

import monai_dental
from monai_dental.report.compare import Figures
from monai_dental.report.entry import Entry
from monai_dental.report.pictures import Display, Pictures
from monai_dental.viewer import assets

_CUT = "<!-- images -->"
_MODULES = ("viewer.js", "details.js", "theme.js", "words.js")
_WIDE = 1.25  # width to height above which before and after are printed one above the other
_NONE = '<td class="none">–</td>'


def page_name(page: int) -> str:
    """Return the file name of a page, from 1."""
    return "index.html" if page == 1 else f"page-{page}.html"


def page_head(page: int, pages: int) -> str:
    """Return the HTML of a page before its first image; `page_foot` returns the end."""
    return _frame(page, pages)[0]


def page_foot(page: int, pages: int) -> str:
    """Return the HTML of a page after its last image."""
    return _frame(page, pages)[1]


def article(entry: Entry, pictures: Pictures | None) -> str:
    """Return the HTML of one image.

    Args:
        entry: Its entry.
        pictures: Its pictures; None to show the entry's reason instead.
    """
    if pictures is None or entry.figures is None:
        return _fill(
            "failure.html",
            number=entry.number,
            name=escape(entry.name),
            reason=escape(_reason(entry)),
        )
    display = pictures.display
    notes = [*entry.notes, *_display_notes(pictures)]
    return _fill(
        "image.html",
        number=entry.number,
        name=escape(entry.name),
        size=f"{pictures.columns} × {pictures.rows} pixels",
        notes="".join(f'<p class="note">{escape(_sentence(note))}</p>' for note in notes),
        width=display.columns,
        height=display.rows,
        shape="wide" if display.columns > _WIDE * display.rows else "upright",
        middle=display.rows // 2 + 1,
        before=pictures.before,
        after=pictures.after,
        info=_json(pictures.info),
        planes="".join(
            f'<script type="text/plain" data-plane="{name}">{text}</script>'
            for name, text in pictures.planes.items()
        ),
        histogram=pictures.histogram,
        range_low=_tick(display.black),
        range_high=_tick(display.white),
        figures=_figures_table(entry.figures),
    )


def overview(entries: Sequence[Entry], total: int) -> Iterator[str]:
    """Yield the HTML of the table of all images.

    Args:
        entries: All images of the report.
        total: Total number of images, of which these may be a sample.
    """
    has_reference = any(e.figures is not None and e.figures.psnr_after is not None for e in entries)
    yield _fill(
        "overview.html",
        summary=escape(_summary(entries, total)),
        reference_group=(
            '<th scope="colgroup" colspan="2"><span>PSNR, dB</span></th>'
            '<th scope="colgroup" colspan="2"><span>SSIM</span></th>'
            if has_reference
            else ""
        ),
        reference_columns=(
            '<th scope="col">before</th><th scope="col">after</th>' * 2 if has_reference else ""
        ),
        caption_reference=" PSNR and SSIM: data range 1." if has_reference else "",
    )
    for entry in entries:
        link = f"{page_name(entry.page)}#image-{entry.number}"
        yield (
            f'<tr><td class="number">{entry.number}</td>'
            f'<th scope="row"><a href="{link}">{escape(entry.name)}</a></th>'
        )
        if entry.figures is None:
            span = 9 if has_reference else 5
            reason = escape(_reason(entry))
            yield f'<td class="reason" colspan="{span}">Not compared: {reason}</td></tr>\n'
        else:
            yield f"{_overview_cells(entry.figures, has_reference)}</tr>\n"
    yield "</tbody></table></div></section>\n"


def _overview_cells(figures: Figures, has_reference: bool) -> str:
    cells = [
        _cell(figures.sigma_before, ".4f"),
        _cell(figures.sigma_after, ".4f"),
        _cell(figures.residual_std, ".4f"),
        _cell(figures.residual_lag1, "+.2f"),
        _cell(figures.residual_edges, "+.2f"),
    ]
    if has_reference:
        cells += [_cell(figures.psnr_before, ".2f"), _cell(figures.psnr_after, ".2f")]
        cells += [_cell(figures.ssim_before, ".3f"), _cell(figures.ssim_after, ".3f")]
    return "".join(cells)


def _figures_table(figures: Figures) -> str:
    pairs = [("Noise σ, estimated", figures.sigma_before, figures.sigma_after, ".4f")]
    if figures.psnr_after is not None:
        pairs += [
            ("PSNR, dB (data range 1)", figures.psnr_before, figures.psnr_after, ".2f"),
            ("SSIM (data range 1)", figures.ssim_before, figures.ssim_after, ".3f"),
        ]
    singles = [
        ("Standard deviation", figures.residual_std, ".4f"),
        ("Lag-1 autocorrelation", figures.residual_lag1, "+.2f"),
        ("Correlation with edges", figures.residual_edges, "+.2f"),
    ]
    rows = [
        f'<tr><th scope="row">{name}</th>{_cell(before, form)}{_cell(after, form)}</tr>'
        for name, before, after, form in pairs
    ]
    rows.append('<tr class="group"><th colspan="3" scope="rowgroup">Residual</th></tr>')
    rows += [
        f'<tr><th scope="row">{name}</th><td></td>{_cell(value, form)}</tr>'
        for name, value, form in singles
    ]
    return "".join(rows)


def _cell(value: float | None, form: str) -> str:
    if value is None:
        return _NONE
    if 0 < value < 0.001 and form == ".4f":
        form = "#.2g"  # 12 bits stored in 16 give small figures
    text = "∞" if math.isinf(value) else format(value, form)
    if text.strip("+-0.") == "":
        text = text.lstrip("+-")
    return f"<td>{text.replace('-', '−')}</td>"


def _display_notes(pictures: Pictures) -> Iterator[str]:
    display: Display = pictures.display
    if display.is_stretched:
        yield (
            f"Printed from intensity {_tick(display.black)} (black) to {_tick(display.white)} "
            "(white), as the image uses little of the range from 0 to 1"
        )
    if display.is_reduced:
        yield (
            f"Shown at {display.columns} × {display.rows} pixels, "
            f"{display.share:.0%} of its size, where noise looks weaker; "
            "the figures are those of the full size"
        )


def _summary(entries: Sequence[Entry], total: int) -> str:
    compared = sum(entry.figures is not None for entry in entries)
    sample = f", an even sample of {total}" if total > len(entries) else ""
    parts = [f"{len(entries)} image{'s' * (len(entries) != 1)}{sample}: {compared} compared"]
    if compared < len(entries):
        parts.append(f"{len(entries) - compared} could not be compared, with the reason below")
    with_reference = sum(
        entry.figures is not None and entry.figures.psnr_after is not None for entry in entries
    )
    if 0 < with_reference < compared:
        parts.append(f"{with_reference} of them with a reference")
    return ", ".join(parts) + "."


def _tick(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def _reason(entry: Entry) -> str:
    return f"{entry.reason or 'no figures'}."


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def _frame(page: int, pages: int) -> tuple[str, str]:
    style = assets.style() + _data("page.css")
    script = assets.single_script(*_MODULES) + _data("page.js")
    text = _fill(
        "page.html",
        title="Denoising report" + (f", page {page} of {pages}" if pages > 1 else ""),
        style=style,
        style_hash=_csp_hash(style),
        script=script,
        script_hash=_csp_hash(script),
        words=_json(assets.languages()["en"]),
        navigation=_navigation(page, pages),
        version=monai_dental.__version__,
    )
    head, _, foot = text.partition(_CUT)
    return head, foot


def _navigation(page: int, pages: int) -> str:
    if pages == 1:
        return ""
    near = sorted({1, pages, *range(max(1, page - 3), min(pages, page + 3) + 1)})
    links, last = [], 0
    for number in near:
        if number > last + 1:
            links.append("<span>…</span>")
        current = ' aria-current="page"' if number == page else ""
        links.append(f'<a href="{page_name(number)}"{current}>{number}</a>')
        last = number
    return f'<nav aria-label="Pages">Page {" ".join(links)}</nav>'


def _json(value: object) -> str:
    return json.dumps(value).replace("<", "\\u003c")  # so that no text can close the element


def _csp_hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _fill(template: str, **values: object) -> str:
    return Template(_data(template)).substitute(values)


@cache
def _data(name: str) -> str:
    return files("monai_dental.report").joinpath(name).read_text(encoding="utf-8")
