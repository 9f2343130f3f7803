"""Networks that MONAI lacks, one per file."""

from monai_dental.networks.autoencoder import DenoisingAutoencoder
from monai_dental.networks.median import MedianFilter

__all__ = ["DenoisingAutoencoder", "MedianFilter"]
