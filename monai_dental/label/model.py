"""A bundle as the server offers it: the original, or its version after a training."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_dental.bundle.find import find_bundle, read_metadata, shipped_bundles
from monai_dental.errors import BundleError

_WEIGHTS = Path("models", "model.pt")
_ORIGIN = "adapted_from"  # a file in the folder of the trained bundle


@dataclass(frozen=True)
class Model:
    """A bundle under the name that clients use.

    Attributes:
        name: For example "unet".
        original: The bundle's folder, which is never changed.
        trained: Folder of the bundle that trainings make from it; may not exist.
    """

    name: str
    original: Path
    trained: Path

    @property
    def folder(self) -> Path:
        """The bundle that the next inference runs."""
        return self.trained if self.trained.is_dir() else self.original

    def check_origin(self) -> None:
        """Check that the trained bundle was made from this bundle, not from one of the same name.

        Raises:
            BundleError: It was made from a bundle in another folder.
        """
        note = self.trained / _ORIGIN
        origin = note.read_text("utf-8") if note.is_file() else str(self.original)
        if origin != str(self.original):
            raise BundleError(
                f"{self.trained}: adapted from {origin}, not from {self.original}; rename one of "
                "the two bundles, or remove the adapted one"
            )

    def note_origin(self, folder: Path) -> None:
        """Record in a trained bundle which bundle it was made from."""
        (folder / _ORIGIN).write_text(str(self.original), encoding="utf-8")

    @property
    def metadata(self) -> dict[str, Any]:
        """The content of its `metadata.json`."""
        return read_metadata(self.folder)

    @property
    def weights(self) -> Path:
        """The file of its weights; may not exist."""
        return self.folder / _WEIGHTS

    @property
    def is_adaptable(self) -> bool:
        """Whether it can learn from noisy images alone."""
        return (self.original / "configs" / "adapt.json").is_file()

    @property
    def variants(self) -> list[str]:
        """Names of its inference configs: "network", and others such as "median"."""
        names = [path.stem for path in (self.folder / "configs").glob("inference_*.json")]
        return ["network", *sorted(name.removeprefix("inference_") for name in names)]

    def config_name(self, variant: str) -> str:
        """Return the name of the config of a variant.

        Raises:
            ValueError: There is no such variant.
        """
        if variant not in self.variants:
            raise ValueError(f"variant is {variant!r}; need one of {', '.join(self.variants)}")
        return "inference" if variant == "network" else f"inference_{variant}"


def find_models(names: str | None, trained_dir: Path) -> dict[str, Model]:
    """Return the models to offer, by name.

    Args:
        names: Bundles as `find_bundle` takes them, separated by commas; None for all that come
            with the package.
        trained_dir: Folder for trained bundles, with a subfolder for each model.

    Raises:
        BundleError: There is no such bundle, two have the same name, or the trained bundle of that
            name was made from another bundle.
    """
    wanted = [name.strip() for name in names.split(",")] if names else shipped_bundles()
    models: dict[str, Model] = {}
    for name in wanted:
        bundle = find_bundle(name)
        short = Path(os.path.abspath(name)).name  # resolves "." and "x/..", but no links
        if short in models and models[short].original != bundle:
            raise BundleError(
                f"{bundle} and {models[short].original}: both are called {short}; rename a folder"
            )
        models[short] = Model(short, bundle, trained_dir / short)
        models[short].check_origin()
    return models
