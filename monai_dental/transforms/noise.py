"""Noise transforms: for clean images, and for training from noisy images alone."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor

from monai_dental.errors import UnsupportedImageError
from monai_dental.filters import low_pass
from monai_dental.noise import (
    NoiseModel,
    add_gaussian_noise,
    correlated_noise,
    estimate_noise,
    noise_map,
)
from monai_dental.process.threads import one_thread
from monai_dental.transforms.intensity import name_of

Data = Mapping[Hashable, Any]

_VARIANCES, _KERNEL, _OCTAVES = "noise_variances", "noise_kernel", "noise_octaves"
_GUIDE_SIGMA = 2.0  # pixels: smooth enough to hide the noise, sharp enough to follow anatomy


class FixedGaussianNoised(MapTransform):
    """Add white Gaussian noise, the same for an image at every call.

    The noise depends only on `seed` and the image itself. Every model and epoch is thus scored on
    the same noisy image, in any order and with any number of workers.

    Args:
        keys: Keys of the clean images, (C, H, W), nominally in [0, 1].
        sigma: Standard deviation of the noise, in units of the [0, 1] image.
        seed: Chooses another set of noise.
    """

    def __init__(self, keys: KeysCollection, sigma: float, seed: int = 0) -> None:
        super().__init__(keys)
        self.sigma = sigma
        self.seed = seed

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with noise on the images of `keys`."""
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            generator = torch.Generator(image.device).manual_seed(seed_of(image, self.seed))
            result[key] = add_gaussian_noise(image, self.sigma, generator)
        return result


class EstimateNoised(MapTransform):
    """Estimate the noise of an image from itself, and store the estimate in the data.

    This adds `noise_variances` (K,), `noise_octaves` (3, K) and `noise_kernel` (2r+1, 2r+1), which
    `Recorruptd` and `FixedRecorruptd` use; see `monai_dental.noise.NoiseModel`.

    Args:
        keys: Key of the noisy image, (1, H, W), in [0, 1].
    """

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with the estimate.

        Raises:
            UnsupportedImageError: The image is too small, or has non-finite values.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            try:
                with one_thread():
                    model = estimate_noise(torch.as_tensor(image)[0])
            except ValueError as error:
                raise UnsupportedImageError(f"{name_of(image)}: {error}") from error
            if not model.variances.any():
                warnings.warn(f"{name_of(image)}: no noise found to learn from", stacklevel=2)
            result |= {
                _VARIANCES: model.variances, _KERNEL: model.kernel, _OCTAVES: model.octaves
            }  # fmt: skip
        return result


class NoiseMapd(MapTransform):
    """Add the noise map of an image to the data, from the estimate of `EstimateNoised`.

    Args:
        keys: Key of the noisy image, (1, H, W), in [0, 1].
        output_key: Key for the map, (noise_channels, H, W); see `monai_dental.noise.noise_map`.
        excess: Factor on the variance in the map, for images to which noise is added.
        noise_channels: Number of noise channels of the network's input.
    """

    def __init__(
        self, keys: KeysCollection, output_key: str, excess: float = 1.0, *, noise_channels: int = 2
    ) -> None:
        super().__init__(keys)
        self.output_key = output_key
        self.excess = excess
        self.noise_channels = noise_channels

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with the map."""
        result = dict(data)
        for key in self.key_iterator(result):
            noise = NoiseModel(
                gain=0.0,
                electronic_variance=0.0,
                variances=self.excess * result[_VARIANCES],
                kernel=result[_KERNEL],
                octaves=self.excess * result[_OCTAVES],
            )
            image = torch.as_tensor(result[key])[0]
            result[self.output_key] = noise_map(image, noise, self.noise_channels)
        return result


class Recorruptd(RandomizableTransform, MapTransform):
    """Make an input and a target with independent noise from one noisy image.

    With z drawn from the distribution of the noise, y + tau z and y - z / tau are two images of the
    same anatomy with uncorrelated noise. If the noise is Gaussian, a network that learns to map one
    to the other by the squared error learns the same as from clean targets. The noise may be
    signal-dependent and correlated if z is too: z is drawn from the estimate of `EstimateNoised`,
    which is removed from the data. Pixels at 0 or 1 are clipped, for example behind metal, and have
    no noise; they are unchanged in input and target.

    If paired, z and -z give two inputs and targets. In the sum of their squared errors, the noise z
    / tau, which causes most of the gradient's randomness, almost cancels. Thus tau can be small,
    and the input hardly noisier than the image itself. In the limit, this is Stein's unbiased risk
    estimate.

    Args:
        keys: Key of the noisy image, (1, H, W), scaled to [0, 1]; becomes the input.
        label_key: Key for the target.
        tau: Trade-off between noise in input and target: more in the input means less in the
            target. 0.5 gives 1.25 and 5 times the variance of the noise.
        is_paired: Whether input and target have two channels, one for z and one for -z, which the
            network processes one by one; see `ChannelwiseInferer`.

    Raises:
        ValueError: `tau` is not positive.

    References:
        Pang et al., Recorrupted-to-Recorrupted: Unsupervised Deep Learning for Image Denoising,
        CVPR 2021, theorem 1. Stein, Ann. Stat. 9(6), 1981; Ramani et al., IEEE Trans. Image
        Process. 17(9), 2008, for the limit.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        tau: float = 0.5,
        *,
        is_paired: bool = False,
    ) -> None:
        if tau <= 0:
            raise ValueError(f"tau must be positive, got {tau}")
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob=1.0)
        self.label_key = label_key
        self.tau = tau
        self.is_paired = is_paired

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with the input and the target, and without the estimate."""
        return self.recorrupt(data, seed=int(self.R.randint(2**31)))

    def recorrupt(self, data: Data, seed: int) -> dict[Hashable, Any]:
        """Return the result of a call, with the noise given by a seed; thread-safe."""
        result = dict(data)
        variances, kernel = result.pop(_VARIANCES), result.pop(_KERNEL)
        result.pop(_OCTAVES, None)
        for key in self.key_iterator(result):
            noisy = torch.as_tensor(result[key])
            generator = torch.Generator(noisy.device).manual_seed(seed)
            # The variance must not be computed from the noise itself, or the two would correlate.
            guide = low_pass(noisy, _GUIDE_SIGMA)
            noise = correlated_noise(guide, variances, kernel, generator)
            noise[(noisy <= 0) | (noisy >= 1)] = 0
            if self.is_paired:
                noise = torch.cat([noise, -noise])
            result[key] = noisy + self.tau * noise
            result[self.label_key] = noisy - noise / self.tau
        return result


class FixedRecorruptd(MapTransform):
    """Like `Recorruptd`, but draw the same noise for an image at every call, for validation.

    `seed` chooses another set of noise; the other arguments are those of `Recorruptd`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        tau: float = 0.5,
        *,
        is_paired: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(keys)
        self._random = Recorruptd(keys, label_key, tau, is_paired=is_paired)
        self.seed = seed

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return `data` with the input and the target, and without the estimate."""
        return self._random.recorrupt(data, seed=seed_of(data[self.keys[0]], self.seed))


def seed_of(image: Tensor, seed: int) -> int:
    """Return a 32-bit seed that depends on the image itself and on another seed."""
    return zlib.crc32(torch.as_tensor(image).cpu().numpy().tobytes(), seed)
