"""MONAI dictionary transforms of this package: thin wrappers."""

from monai_dental.transforms.files import SaveRadiographd
from monai_dental.transforms.intensity import (
    Filterd,
    KeepLowFrequenciesd,
    RestoreRanged,
    ScaleToUnitd,
)
from monai_dental.transforms.noise import (
    EstimateNoised,
    FixedGaussianNoised,
    FixedRecorruptd,
    Recorruptd,
)
from monai_dental.transforms.patches import RandOrientationd, RandPatchesd

__all__ = [
    "EstimateNoised",
    "Filterd",
    "FixedGaussianNoised",
    "FixedRecorruptd",
    "KeepLowFrequenciesd",
    "RandOrientationd",
    "RandPatchesd",
    "Recorruptd",
    "RestoreRanged",
    "SaveRadiographd",
    "ScaleToUnitd",
]
