"""The pages as files: complete, self-contained, escaped, with nothing left out."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from monai_dental.batch.source import Instance
from monai_dental.errors import OutputError
from monai_dental.report import run as report_run
from monai_dental.report import sample_evenly, write_report
from monai_dental.viewer import assets

HOSTILE = "<img src=x onerror=alert(1)>&\"'.png"


@pytest.fixture
def pairs(tmp_path, picture):
    """Factory of originals with results: pairs("a.png", "b.png") -> instances."""

    def make(*names):
        for folder in ("in", "denoised"):
            for name in names:
                path = tmp_path / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(cv2.imencode(".png", picture(8))[1].tobytes())
        (tmp_path / "report").mkdir()
        return [Instance(tmp_path / "in" / name, Path(name)) for name in names]

    return make


def write(tmp_path, instances, **options):
    entries = list(write_report(instances, tmp_path / "denoised", tmp_path / "report", **options))
    pages = {path.name: path.read_text() for path in (tmp_path / "report").iterdir()}
    return entries, pages


class Elements(HTMLParser):
    """The elements of a page, as (tag, attributes)."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_pages_hold_so_many_images_and_link_to_each_other(pairs, tmp_path):
    entries, pages = write(tmp_path, pairs(*(f"{i}.png" for i in range(5))), page_size=2)

    assert [entry.page for entry in entries] == [1, 1, 2, 2, 3]
    assert sorted(pages) == ["index.html", "page-2.html", "page-3.html"]
    assert [page.count("<article") for _, page in sorted(pages.items())] == [2, 2, 1]
    links = {a["href"] for tag, a in Elements(pages["index.html"]).found if tag == "a"}
    assert {"page-2.html", "page-3.html", "page-3.html#image-5"} <= links
    for link in links:
        page, _, anchor = link.partition("#")
        assert not anchor or f'id="{anchor}"' in pages[page]


def test_nothing_is_named_that_lies_outside(pairs, tmp_path):
    _, pages = write(tmp_path, pairs("a.png"))

    for tag, attributes in Elements(pages["index.html"]).found:
        for name in ("src", "href"):
            value = attributes.get(name) or ""
            assert value.startswith(("data:", "index.html")) or not value, (tag, value[:40])
    page = pages["index.html"].replace("http://www.w3.org/2000/svg", "")  # a name, no address
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in pages["index.html"]
    assert "unsafe" not in pages["index.html"]


