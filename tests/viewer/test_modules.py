"""The viewer's modules, and the words of its languages."""

import re

import pytest

from monai_dental.viewer import assets


def test_modules_are_small():
    for name in assets.module_names():
        assert len(assets.module(name).splitlines()) < 400, name


def test_every_language_has_every_word_with_its_places():
    languages = assets.languages()
    english = languages["en"]

    for tag, words in languages.items():
        assert words.keys() == english.keys(), tag
        for key, text in words.items():
            places, wanted = (set(re.findall(r"\{\w+\}", each)) for each in (text, english[key]))
            # A sentence that was said in English may lose what only a programmer reads.
            assert places <= wanted if key.startswith("said.") else places == wanted, (tag, key)


def test_single_script_holds_each_module_once_and_asks_for_none():
    script = assets.single_script("viewer.js")

    assert not re.search(r"^(import|export) ", script, re.M)
    for name in ("class Viewer", "class Plane", "class View ", "class Stage", "const KEYS"):
        assert script.count(name) == 1, name
    tops = re.findall(r"^(?:class|const|let|function\*?|async function) (\w+)", script, re.M)
    assert len(tops) == len(set(tops))


def test_unknown_module_is_refused():
    with pytest.raises(KeyError):
        assets.module("../viewer.css")
