"""Find, check and load bundles.

A bundle's configs are code: their `$` expressions and `_target_`s are executed. Only bundles that
the user names, or that come with this package, are ever loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_dental.errors import BundleError
from monai_dental.files.digests import digest_of

if TYPE_CHECKING:
    import torch

    from monai_dental.dicom.derive import Derivation

PREFIX = "dental_xray_denoising_"
DEFAULT_BUNDLE = "blind"

_PACKAGE = Path(__file__).parents[1]
# A wheel has the bundles inside the package; in a checkout they are beside it.
_IN_WHEEL, _IN_CHECKOUT = _PACKAGE / "shipped_bundles", _PACKAGE.parent / "bundles"
_SHIPPED = _IN_WHEEL if _IN_WHEEL.is_dir() else _IN_CHECKOUT


def find_bundle(name: str) -> Path:
    """Return the folder of a bundle.

    Args:
        name: The short name of a bundle that comes with the package ("dae"), its full name, or the
            path of a bundle's folder. A path must contain a slash ("./my_bundle"), so that a folder
            that happens to be called "dae" is never run.

    Raises:
        BundleError: There is no such bundle.
    """
    is_path = Path(name).name != name
    folders = (
        [Path(name).expanduser()] if is_path else [_SHIPPED / (PREFIX + name), _SHIPPED / name]
    )
    for folder in folders:
        if (folder / "configs" / "metadata.json").is_file():
            return folder.resolve()
    raise BundleError(
        f"{name}: no such bundle; need the path of a bundle's folder, with a slash in it "
        f"(./my_bundle), or one of: {', '.join(shipped_bundles())}"
    )


def shipped_bundles() -> list[str]:
    """Return the short names of the bundles that come with the package."""
    return sorted(folder.name.removeprefix(PREFIX) for folder in _SHIPPED.glob(f"{PREFIX}*"))


def is_shipped_config(path: Path) -> bool:
    """Return whether a config equals, byte for byte, one that comes with the package.

    The config of an adapted bundle does: adapting changes only the weights.
    """
    shipped = _SHIPPED.glob(f"{PREFIX}*/configs/{path.name}")
    return path.is_file() and path.read_bytes() in (other.read_bytes() for other in shipped)


def load_config(
    bundle: Path, config_name: str, overrides: Mapping[str, Any], required: Sequence[str] = ()
) -> Any:
    """Load one of a bundle's configs, ready to be parsed.

    Args:
        bundle: The bundle's folder.
        config_name: For example "inference".
        overrides: New values for ids of the config; `bundle_root` is set to `bundle`.
        required: Ids that the caller needs.

    Returns:
        A `monai.bundle.ConfigParser`.

    Raises:
        BundleError: There is no such config, it is not JSON, it lacks an id of `overrides` or
            `required`, or its weights (`ckpt_path`) do not exist.
    """
    from monai.bundle import ConfigParser

    path = bundle / "configs" / f"{config_name}.json"
    if not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.json"))
        raise BundleError(f"{path}: no such config; this bundle has {', '.join(known)}")
    parser = ConfigParser()
    read_metadata(bundle)
    try:
        parser.read_config(path)
    except ValueError as error:
        raise BundleError(f"{path}: not a JSON config: {error}") from error
    missing = [key for key in required if key not in parser]
    if missing:
        raise BundleError(f"{path}: lacks {', '.join(missing)}, which are required")
    unknown = [key for key in overrides if key not in parser]
    if unknown:
        raise BundleError(f"{path}: has no {', '.join(unknown)} to override")
    parser.update({"bundle_root": str(bundle), **overrides})
    if "ckpt_path" in parser:
        require_weights(parser.get_parsed_content("ckpt_path"))
    return parser


def checked_device(name: str) -> torch.device:
    """Return a device, checked to exist.

    Raises:
        BundleError: It does not exist.
    """
    import torch

    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise BundleError(f"{name}: no such device here; need cpu, or cuda with a GPU") from error
    return device


def require_weights(path: str) -> None:
    """Check that a file of weights exists.

    Raises:
        BundleError: It does not exist.
    """
    if not Path(path).is_file():
        raise BundleError(f"{path}: no weights here; train the bundle first, or name a ckpt_path")


def weights_digest(path: str) -> str:
    """Return the SHA-256 of a file of weights, in hexadecimal.

    Raises:
        BundleError: There is no such file.
    """
    require_weights(path)
    return digest_of(Path(path))


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
    bundle_root: str,
    ckpt_path: str,
    description: str = "Noise reduction",
    *,
    strength: float = 1.0,
) -> Derivation:
    """Return the record of what a bundle does to an image, for derived DICOM objects.

    Args:
        bundle_root: The bundle's folder, which gives the name; its metadata give the version.
        ckpt_path: The file whose digest identifies what ran: the weights, or the config of a filter
            without weights.
        description: What was done, in words.
        strength: Share of the correction that was applied.

    Raises:
        BundleError: The metadata or the file are missing.
    """
    from monai_dental.dicom.derive import Derivation

    metadata = read_metadata(Path(bundle_root))
    if "version" not in metadata:
        raise BundleError(f"{bundle_root}/configs/metadata.json: has no version")
    return Derivation(
        description=description,
        model_name=Path(bundle_root).resolve().name,
        model_version=metadata["version"],
        weights_digest=weights_digest(ckpt_path),
        strength=strength,
    )


def load_weights(network: torch.nn.Module, path: str, device: torch.device) -> None:
    """Load weights into a network.

    Args:
        network: The network.
        path: A file with a plain state dictionary.
        device: The device to load the weights to.

    Raises:
        BundleError: There is no such file, or it does not fit the network.
    """
    import torch

    require_weights(path)
    try:
        network.load_state_dict(torch.load(path, map_location=device, weights_only=True))
    except Exception as error:  # noqa: BLE001 - whatever a damaged pickle or archive raises
        raise BundleError(
            f"{path}: these are not weights of this bundle's network ({type(error).__name__})"
        ) from error
