"""The documentation site: it builds offline and without a warning, and its notebooks run."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import monai_dental

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as by scripts/docs, without network access."""
    folder = tmp_path_factory.mktemp("site")
    options = re.search(r"-m sphinx (.*?) \\\n", (ROOT / "scripts" / "docs").read_text())[1].split()
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, DOCS, folder],
        env={**os.environ, **nowhere}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "--fail-on-warning" in options
    assert done.returncode == 0, done.stderr
    return folder


def test_public_names_and_rooms_are_in_the_reference(site):
    reference = (site / "api" / "index.html").read_text(encoding="utf-8")
    for name in monai_dental.__all__:
        assert f'id="monai_dental.{name}"' in reference, name
    for room in (ROOT / "monai_dental").glob("*/__init__.py"):
        if room.parent.name != "moved":
            assert (site / "api" / "rooms" / f"{room.parent.name}.html").is_file(), room
    page = (site / "api" / "rooms" / "noise.html").read_text(encoding="utf-8")
    assert 'id="monai_dental.noise.estimate.estimate_noise"' in page


def test_notebooks_have_run(site):
    for notebook in DOCS.glob("notebooks/*.ipynb"):
        page = (site / "notebooks" / f"{notebook.stem}.html").read_text(encoding="utf-8")
        assert re.search(r'<img [^>]*src="\.\./_images/', page), notebook
    denoised = (site / "notebooks" / "denoise_your_folder.html").read_text(encoding="utf-8")
    assert "3 compared, 0 failed" in denoised
    trained = (site / "notebooks" / "train_your_bundle.html").read_text(encoding="utf-8")
    assert "torch.Size([1, 1, 64, 96])" in trained
    published = (site / "notebooks" / "published_experiment.html").read_text(encoding="utf-8")
    assert "24 images, 2 epochs" in published
    assert "Honest protocol" in published
    assert "Published protocol" in published
    compared = (site / "notebooks" / "compare_with_a_peer.html").read_text(encoding="utf-8")
    assert "PSNR, dB (data range 1), honest protocol: minus that of mine" in compared


def test_pages_load_nothing_from_elsewhere(site):
    loads = re.compile(r"<(?:script|img|iframe)[^>]* src=\"https?:|<link[^>]* href=\"https?:")
    for page in site.rglob("*.html"):
        assert not loads.search(page.read_text(encoding="utf-8")), page


def test_notebooks_are_committed_without_outputs():
    for notebook in DOCS.glob("notebooks/*.ipynb"):
        text = notebook.read_text(encoding="utf-8")
        assert '"outputs": [\n' not in text, f"{notebook}: has outputs; clear them"


def test_notebooks_begin_by_installing_what_is_missing():
    notebooks = sorted(DOCS.glob("notebooks/*.ipynb"))
    for notebook in notebooks:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        first = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        assert 'find_spec("monai_dental") is None' in first, notebook
        (source,) = re.findall(r'source = "(.+?)"', first)
        assert (notebook.parent / source).resolve() == ROOT, notebook
        assert "%pip install" in first, notebook
    assert len(notebooks) == 6


def test_picture_of_the_rooms_is_that_of_the_package():
    script = load(ROOT / "scripts" / "draw_architecture.py")
    drawn = script.PICTURE.read_text(encoding="utf-8")

    assert drawn == script.draw(script.read_floors()), "run scripts/draw_architecture.py"


def test_pages_of_rooms_that_are_gone_are_removed(tmp_path):
    rooms = load(DOCS / "extensions" / "rooms.py")
    gone = tmp_path / "cellar.md"
    gone.touch()

    rooms.write_pages(tmp_path)

    assert not gone.exists()
    assert "automodule:: monai_dental.noise.estimate" in (tmp_path / "noise.md").read_text()


@pytest.mark.parametrize(
    ("docstring", "rest"),
    [
        ("The `UID`s of it.", r"The ``UID``\ s of it."),
        ('One `{"image": path}`.', 'One ``{"image": path}``.'),
        ("Up to |q|^4.", r"Up to \|q\|^4."),
        ("In ``code`` already.", "In ``code`` already."),
    ],
)
def test_docstrings_are_read_as_they_are_meant(docstring, rest):
    assert load(DOCS / "extensions" / "reading.py").docstring_as_rest(docstring) == rest
