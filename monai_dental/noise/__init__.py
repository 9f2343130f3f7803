"""Noise of radiographs: models, simulation and blind estimation."""

from monai_dental.noise.estimate import SMALLEST_SIDE, estimate_noise
from monai_dental.noise.map import noise_map
from monai_dental.noise.model import NoiseModel, correlated_noise
from monai_dental.noise.simulate import add_gaussian_noise, add_poisson_gaussian_noise

__all__ = [
    "SMALLEST_SIDE",
    "NoiseModel",
    "add_gaussian_noise",
    "add_poisson_gaussian_noise",
    "correlated_noise",
    "estimate_noise",
    "noise_map",
]
