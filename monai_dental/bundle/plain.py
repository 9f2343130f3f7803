"""The configs that come with the package, read without MONAI, which takes seconds to import."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from monai_dental.bundle.find import is_shipped_config, require_weights

_REFERENCE = re.compile(r"@([A-Za-z_]\w*(?:#\w+)*)")


class PlainConfig:
    """A config that comes with the package, resolved as MONAI's `ConfigParser` resolves it.

    It supports the part of MONAI's syntax that these configs use for inference: `@id`,
    `$expression`, `_target_` with a full name, and `_disabled_`.

    Args:
        bundle: The bundle's folder; `bundle_root` is set to it.
        config_name: For example "inference"; see `is_shipped_config`.
        stand_ins: Replacements for each `_target_` that itself imports MONAI.

    Raises:
        ValueError: The config does not come with the package.
        BundleError: Its weights (`ckpt_path`) do not exist.
    """

    def __init__(
        self, bundle: Path, config_name: str, stand_ins: Mapping[str, Callable[..., Any]]
    ) -> None:
        path = bundle / "configs" / f"{config_name}.json"
        if not is_shipped_config(path):
            raise ValueError(f"{path}: not a config of this package; load_config reads it")
        self._content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        self._content["bundle_root"] = str(bundle)
        self._stand_ins = stand_ins
        self._resolved: dict[str, Any] = {}
        self._names: dict[str, Any] = {}
        for line in self._content["imports"]:
            exec(line.removeprefix("$"), self._names)  # noqa: S102 - the package's own text
        if "ckpt_path" in self:
            require_weights(self.get_parsed_content("ckpt_path"))

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def __setitem__(self, key: str, value: object) -> None:
        """Set an id; must be called before anything that refers to it is resolved."""
        self._content[key] = value

    def get_parsed_content(self, key: str) -> Any:
        """Return the resolved value of an id: the same object each time."""
        if key not in self._resolved:
            value = reduce(lambda node, name: node[name], key.split("#"), self._content)
            self._resolved[key] = self._resolve(value)
        return self._resolved[key]

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            kept = [each for each in value if not self._is_disabled(each)]
            return [self._resolve(each) for each in kept]
        if isinstance(value, dict):
            return self._made(value) if "_target_" in value else self._resolved_items(value)
        if isinstance(value, str) and value.startswith("$"):
            return self._evaluated(value[1:])
        if isinstance(value, str) and _REFERENCE.fullmatch(value):
            return self.get_parsed_content(value[1:])
        return value

    def _is_disabled(self, value: Any) -> bool:
        return isinstance(value, dict) and bool(self._resolve(value.get("_disabled_", False)))

    def _resolved_items(self, value: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._resolve(each) for name, each in value.items() if name[:1] != "_"}

    def _made(self, value: Mapping[str, Any]) -> Any:
        name: str = value["_target_"]
        target = self._stand_ins.get(name)
        if target is None:
            module, _, attribute = name.rpartition(".")
            target = getattr(importlib.import_module(module), attribute)
        return target(**self._resolved_items(value))

    def _evaluated(self, expression: str) -> Any:
        import torch

        found = {name: self.get_parsed_content(name) for name in _REFERENCE.findall(expression)}
        text = _REFERENCE.sub(lambda match: f"_found[{match[1]!r}]", expression)
        return eval(text, {**self._names, "torch": torch, "_found": found})  # noqa: S307
