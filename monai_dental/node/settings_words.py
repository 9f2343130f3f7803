"""Descriptions of a node's settings, and of invalid values, in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo


def option_of(name: str) -> str:
    """Return the name of a setting as options and TOML files write it."""
    return name.replace("_", "-")


def explain(
    error: ValidationError,
    fields: Mapping[str, FieldInfo],
    options: Mapping[str, Any],
    config: Path | None,
) -> str:
    """Explain in words the first error in the settings of options and of a file."""
    errors = error.errors(include_url=False)
    first = min(errors, key=lambda each: each["type"] == "missing")  # missing values come last
    name = str(first["loc"][0]).replace("-", "_")
    option, value = option_of(name), first["input"]
    where = "" if config is None or option in options else f"{config}: "
    if name == "routes" and first["type"] != "value_error":
        place = ".".join(map(str, first["loc"]))
        return (
            f"{where}{place}: {first['msg'][0].lower()}{first['msg'][1:]}; need tables of senders, "
            "tags and forward: lists of strings, or, for tags, lists of strings by keyword"
        )
    if first["type"] == "extra_forbidden":
        known = ", ".join(map(option_of, fields))
        return f"{where}{option} is not a setting; the settings are {known}"
    if first["type"] == "missing":
        file = "" if config is None else f", or {option} in {config}"
        return f"{option} is missing; need --{option}{file}"
    if first["type"] == "value_error":
        return f"{where}{option}: {first['ctx']['error']}"
    field = fields[name]
    if first["type"].endswith(("_type", "_parsing")):
        return f"{where}{option} is {type(value).__name__}; need {kind_of(field)}"
    return f"{where}{option} is {value}; need {limits_of(field)}"


def kind_of(field: FieldInfo) -> str:
    """Return the type that a value must have, in words."""
    text = str(field.annotation)
    for kind, words in (
        ("tuple", "a list of strings"),
        ("bool", "true or false"),
        ("int", "a whole number"),
        ("float", "a number"),
        ("Path", "a path in quotes"),
    ):
        if kind in text:
            return words
    return "a string in quotes"


def limits_of(field: FieldInfo) -> str:
    """Return which values are allowed, in words; "" if all are."""
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(each, str) for each in choices):
        return f"one of {', '.join(choices)}"
    limits = {}
    for each in field.metadata:
        for name in ("ge", "gt", "le", "min_length"):
            if getattr(each, name, None) is not None:
                limits[name] = getattr(each, name)
    if "le" in limits:
        return f"{limits['ge']} to {limits['le']}"
    if "ge" in limits:
        return f"at least {limits['ge']}"
    if "gt" in limits:
        return "seconds above 0"
    return "at least one" if "tuple" in str(field.annotation) else kind_of(field) if limits else ""
