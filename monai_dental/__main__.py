"""`python -m monai_dental` is `monai-dental`."""

import sys

from monai_dental.cli import main

sys.exit(main())
