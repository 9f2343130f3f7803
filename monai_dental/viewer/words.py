"""The words in the reader's language, on the server; `modules/words.js` does the same on a page."""

from __future__ import annotations

import re

from monai_dental.viewer.assets import languages

_PLACE = re.compile(r"\{(\w+)\}")


class Words:
    """The words of a language; missing ones are shown in English.

    Args:
        tag: The language's tag, as "de"; a tag that no language has gives English.

    Attributes:
        tag: The tag of the language that is given.
        texts: The words by their keys, with places for values, as "{name}".
    """

    def __init__(self, tag: str = "en") -> None:
        known = languages()
        english = known["en"]
        self.tag = tag if tag in known else "en"
        self.texts = english | known[self.tag]
        said = [key for key in english if key.startswith("said.")]
        said.sort(key=lambda key: _vagueness(english[key]))
        self._sentences = {key: _pattern_of(english[key]) for key in said}

    def __call__(self, key: str, **values: object) -> str:
        """Return the word with its places filled."""
        return _PLACE.sub(lambda place: str(values.get(place[1], "")), self.texts[key])

    def said(self, sentence: str) -> str:
        """Return an English sentence of the program in this language, if a language file has it."""
        for key, pattern in self._sentences.items():
            if found := pattern.fullmatch(sentence):
                values = found.groupdict()
                if "said" in values:
                    values["said"] = self.said(values["said"])
                return self(key, **values)
        return self("said", sentence=sentence)

    def number(self, value: float, form: str) -> str:
        """Return a number, formatted, with a true minus and the language's decimal separator."""
        return format(value, form).replace("-", "−").replace(".", self("decimal"))


def _vagueness(text: str) -> tuple[int, int]:
    """Return a key that sorts "cut off: {found} bytes" before "{found} bytes"."""
    return -len(_PLACE.split(text)[0]), -len(text)


def _pattern_of(text: str) -> re.Pattern[str]:
    parts = _PLACE.split(text)  # texts and the names of places take turns
    parts[::2] = map(re.escape, parts[::2])
    parts[1::2] = (f"(?P<{name}>.+)" for name in parts[1::2])
    return re.compile("".join(parts), re.S)