def test_policy_names_the_very_script_and_style(pairs, tmp_path):
    _, pages = write(tmp_path, pairs("a.png"))

    page = (tmp_path / "report" / "index.html").read_bytes().decode()
    for tag in ("script", "style"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in page


def test_name_is_text_and_nothing_else(pairs, tmp_path):
    _, pages = write(tmp_path, pairs(HOSTILE, "line\nbreak\u202e.png"))

    page = pages["index.html"]
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#x27;.png" in page
    assert "line\\nbreak\\u202e.png" in page


def test_failures_are_listed_with_their_reason(pairs, tmp_path):
    instances = pairs("a.png", "b.png", "c.png")
    instances[0].path.write_text("no image")
    (tmp_path / "denoised" / "b.png").unlink()

    entries, pages = write(tmp_path, instances)

    assert [entry.reason for entry in entries] == [
        "original: not a PNG file, although its name says so",
        "there is no result of this name",
        None,
    ]
    page = pages["index.html"]
    assert "3 images: 1 compared, 2 could not be compared" in page
    for entry in entries[:2]:
        assert page.count(f"Not compared: {entry.reason}.") == 2  # in the table and in its place


def test_german_report_says_everything_in_german(pairs, tmp_path):
    instances = pairs("a.png", "b.png", HOSTILE)
    wide = np.random.default_rng(0).integers(0, 80, (30, 4000), np.uint8)
    cv2.imwrite(str(tmp_path / "in" / "a.png"), np.dstack([wide, wide, 80 - wide]))
    cv2.imwrite(str(tmp_path / "denoised" / "a.png"), wide)
    instances[1].path.write_text("no image")

    options = {"reference_dir": tmp_path / "denoised", "language": "de", "page_size": 2}
    entries, pages = write(tmp_path, instances, **options)

    page = pages["index.html"]
    assert '<html lang="de">' in page
    assert "<title>Bericht zum Entrauschen, Seite 1 von 2</title>" in page
    assert "3 Bilder: 2 verglichen, 1 nicht vergleichbar (Grund siehe unten)." in page
    reason = "Nicht verglichen: Original: Das ist keine PNG-Datei, auch wenn sie so heißt."
    assert page.count(reason) == 2
    assert "Original: Die Farben wurden in Graustufen umgerechnet." in page
    assert "Gezeigt mit 3200 × 24 Pixeln, 80 % seiner Größe" in page
    assert re.search(r"Gedruckt von Intensität 0,\d+ \(schwarz\) bis 0,\d+ \(weiß\)", page)
    assert f"<td>{entries[0].figures.sigma_before:.4f}</td>".replace(".", ",") in page
    assert entries[1].reason == "original: not a PNG file, although its name says so"
    english, german = (assets.languages()[tag] for tag in ("en", "de"))
    labels = re.findall(r'(?:alt|aria-label)="([^"]*)"', page)
    texts = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    shown = html.unescape(" ".join([texts, *labels]))
    for key in [key for key in english if key.startswith(("report.", "figures.", "help"))]:
        if "{" not in english[key] and english[key] != german[key]:
            assert not re.search(rf"\b{re.escape(english[key])}", shown), key
    assert "<img src=x" not in "".join(pages.values())
    assert html.escape(HOSTILE) in pages["page-2.html"]


def test_language_that_is_not_known_gives_english(pairs, tmp_path):
    _, pages = write(tmp_path, pairs("a.png"), language='"><b>')

    assert '<html lang="en">' in pages["index.html"]
    assert "<title>Denoising report</title>" in pages["index.html"]


def test_words_of_a_language_are_text_and_nothing_else(pairs, tmp_path, monkeypatch):
    known = assets.languages()
    hostile = {**known, "xx": {key: f"<b>{key}</b> & $name" for key in known["en"]}}
    monkeypatch.setattr("monai_dental.viewer.words.languages", lambda: hostile)
    instances = pairs("a.png", "b.png")
    instances[1].path.unlink()

    _, pages = write(tmp_path, instances, page_size=1, language="xx")

    for page in pages.values():
        assert "<b>" not in page
    assert "&lt;b&gt;report.title&lt;/b&gt; &amp; $name" in pages["index.html"]


def test_unexpected_error_is_told_by_kind_and_place_alone(pairs, tmp_path, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("Doe^Jane")

    instances = pairs("a.png")
    monkeypatch.setattr(report_run, "compare", fail)

    entries, pages = write(tmp_path, instances)

    assert re.fullmatch(r"unexpected RuntimeError at report/run\.py:\d+", entries[0].reason)
    assert "Doe" not in pages["index.html"]


def test_digest_stands_for_the_name_everywhere(pairs, tmp_path):
    instances = pairs("Doe Jane/1.png", "Doe Jane/2.png")
    (tmp_path / "denoised" / "Doe Jane" / "2.png").write_text("no image")

    entries, pages = write(tmp_path, instances, hash_paths=True)

    digest = hashlib.sha256(b"Doe Jane/1.png").hexdigest()[:16]
    assert entries[0].name == digest
    assert digest in pages["index.html"]
    assert "Doe" not in pages["index.html"]
    assert str(tmp_path) not in pages["index.html"]


def test_header_of_a_dicom_file_stays_out(dicom_dataset, tmp_path):
    marker = "MARKER"
    dataset = dicom_dataset(PatientName=marker, PatientID=marker, StudyDescription=marker)
    for folder in ("in", "denoised", "report"):
        (tmp_path / folder).mkdir()
    for folder in ("in", "denoised"):
        dataset.save_as(tmp_path / folder / "a.dcm", enforce_file_format=True)

    entries, pages = write(tmp_path, [Instance(tmp_path / "in" / "a.dcm", Path("a.dcm"))])

    assert entries[0].figures is not None
    assert marker not in pages["index.html"]
    assert "19700101" not in pages["index.html"]


def test_reference_gives_psnr_and_ssim_with_their_data_range(pairs, tmp_path):
    entries, pages = write(tmp_path, pairs("a.png"), reference_dir=tmp_path / "denoised")

    assert entries[0].figures.psnr_after == np.inf
    assert "PSNR, dB (data range 1)" in pages["index.html"]
    assert "<td>∞</td>" in pages["index.html"]


def test_small_figures_keep_their_digits(pairs, tmp_path):
    instances = pairs("a.png")
    dark = np.random.default_rng(0).normal(300, 20, (64, 64)).astype(np.uint16)
    for folder, image in (("in", dark), ("denoised", dark * 0 + 300)):
        cv2.imwrite(str(tmp_path / folder / "a.png"), image)

    entries, pages = write(tmp_path, instances)

    assert entries[0].figures.residual_std == pytest.approx(20 / 65535, rel=0.1)
    assert f"<td>{entries[0].figures.residual_std:#.2g}</td><td>0.00</td>" in pages["index.html"]
    assert "as the image uses little of the range from 0 to 1" in pages["index.html"]


def test_large_image_says_that_it_is_shown_smaller(pairs, tmp_path):
    instances = pairs("a.png")
    wide = np.random.default_rng(0).integers(0, 255, (30, 4000), np.uint8)
    for folder in ("in", "denoised"):
        cv2.imwrite(str(tmp_path / folder / "a.png"), wide)

    _, pages = write(tmp_path, instances)

    assert (
        "Shown at 3200 × 24 pixels, 80% of its size, where noise looks weaker"
        in pages["index.html"]
    )


def test_broken_off_report_leaves_no_half_page(pairs, tmp_path):
    entries = write_report(
        pairs("a.png", "b.png", "c.png"), tmp_path / "denoised", tmp_path / "report", page_size=1
    )
    for _ in range(3):
        next(entries)
    entries.close()

    assert [path.name for path in (tmp_path / "report").iterdir()] == ["page-2.html"]


def test_pages_of_an_earlier_report_go(pairs, tmp_path):
    instances = pairs("a.png", "b.png")
    (tmp_path / "report" / "page-2.html").write_text("earlier")
    (tmp_path / "report" / "page-x.html").write_text("another's")

    _, pages = write(tmp_path, instances)

    assert sorted(pages) == ["index.html", "page-x.html"]


def test_folder_that_cannot_be_written_is_named(pairs, tmp_path):
    instances = pairs("a.png")

    with pytest.raises(OutputError, match="nowhere: the report cannot be written: No such file"):
        list(write_report(instances, tmp_path / "denoised", tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("count", "expected"), [(None, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4]), (3, [0, 2, 4]), (1, [0])]
)
def test_sample_is_evenly_spread(count, expected):
    instances = [Instance(Path(str(i)), Path(str(i))) for i in range(5)]

    assert [int(instance.name.name) for instance in sample_evenly(instances, count)] == expected
