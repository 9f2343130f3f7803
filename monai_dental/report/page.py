"""The HTML of a report's pages, in a language. All external text is escaped here."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
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
from monai_dental.viewer.words import Words

_CUT = "<!-- images -->"
_MODULES = ("viewer.js", "details.js", "theme.js", "words.js")
_WIDE = 1.25  # width to height above which before and after are printed one above the other
_WORD = re.compile(r"\{([\w.]+)\}")  # in a template; `$name` is a value
_NONE = '<td class="none">–</td>'


def page_name(page: int) -> str:
    """Return the file name of a page, from 1."""
    return "index.html" if page == 1 else f"page-{page}.html"


def article(entry: Entry, pictures: Pictures | None, words: Words) -> str:
    """Return the HTML of one image.

    Args:
        entry: Its entry.
        pictures: Its pictures; None to show the entry's reason instead.
        words: The reader's language.
    """
    if pictures is None or entry.figures is None:
        return _fill(
            "failure.html",
            words,
            number=entry.number,
            name=escape(entry.name),
            reason=escape(_reason(entry, words)),
        )
    display = pictures.display
    notes = [*map(words.said, entry.notes), *_display_notes(display, words)]
    return _fill(
        "image.html",
        words,
        number=entry.number,
        name=escape(entry.name),
        size=escape(words("report.size", columns=pictures.columns, rows=pictures.rows)),
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
        range_low=escape(words.number(display.black, ".4g")),
        range_high=escape(words.number(display.white, ".4g")),
        figures=_figures_table(entry.figures, words),
    )


def overview(entries: Sequence[Entry], total: int, words: Words) -> Iterator[str]:
    """Yield the HTML of the table of all images.

    Args:
        entries: All images of the report.
        total: Total number of images, of which these may be a sample.
        words: The reader's language.
    """
    has_reference = any(e.figures is not None and e.figures.psnr_after is not None for e in entries)
    before, after = (escape(words(f"figures.{each}")) for each in ("before", "after"))
    yield _fill(
        "overview.html",
        words,
        summary=escape(_summary(entries, total, words)),
        reference_group=(
            '<th scope="colgroup" colspan="2"><span>PSNR, dB</span></th>'
            '<th scope="colgroup" colspan="2"><span>SSIM</span></th>'
            if has_reference
            else ""
        ),
        reference_columns=(
            f'<th scope="col">{before}</th><th scope="col">{after}</th>' * 2
            if has_reference
            else ""
        ),
        caption_reference=(
            f" {escape(words('report.caption.reference'))}" if has_reference else ""
        ),
    )
    for entry in entries:
        link = f"{page_name(entry.page)}#image-{entry.number}"
        yield (
            f'<tr><td class="number">{entry.number}</td>'
            f'<th scope="row"><a href="{link}">{escape(entry.name)}</a></th>'
        )
        if entry.figures is None:
            span = 9 if has_reference else 5
            reason = escape(_reason(entry, words))
            yield f'<td class="reason" colspan="{span}">{reason}</td></tr>\n'
        else:
            yield f"{_overview_cells(entry.figures, words, has_reference)}</tr>\n"
    yield "</tbody></table></div></section>\n"


def _overview_cells(figures: Figures, words: Words, has_reference: bool) -> str:
    cells = [
        (figures.sigma_before, ".4f"),
        (figures.sigma_after, ".4f"),
        (figures.residual_std, ".4f"),
        (figures.residual_lag1, "+.2f"),
        (figures.residual_edges, "+.2f"),
    ]
    if has_reference:
        cells += [(figures.psnr_before, ".2f"), (figures.psnr_after, ".2f")]
        cells += [(figures.ssim_before, ".3f"), (figures.ssim_after, ".3f")]
    return "".join(_cell(value, form, words) for value, form in cells)


def _figures_table(figures: Figures, words: Words) -> str:
    pairs = [("figures.noise", figures.sigma_before, figures.sigma_after, ".4f")]
    if figures.psnr_after is not None:
        pairs += [
            ("report.psnr", figures.psnr_before, figures.psnr_after, ".2f"),
            ("report.ssim", figures.ssim_before, figures.ssim_after, ".3f"),
        ]
    singles = [
        ("report.std", figures.residual_std, ".4f"),
        ("report.lag1", figures.residual_lag1, "+.2f"),
        ("report.edges", figures.residual_edges, "+.2f"),
    ]
    rows = [
        f'<tr><th scope="row">{escape(words(key))}</th>'
        f"{_cell(before, form, words)}{_cell(after, form, words)}</tr>"
        for key, before, after, form in pairs
    ]
    residual = escape(words("report.residual"))
    rows.append(f'<tr class="group"><th colspan="3" scope="rowgroup">{residual}</th></tr>')
    rows += [
        f'<tr><th scope="row">{escape(words(key))}</th><td></td>{_cell(value, form, words)}</tr>'
        for key, value, form in singles
    ]
    return "".join(rows)


def _cell(value: float | None, form: str, words: Words) -> str:
    if value is None:
        return _NONE
    if 0 < value < 0.001 and form == ".4f":
        form = "#.2g"  # 12 bits stored in 16 give small figures
    text = "∞" if math.isinf(value) else words.number(value, form)
    if not re.search("[1-9∞]", text):
        text = text.lstrip("+−")
    return f"<td>{escape(text)}</td>"


def _display_notes(display: Display, words: Words) -> Iterator[str]:
    if display.is_stretched:
        black, white = (words.number(each, ".4g") for each in (display.black, display.white))
        yield words("report.stretched", black=black, white=white)
    if display.is_reduced:
        percent = f"{display.share * 100:.0f}"
        size = {"columns": display.columns, "rows": display.rows}
        yield words("report.reduced", percent=percent, **size)


def _summary(entries: Sequence[Entry], total: int, words: Words) -> str:
    count, compared = len(entries), sum(entry.figures is not None for entry in entries)
    with_reference = compared - sum(entry.lacks_reference for entry in entries)
    images = words("report.count.one" if count == 1 else "report.count", count=count)
    if total > count:
        images += f", {words('report.sample', total=total)}"
    parts = [f"{images}: {words('report.compared', count=compared)}"]
    if compared < count:
        parts.append(words("report.uncompared", count=count - compared))
    if 0 < with_reference < compared:
        parts.append(words("report.referenced", count=with_reference))
    return _sentence(", ".join(parts))


def _reason(entry: Entry, words: Words) -> str:
    return _sentence(words("report.failed", reason=words.said(entry.reason or "no figures")))


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def page_frame(page: int, pages: int, words: Words) -> tuple[str, str]:
    """Return the HTML of a page before its first image, and after its last one."""
    style = assets.style() + _data("page.css")
    script = assets.single_script(*_MODULES) + _data("page.js")
    title = "report.title.page" if pages > 1 else "report.title"
    text = _fill(
        "page.html",
        words,
        lang=escape(words.tag),
        title=escape(words(title, page=page, pages=pages)),
        style=style,
        style_hash=_csp_hash(style),
        script=script,
        script_hash=_csp_hash(script),
        words=_json(words.texts),
        navigation=_navigation(page, pages, words),
        version=monai_dental.__version__,
    )
    head, _, foot = text.partition(_CUT)
    return head, foot


def _navigation(page: int, pages: int, words: Words) -> str:
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
    label, title = escape(words("report.pages")), escape(words("report.page"))
    return f'<nav aria-label="{label}">{title} {" ".join(links)}</nav>'


def _json(value: object) -> str:
    return json.dumps(value).replace("<", "\\u003c")  # so that no text can close the element


def _csp_hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _fill(template: str, words: Words, /, **values: object) -> str:
    """Return a template with words for each `{key}`, and values, as HTML, for each `$name`."""
    text = _WORD.sub(lambda key: escape(words(key[1])).replace("$", "$$"), _data(template))
    return Template(text).substitute(values)


@cache
def _data(name: str) -> str:
    return files("monai_dental.report").joinpath(name).read_text(encoding="utf-8")
