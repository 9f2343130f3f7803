"""Dictionary transforms for MONAI: thin wrappers around this package's functions."""

from monai_dental.transforms.detector import FixedDetectord, RandDetectord
from monai_dental.transforms.exposure import FixedExposured, RandExposured
from monai_dental.transforms.faint import RandFaintd
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
from monai_dental.transforms.registration import CheckRegistrationd

__all__ = [
    "CheckRegistrationd",
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
    "RandFaintd",
    "RandOrientationd",
    "RandPatchesd",
    "Recorruptd",
    "RestoreRanged",
    "SaveRadiographd",
    "ScaleToUnitd",
    "ToStoredd",
]
