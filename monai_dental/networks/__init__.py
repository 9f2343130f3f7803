"""Networks that are not in MONAI, one per file."""

from monai_dental.networks.autoencoder import DenoisingAutoencoder
from monai_dental.networks.median import MedianFilter
from monai_dental.networks.unet import DenoisingUNet

__all__ = ["DenoisingAutoencoder", "DenoisingUNet", "MedianFilter"]
