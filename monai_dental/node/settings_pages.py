"""The settings of a node as a TOML file and as a table, for the documentation.

`python -m monai_dental.node.settings_pages docs` rewrites both.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from monai_dental.node.settings import NodeSettings
from monai_dental.node.settings_words import limits_of, option_of

_GIVEN = ("forward", "allow", "ae_title", "port", "spool", "health_port", "bundle")
"""Settings that the example gives; the others are comments that show their defaults."""
_HEAD = """\
# Settings of `monai-dental node --config node.toml`. Each but `routes` is also an option, which has
# precedence.
# `monai-dental node --config node.toml --check-config` checks them, and exits.
# Lines that begin with "#" and no blank show the default, or an example.
# A token for DICOMweb is read from the environment, MONAI_DENTAL_OUTPUT_TOKEN, never from here.
"""
_BEGIN, _END = "<!-- settings -->\n", "<!-- end of settings -->\n"


def as_toml() -> str:
    """Return the example, docs/deploy/node.toml."""
    parts = [_HEAD]
    for name, field in NodeSettings.model_fields.items():
        words = f"{_describe(field)}; {_default(field)}."
        words = words[0].upper() + words[1:]
        lines = textwrap.wrap(words, 98, break_on_hyphens=False, break_long_words=False)
        mark = "" if name in _GIVEN else "#"
        comment = "".join(f"# {line}\n" for line in lines)
        parts.append(f"{comment}{mark}{option_of(name)} = {_toml(_value(field))}\n")
    return "\n".join(parts)


def as_table() -> str:
    """Return the table in docs/node.md."""
    rows = ["| setting | what it is | without it |", "|---|---|---|"]
    for name, field in NodeSettings.model_fields.items():
        cells = (f"`{option_of(name)}`", _describe(field), _default(field))
        rows.append("| " + " | ".join(each.replace("|", "\\|") for each in cells) + " |")
    return "\n".join(rows) + "\n"


def with_table(page: str) -> str:
    """Return a page with the table between its two marks.

    Raises:
        ValueError: The page has no marks.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"need the marks {_BEGIN.strip()} and {_END.strip()}")
    return f"{before}{begin}{as_table()}{end}{after}"


def extra_of(field: FieldInfo, name: str) -> Any:
    """Return an extra property of a setting: "metavar", "example", "default" or "is_option"."""
    extra = field.json_schema_extra
    return extra.get(name) if isinstance(extra, dict) else None


def default_of(field: FieldInfo) -> str:
    """Return the default in words; "" if the setting is required."""
    told = extra_of(field, "default")
    if told is not None:
        return str(told)
    if field.is_required():
        return ""
    if field.default is None:
        return "none"
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


def _default(field: FieldInfo) -> str:
    default = default_of(field)
    return f"default: {default}" if default else "required"


def _describe(field: FieldInfo) -> str:
    limits, unit = limits_of(field), extra_of(field, "metavar")
    words = field.description or ""
    if unit in ("MIB", "SECONDS", "BYTES"):
        words = f"({'MiB' if unit == 'MIB' else unit.lower()}) {words}"
    is_telling = " to " in limits or limits.startswith("one of")
    return f"{words} ({limits})" if is_telling else words


def _value(field: FieldInfo) -> Any:
    example = extra_of(field, "example")
    return field.default if example is None else example


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)  # TOML writes strings, numbers and booleans as JSON does


if __name__ == "__main__":
    docs = Path(sys.argv[1])
    (docs / "deploy" / "node.toml").write_text(as_toml(), encoding="utf-8")
    page = docs / "node.md"
    page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")
