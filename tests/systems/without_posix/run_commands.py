"""Run the commands that Windows and macOS support in turn, and report what each returned."""

import json
import sys
from pathlib import Path

from monai.bundle import run

from monai_dental.bundle.find import find_bundle
from monai_dental.cli import main
from monai_dental.phantom import write_phantoms


def run_all(folder: Path) -> int:
    """Run all; return 1 if one failed that every system supports."""
    write_phantoms(folder / "phantoms", count=3, size=(64, 64))
    noisy = str(folder / "phantoms" / "noisy")
    commands = {
        "phantom": ["phantom", "--count", "1", "--output", str(folder / "phantom")],
        "denoise": ["denoise", noisy, "--output", str(folder / "denoised")],
        "report": ["report", noisy, str(folder / "denoised")],
        "adapt": [
            "adapt",
            noisy,
            "--bundle",
            "unet",
            "--epochs",
            "1",
            "--output",
            f"{folder}/adapted",
        ],
        "batch": ["batch", noisy, "--output", str(folder / "batch")],
        "node": ["node", "--spool", str(folder / "spool")],
        "orthanc": ["orthanc", "http://localhost:8042", "--work", str(folder / "work")],
        "mercure": ["mercure", noisy, str(folder / "mercure")],
    }
    codes = {name: main(arguments) for name, arguments in commands.items()}
    configs = find_bundle("dae") / "configs"
    settings = {
        "bundle_root": str(configs.parent), "dataset_dir": str(folder / "phantoms" / "clean"),
        "ckpt_dir": str(folder / "models"), "output_dir": str(folder / "eval"), "max_epochs": 1,
        "validation_count": 1,
    }  # fmt: skip
    train, evaluate = (str(configs / f"{name}.json") for name in ("train", "evaluate"))
    run("training", config_file=train, **settings)
    run("evaluating", config_file=[train, evaluate], **settings)
    print(json.dumps(codes))
    return int(any(codes[name] for name in ("phantom", "denoise", "report", "adapt")))


if __name__ == "__main__":  # processes that are spawned import this file too
    sys.exit(run_all(Path(sys.argv[1])))
