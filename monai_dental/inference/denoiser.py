"""Denoising of arrays with a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from monai_dental.bundle.find import (
    checked_device,
    is_shipped_config,
    load_config,
    load_weights,
)
from monai_dental.bundle.plain import PlainConfig
from monai_dental.errors import BundleError
from monai_dental.filters import blend, checked_strength
from monai_dental.inference.backends import run_by
from monai_dental.inference.stand_ins import STAND_INS, compose

if TYPE_CHECKING:
    from monai_dental.dicom.derive import Derivation

_IDS = (
    "device", "network", "inferer", "array_transforms", "restore_transforms", "derivation",
)  # fmt: skip


class Denoiser:
    """A bundle's network with its pre- and postprocessing, for arrays of any size.

    Everything comes from the bundle's inference config: the transforms between the reader and the
    network (`array_transforms`), `inferer` and `network`, and the inverse transforms
    (`restore_transforms`). `python -m monai.bundle run inference` computes the same result (with
    `--native true` if a bundle was made for another size). A config shipped with the package is
    read without MONAI, whose import takes longer than an image, with the same result.

    Args:
        bundle: The bundle's folder.
        config_name: Inference config of the bundle: "inference" or a variant of it.
        device: For example "cpu" or "cuda:0"; by default the config's own, or the CPU for a backend
            that only runs there.
        backend: What runs the network: one of `BACKENDS`.

    Raises:
        BundleError: The bundle lacks the config or its weights, the weights do not fit the network,
            the device does not exist, or the backend cannot use it.
        ValueError: There is no such backend.
        MissingPackageError: The backend's package is not installed.
    """

    def __init__(
        self,
        bundle: Path,
        config_name: str = "inference",
        device: str | None = None,
        *,
        backend: str = "torch",
    ) -> None:
        self._is_plain = is_shipped_config(bundle / "configs" / f"{config_name}.json")
        parser: Any = (
            PlainConfig(bundle, config_name, STAND_INS)
            if self._is_plain
            else load_config(bundle, config_name, {}, required=_IDS)
        )
        if "native" in parser:  # for the config of a bundle made for another size
            parser["native"] = True
        if backend != "torch" and device is None:
            device = "cpu"
        if device is not None:
            parser["device"] = checked_device(device)
        self._device: torch.device = parser.get_parsed_content("device")
        self._before = compose(parser.get_parsed_content("array_transforms"))
        self._after = compose(parser.get_parsed_content("restore_transforms"))
        self.inferer = parser.get_parsed_content("inferer")
        self.network: torch.nn.Module = parser.get_parsed_content("network").eval()
        self.derivation: Derivation = parser.get_parsed_content("derivation")
        if "ckpt_path" in parser:
            load_weights(self.network, parser.get_parsed_content("ckpt_path"), self._device)
        if backend != "torch" and self._device.type != "cpu":
            raise BundleError(f"backend {backend} runs on the cpu; the device is {self._device}")
        precision = getattr(self.inferer, "precision", "auto")
        self._run = run_by(backend, self.network, precision)

    def denoise(self, pixels: NDArray[np.floating], strength: float = 1.0) -> NDArray[np.float32]:
        """Denoise one image, or each frame of several.

        Args:
            pixels: (H, W) or (frames, H, W), in [0, 1]; floating-point numbers of any precision.
            strength: Fraction of the network's correction that is applied: 0 returns the pixels
                unchanged except for clipping, 1 the network's result.

        Returns:
            Denoised pixels of the same shape, clipped to [0, 1].

        Raises:
            ValueError: `pixels` has the wrong number of axes, is not floating-point or has values
                that are not finite, or `strength` is not in [0, 1].
        """
        pixels = _checked_pixels(pixels)
        if checked_strength(strength) == 0:
            return blend(pixels, pixels, 0)  # without running the network
        return blend(pixels, self.network_result(pixels), strength)

    def network_result(self, pixels: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the network's result, which `denoise` blends with the pixels.

        Keep it to blend at several strengths. Argument and errors are those of `denoise`.

        Returns:
            Pixels of the same shape; may exceed [0, 1].
        """
        pixels = _checked_pixels(pixels)
        frames = pixels[None] if pixels.ndim == 2 else pixels
        data = self._before({"image": self._tensor_of(frames)})
        with torch.inference_mode():
            image = data["image"].to(self._device)
            data["pred"] = self.inferer(image[None], self._run)[0]
        denoised = torch.as_tensor(self._after(data)["pred"]).cpu().numpy().reshape(pixels.shape)
        return np.asarray(denoised, np.float32)

    def _tensor_of(self, frames: NDArray[np.float32]) -> Tensor:
        if self._is_plain:
            return torch.from_numpy(frames)
        from monai.data import MetaTensor

        return MetaTensor(torch.from_numpy(frames))

    def derivation_at(self, strength: float) -> Derivation:
        """Return the record of `denoise` at a strength, for derived DICOM instances.

        Raises:
            ValueError: `strength` is not in [0, 1].
        """
        return replace(self.derivation, strength=strength)


def _checked_pixels(pixels: NDArray[np.floating]) -> NDArray[np.float32]:
    if not np.issubdtype(pixels.dtype, np.floating):
        raise ValueError(f"pixels are {pixels.dtype}; need floating-point numbers in [0, 1]")
    pixels = pixels.astype(np.float32, copy=False)
    if not np.isfinite(pixels).all():
        raise ValueError("pixels have values that are not finite")
    if pixels.ndim not in (2, 3):
        raise ValueError(f"pixels have shape {pixels.shape}; need (H, W) or (frames, H, W)")
    return pixels
