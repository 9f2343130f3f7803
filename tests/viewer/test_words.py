"""The words of a language on the server."""

from __future__ import annotations

import pytest

from monai_dental.viewer.words import Words


@pytest.mark.parametrize("tag", ["", "fr", "DE", "../en", "said"])
def test_tag_of_no_language_gives_english(tag):
    words = Words(tag)

    assert words.tag == "en"
    assert words("save") == "Save"


def test_missing_word_is_shown_in_english(monkeypatch):
    known = {"en": {"one": "One", "two": "Two of {all}"}, "xx": {"one": "Un"}}
    monkeypatch.setattr("monai_dental.viewer.words.languages", lambda: known)
    words = Words("xx")

    assert (words("one"), words("two", all=3), words("two")) == ("Un", "Two of 3", "Two of ")


@pytest.mark.parametrize(
    ("sentence", "german"),
    [
        ("the file is empty", "Die Datei ist leer."),
        ("cut off: 3 bytes; need 5", "Die Datei ist unvollständig: 3 von 5 Bytes."),
        ("result: the file is empty", "Ergebnis: Die Datei ist leer."),
        ("original: 3 bytes; need 5", "Original: Die Datei ist unvollständig: 3 von 5 Bytes."),
        ("has a (strange) {fault}", "Meldung auf Englisch: has a (strange) {fault}"),
    ],
)
def test_sentence_is_told_in_the_language(sentence, german):
    assert Words("de").said(sentence) == german
    assert Words("en").said(sentence) == sentence


@pytest.mark.parametrize(
    ("tag", "value", "form", "text"),
    [
        ("de", -0.051, "+.2f", "−0,05"),
        ("de", 0.00042, "#.2g", "0,00042"),
        ("en", 1.5, ".1f", "1.5"),
    ],
)
def test_number_is_written_as_the_language_writes_it(tag, value, form, text):
    assert Words(tag).number(value, form) == text
