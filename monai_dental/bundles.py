"""Find, check and load bundles.

A bundle's configs are code: `$` expressions and `_target_`s run. Only bundles that the user names,
or that come with this package, are ever loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_dental.errors import BundleError

if TYPE_CHECKING:
    from monai_dental.dicom.derive import Derivation

PREFIX = "dental_xray_denoising_"

_PACKAGE = Path(__file__).parent
# The wheel carries the bundles inside the package; in a checkout they stand beside it.
_SHIPPED = (_PACKAGE / "shipped_bundles", _PACKAGE.parent / "bundles")


def find_bundle(name: str) -> Path:
    """Return the folder of a bundle.

    Args:
        name: The short name of a bundle that comes with the package ("dae"), its whole name, or
            the path of a bundle's folder.

    Raises:
        BundleError: There is no such bundle.
    """
    folders = [shipped / full for shipped in _SHIPPED for full in (PREFIX + name, name)]
    for folder in [Path(name).expanduser(), *folders]:
        if (folder / "configs" / "metadata.json").is_file():
            return folder.resolve()
    raise BundleError(
        f"{name}: no such bundle; need a bundle's folder (with configs/metadata.json in it) or "
        f"one of: {', '.join(shipped_bundles())}"
    )


def shipped_bundles() -> list[str]:
    """Return the short names of the bundles that come with the package."""
    found = {
        folder.name.removeprefix(PREFIX)
        for shipped in _SHIPPED
        for folder in shipped.glob(f"{PREFIX}*")
    }
    return sorted(found)


def load_config(bundle: Path, config_name: str, overrides: Mapping[str, Any]) -> Any:
    """Load one of a bundle's configs, ready to be parsed.

    Args:
        bundle: The bundle's folder.
        config_name: For example "inference".
        overrides: New values of ids that the config has; `bundle_root` is set to `bundle`.

    Returns:
        A `monai.bundle.ConfigParser`.

    Raises:
        BundleError: No such config, it is not JSON, an override is not an id of it, or the
            weights (`ckpt_path`) that it names do not exist.
    """
    from monai.bundle import ConfigParser

    path = bundle / "configs" / f"{config_name}.json"
    if not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.json"))
        raise BundleError(f"{path}: no such config; this bundle has {', '.join(known)}")
    parser = ConfigParser()
    try:
        parser.read_config(path)
        parser.read_meta(bundle / "configs" / "metadata.json")
    except ValueError as error:
        raise BundleError(f"{path}: not a JSON config: {error}") from error
    unknown = [key for key in overrides if key not in parser]
    if unknown:
        raise BundleError(f"{path}: it has no {', '.join(unknown)} to override")
    parser.update({"bundle_root": str(bundle), **overrides})
    if "ckpt_path" in parser:
        require_weights(parser.get_parsed_content("ckpt_path"))
    return parser


def require_weights(path: str) -> None:
    """Check that a file of weights is there.

    Raises:
        BundleError: It is not.
    """
    if not Path(path).is_file():
        raise BundleError(f"{path}: no weights here; train the bundle first, or name a ckpt_path")


def weights_digest(path: str) -> str:
    """Return the SHA-256 of a file of weights, in hexadecimal.

    Raises:
        BundleError: There is no such file.
    """
    require_weights(path)
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def read_metadata(bundle: Path) -> dict[str, Any]:
    """Return the content of a bundle's `metadata.json`.

    Raises:
        BundleError: It is missing or not JSON.
    """
    path = bundle / "configs" / "metadata.json"
    try:
        metadata: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: cannot be read as a bundle's metadata") from error
    return metadata


def derivation_of(
    bundle_root: str, ckpt_path: str, *, description: str = "Noise reduction", strength: float = 1.0
) -> Derivation:
    """Return the record of what a bundle does to an image, for derived DICOM objects.

    Args:
        bundle_root: The bundle's folder; its metadata tell name and version.
        ckpt_path: The file whose digest says what exactly ran: the weights, or the config of a
            filter that has none.
        description: What was done, in words.
        strength: Share of the noise that was taken out, 0 to 1.

    Raises:
        BundleError: The metadata or the file are missing.
    """
    from monai_dental.dicom.derive import Derivation

    metadata = read_metadata(Path(bundle_root))
    return Derivation(
        description=description,
        model_name=Path(bundle_root).resolve().name,
        model_version=metadata["version"],
        weights_digest=weights_digest(ckpt_path),
        strength=strength,
    )
