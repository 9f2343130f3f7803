"""The overrides of `python -m monai.bundle run`, which MONAI does not check."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from monai_dental.bundle.find import checked_device
from monai_dental.errors import BundleError, MissingPackageError, extra_needed

_RUN_ARGUMENTS = {
    "run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking",
    "args_file", "workflow_name", "workflow_type", "properties_path",
}  # fmt: skip
_REFERENCES = ("@", "$", "%")
_ZERO_FOR_NONE = {"cache_mb", "figure_count", "halo", "num_workers"}


def is_true(value: bool | str) -> bool:
    """Return the value of a flag in a config, which is a string if the command line sets it.

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

    MONAI accepts `--max_epoch 7` without a warning, and trains for the config's `max_epochs`; it
    also accepts `--max_epochs 1.5`. If the config has a number, the override must be a number, and
    a whole one if the config's is whole. It must not be negative, and not zero if the config's is a
    whole number above zero, except for ids where 0 means "none".

    Args:
        arguments: The command line after the program.

    Raises:
        BundleError: An override is neither an id of the config files nor an argument of one of
            their components; is a path that MONAI would read as something else; is not a number or
            component as in the config; or is a device that does not exist. Or no epoch of the
            training would be validated.
        MissingPackageError: `--tracking mlflow` is given, and MLflow is not installed.
    """
    from monai.bundle import ConfigParser

    named = _named_arguments(arguments)
    path = named.pop("args_file", None)  # JSON or YAML
    given: dict[str, Any] = {} if path is None else ConfigParser.load_config_file(path)
    given |= named
    if given.get("tracking") == "mlflow" and find_spec("mlflow") is None:
        raise MissingPackageError(f"--tracking mlflow needs MLflow: {extra_needed('tracking')}")
    if "config_file" not in given:
        return
    files = _parsed(given["config_file"])
    parser = ConfigParser(ConfigParser.load_config_files(files))
    known = _RUN_ARGUMENTS | _tracking_arguments(given.get("tracking"))
    unknown = [
        key
        for key in given
        if key not in known and key not in parser and not _has_component(parser, key)
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
            if not (key == "datalist" and "fold" in parser and _is_list(value)):
                _check_component(key, value, _followed(parser, key))
    if str(given.get("device", "$"))[:1] not in _REFERENCES:
        checked_device(str(given["device"]))
    _check_interval(
        *(_parsed(given.get(key, parser.get(key))) for key in ("val_interval", "max_epochs"))
    )


def _followed(parser: Any, key: str) -> object:
    """Return the value of an id, with references followed."""
    value: object = parser[key]
    while isinstance(value, str) and value.startswith("@") and value[1:] in parser:
        value = parser[value[1:]]
    return value


def _check_number(key: str, value: object, default: object) -> None:
    """Check that `value` can replace `default`, if that is a number and `value` no expression."""
    if not isinstance(default, int | float) or isinstance(default, bool):
        return
    if str(value)[:1] in _REFERENCES:
        return
    number = _parsed(value)
    is_count = isinstance(default, int)
    least = int(is_count and default > 0 and re.split("#|::", key)[-1] not in _ZERO_FOR_NONE)
    kinds = int if is_count else int | float
    if isinstance(number, bool) or not isinstance(number, kinds) or not least <= number < math.inf:
        kind = "a whole number" if is_count else "a number"
        raise BundleError(f"--{key} {value}: need {kind} of at least {least}, such as {default}")


def _check_component(key: str, value: object, default: object) -> None:
    """Check that `value` can replace `default`, if that is a component."""
    if not isinstance(default, dict) or "_target_" not in default:
        return
    given = _parsed(value)
    if isinstance(given, dict | list) or str(value)[:1] in _REFERENCES:
        return
    name = str(default["_target_"]).rpartition(".")[2]
    raise BundleError(
        f"--{key} {value}: the config has a component here ({name}); need another one, "
        "\"{'_target_': …}\", a list, or an expression"
    )


def _is_list(value: object) -> bool:
    """Return whether a value names a file with a list of images."""
    return str(value).lower().endswith((".json", ".csv"))


def _check_interval(interval: object, epochs: object) -> None:
    """Check that at least one epoch is validated: only weights of validated epochs are kept."""
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


def _tracking_arguments(tracking: Any) -> set[str]:
    """Return the names that MONAI accepts with a `--tracking`, which is its own name or a file."""
    from monai.bundle import ConfigParser
    from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS

    if tracking is None:
        return set()
    settings: Any = _parsed(tracking)
    if not isinstance(settings, dict):
        known = DEFAULT_EXP_MGMT_SETTINGS.get(settings)
        settings = known or ConfigParser.load_config_files(settings)
    return set(settings["configs"])


def _parsed(value: Any) -> Any:
    """Return a string of the command line as Fire parses it; return other values unchanged."""
    from fire.parser import DefaultParseValue

    return DefaultParseValue(value) if isinstance(value, str) else value


def _has_component(parser: Any, key: str) -> bool:
    """Return whether `key` could be a further argument of a component of the config."""
    parent = key.replace("#", "::").rpartition("::")[0]
    return bool(parent) and parent in parser and "_target_" in parser[parent]
