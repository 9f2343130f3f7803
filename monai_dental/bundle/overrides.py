"""The overrides of `python -m monai.bundle run`, which MONAI does not check."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from monai_dental.bundle.find import checked_device
from monai_dental.errors import BundleError, MissingPackageError

_RUN_ARGUMENTS = {
    "run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking",
    "args_file", "workflow_name", "workflow_type", "properties_path",
}  # fmt: skip
_REFERENCES = ("@", "$", "%")
_ZERO_FOR_NONE = {"cache_mb", "figure_count", "halo", "num_workers"}


def is_true(value: bool | str) -> bool:
    """Return a flag of a config, which the command line hands over as a string.

    Args:
        value: True or False, or "true" or "false" in any case.

    Raises:
        BundleError: It is anything else.
    """
    flags = {"true": True, "false": False}
    if str(value).lower() not in flags:
        raise BundleError(f"{value!r} is not a flag; need true or false")
    return flags[str(value).lower()]


def check_overrides(arguments: Sequence[str]) -> None:
    """Check the overrides among the arguments of `python -m monai.bundle run`.

    MONAI takes `--max_epoch 7` without a word, and trains the `max_epochs` of the config; it takes
    `--max_epochs 1.5`, too. What is a number in the config must be one on the command line: a whole
    one where that is whole, and not negative or zero where that is not.

    Args:
        arguments: The command line after the program.

    Raises:
        BundleError: An override is neither an id of the config files nor an argument of one of
            their components, is a path that MONAI would read as something else, is not such a
            number or component as the config has there, or a device that is not there, or no epoch
            of a training would be validated.
        MissingPackageError: `--tracking mlflow`, and MLflow is not installed.
    """
    from fire.parser import DefaultParseValue
    from monai.bundle import ConfigParser

    given = _named_arguments(arguments)
    given = {**_read_json(given.pop("args_file", None)), **given}
    if given.get("tracking") == "mlflow" and find_spec("mlflow") is None:
        raise MissingPackageError("--tracking mlflow needs two packages: pip install mlflow pandas")
    if "config_file" not in given:
        return
    files = DefaultParseValue(given["config_file"])
    parser = ConfigParser(ConfigParser.load_config_files(files))
    unknown = [
        key
        for key in given
        if key not in _RUN_ARGUMENTS and key not in parser and not _has_component(parser, key)
    ]
    for key, value in given.items():
        is_plain = str(value)[:1] not in _REFERENCES
        if key.endswith(("_dir", "_path")) and is_plain and "#" in str(value):
            raise BundleError(f"--{key} {value}: MONAI's configs cannot hold a path with # in it")
    if unknown:
        raise BundleError(f"{files}: no {', '.join(unknown)} in the config to override")
    for key, value in given.items():
        if key in parser:
            _check_number(key, value, _followed(parser, key))
            _check_component(key, value, _followed(parser, key))
    if str(given.get("device", "$"))[:1] not in _REFERENCES:
        checked_device(str(given["device"]))
    _check_interval(
        {key: given.get(key, parser.get(key)) for key in ("val_interval", "max_epochs")}
    )


def _followed(parser: Any, key: str) -> object:
    """Return the value of an id, or that which it refers to."""
    value: object = parser[key]
    while isinstance(value, str) and value.startswith("@") and value[1:] in parser:
        value = parser[value[1:]]
    return value


def _check_number(key: str, value: object, default: object) -> None:
    """Check that `value` can stand for `default`, if that is a number and `value` no expression."""
    from fire.parser import DefaultParseValue

    if not isinstance(default, int | float) or isinstance(default, bool):
        return
    if str(value)[:1] in _REFERENCES:
        return
    number = DefaultParseValue(value) if isinstance(value, str) else value
    is_count = isinstance(default, int)
    least = int(is_count and default > 0 and re.split("#|::", key)[-1] not in _ZERO_FOR_NONE)
    kinds = int if is_count else int | float
    if isinstance(number, bool) or not isinstance(number, kinds) or not least <= number < math.inf:
        kind = "a whole number" if is_count else "a number"
        raise BundleError(f"--{key} {value}: need {kind} of at least {least}, such as {default}")


def _check_component(key: str, value: object, default: object) -> None:
    """Check that `value` can stand for `default`, if that is a component."""
    from fire.parser import DefaultParseValue

    if not isinstance(default, dict) or "_target_" not in default:
        return
    given = DefaultParseValue(value) if isinstance(value, str) else value
    if isinstance(given, dict | list) or str(value)[:1] in _REFERENCES:
        return
    name = str(default["_target_"]).rpartition(".")[2]
    raise BundleError(
        f"--{key} {value}: the config has a component here ({name}); need another one, "
        "\"{'_target_': …}\", a list, or an expression"
    )


def _check_interval(values: Mapping[str, object]) -> None:
    """Check that an epoch is validated: no other's weights are kept."""
    from fire.parser import DefaultParseValue

    interval, epochs = (
        DefaultParseValue(value) if isinstance(value, str) else value for value in values.values()
    )
    if isinstance(interval, int) and isinstance(epochs, int) and interval > epochs:
        raise BundleError(
            f"--max_epochs {epochs}: no epoch would be validated, and no weights written; need "
            f"{interval} or more, or a lower --val_interval"
        )


def _named_arguments(arguments: Sequence[str]) -> dict[str, str]:
    """Return the `--name value` and `--name=value` pairs, as Fire reads them."""
    named: dict[str, str] = {}
    for index, argument in enumerate(arguments):
        if argument.startswith("--"):
            name, is_pair, value = argument[2:].partition("=")
            following = arguments[index + 1 : index + 2]
            named[name.replace("-", "_")] = value if is_pair else "".join(following)
    return named


def _read_json(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return content


def _has_component(parser: Any, key: str) -> bool:
    """Return whether `key` could be a further argument of a component of the config."""
    parent = key.replace("#", "::").rpartition("::")[0]
    return bool(parent) and parent in parser and "_target_" in parser[parent]
