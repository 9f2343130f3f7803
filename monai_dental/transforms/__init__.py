"""MONAI dictionary transforms of this package: thin wrappers."""

from monai_dental.transforms.detector import FixedDetectord, RandDetectord
from monai_dental.transforms.exposure import FixedExposured, RandExposured
from monai_dental.transforms.files import SaveRadiographd
from monai_dental.transforms.intensity import (
    Filterd,
    KeepLowFrequenciesd,
    RestoreRanged,
    ScaleToUnitd,
)
from monai_dental.transforms.label import ToStoredd
from monai_dental.transforms.noise import (
    EstimateNoised,
    FixedGaussianNoised,
    FixedRecorruptd,
    NoiseMapd,
    Recorruptd,
)
from monai_dental.transforms.patches import RandOrientationd, RandPatchesd

__all__ = [
    "EstimateNoised",
    "Filterd",
    "FixedDetectord",
    "FixedExposured",
    "FixedGaussianNoised",
    "FixedRecorruptd",
    "KeepLowFrequenciesd",
    "NoiseMapd",
    "RandDetectord",
    "RandExposured",
    "RandOrientationd",
    "RandPatchesd",
    "Recorruptd",
    "RestoreRanged",
    "SaveRadiographd",
    "ScaleToUnitd",
    "ToStoredd",
]
