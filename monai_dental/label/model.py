"""A bundle as the server offers it: as it came, or as a training has left it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_dental.bundle.find import find_bundle, read_metadata, shipped_bundles
from monai_dental.errors import BundleError

_WEIGHTS = Path("models", "model.pt")
_ORIGIN = "adapted_from"  # a file in the folder of what was trained


@dataclass(frozen=True)
class Model:
    """A bundle under the name that clients know it by.

    Attributes:
        name: "unet" for instance.
        original: The bundle's folder, which is never written to.
        trained: Folder of the bundle that trainings make of it; need not exist.
    """

    name: str
    original: Path
    trained: Path

    @property
    def folder(self) -> Path:
        """The bundle that the next inference runs."""
        return self.trained if self.trained.is_dir() else self.original

    def check_origin(self) -> None:
        """Check that what a training has left was made of this bundle, not of a namesake.

        Raises:
            BundleError: It was made of a bundle in another folder.
        """
        note = self.trained / _ORIGIN
        origin = note.read_text("utf-8") if note.is_file() else str(self.original)
        if origin != str(self.original):
            raise BundleError(
                f"{self.trained}: adapted from {origin}, not from {self.original}; rename one of "
                "the two bundles, or remove what was adapted"
            )

    def note_origin(self, folder: Path) -> None:
        """Tell in a bundle that a training has made which one it was made of."""
        (folder / _ORIGIN).write_text(str(self.original), encoding="utf-8")

    @property
    def metadata(self) -> dict[str, Any]:
        """The content of its `metadata.json`."""
        return read_metadata(self.folder)

    @property
    def weights(self) -> Path:
        """The file of its weights; need not exist."""
        return self.folder / _WEIGHTS

    @property
    def is_adaptable(self) -> bool:
        """Whether it can learn from noisy images alone."""
        return (self.original / "configs" / "adapt.json").is_file()

    @property
    def variants(self) -> list[str]:
        """Names of its inference configs: "network", and those of the others ("median")."""
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
        names: Bundles as `find_bundle` takes them, with commas between; None for all that come
            with the package.
        trained_dir: Folder for what trainings make, a folder for each model.

    Raises:
        BundleError: There is no such bundle, two have one name, or what was trained under a name
            was made of another bundle.
    """
    wanted = [name.strip() for name in names.split(",")] if names else shipped_bundles()
    models: dict[str, Model] = {}
    for name in wanted:
        bundle = find_bundle(name)
        short = Path(os.path.abspath(name)).name  # of "." and "x/.." too; not of a link's target
        if short in models and models[short].original != bundle:
            raise BundleError(
                f"{bundle} and {models[short].original}: both are called {short}; rename a folder"
            )
        models[short] = Model(short, bundle, trained_dir / short)
        models[short].check_origin()
    return models
