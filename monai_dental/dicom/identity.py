"""How this package names itself in the files that it writes (PS3.7 D.3.3.2)."""

from pydicom.uid import UID

import monai_dental

IMPLEMENTATION_CLASS_UID = UID("2.25.302043790172249692526321623266752743501")
IMPLEMENTATION_VERSION_NAME = f"MONAIDENTAL{monai_dental.__version__}"[:16]
