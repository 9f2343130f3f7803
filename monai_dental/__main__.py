"""Entry point of `python -m monai_dental`, the same as `monai-dental`."""

import sys

from monai_dental.cli import main

sys.exit(main())
