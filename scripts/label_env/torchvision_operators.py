"""Declares the operators that torchvision looks for before it can be imported.

PyPI's torchvision brings them in a library for CUDA, which does not load beside a CPU build of
torch. MONAI Label imports torchvision when it starts, and needs none of them here.
`torchvision_operators.pth` runs this in each Python of the environment.
"""

import sys
from importlib.abc import MetaPathFinder

_BOXES = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_kept = []


class _BeforeTorchvision(MetaPathFinder):
    """Finds nothing; acts when torchvision is first looked for."""

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            library = torch.library.Library("torchvision", "DEF")
            for operator in ("nms", "qnms"):
                library.define(operator + _BOXES)
            _kept.append(library)  # the declarations end with it
        return None


sys.meta_path.insert(0, _BeforeTorchvision())
