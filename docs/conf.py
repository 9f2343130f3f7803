"""The documentation site; scripts/docs builds it."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import monai_dental

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "monai_dental"
author = "the monai_dental authors"
copyright = author
release = version = monai_dental.__version__

extensions = [
    "myst_nb",
    "reading",
    "rooms",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "deploy", "extensions"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
os.environ["MONAI_DENTAL_NOTEBOOKS"] = "small"  # few images and epochs
nb_execution_mode = "force"  # each build runs them: pages show what the code does today
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # a cell, on a machine that does other work
nb_merge_streams = True

suppress_warnings = ["ref.python"]  # rooms may have names in common
toc_object_entries = False  # the sidebar has rooms and modules; thousands of names are too many
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_mock_imports = [  # of extras that the environment need not have
    name
    for name in ("SimpleITK", "bm3d", "dicomweb_client", "fastapi", "monailabel", "ray", "uvicorn")
    if importlib.util.find_spec(name) is None
]
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
