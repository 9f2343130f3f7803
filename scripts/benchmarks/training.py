"""Time the training of the autoencoder, compared with the same network in Keras.

Both train for 40 epochs on the same images with batch size 10, Adam, validation after each epoch,
early stopping and keeping of the best weights. They run in turn, five times each. Only the training
loop is timed, not imports or the reading of images. Keras has a separate environment:

    python3 -m venv KERAS && KERAS/bin/pip install tensorflow-cpu keras
    .venv/bin/python scripts/benchmarks/training.py --keras-python KERAS/bin/python \
        --dataset-dir DIR --output results/benchmark_training

Prints the seconds of each run, the medians and their ratios, for the bundle in the precision that
it chooses ("auto": bfloat16 if the processor supports it) and in float32, and for Keras in float32.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

BUNDLE = Path(__file__).parents[2] / "bundles" / "dental_xray_denoising_dae"
EPOCHS, BATCH_SIZE, VALIDATION_COUNT, SIGMA = 40, 10, 20, 0.07


def main() -> None:
    """Run both in turn and print the times."""
    if sys.argv[1:2] == ["--keras-worker"]:
        print(train_keras(np.load(sys.argv[2])))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keras-python", type=Path, required=True, help="python that has keras")
    parser.add_argument("--dataset-dir", type=Path, required=True, help="folder of images")
    parser.add_argument("--output", type=Path, required=True, help="folder for what the runs write")
    parser.add_argument("--runs", type=int, default=5, help="runs of each (default: 5)")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    images = arguments.output / "images.npy"
    save_images(arguments.dataset_dir, images)
    seconds: dict[str, list[float]] = {"auto": [], "float32": [], "keras": []}
    for run in range(arguments.runs):
        for precision in ("auto", "float32"):
            folder = arguments.output.resolve() / f"{precision}_{run}"
            taken = train_bundle(arguments.dataset_dir.resolve(), folder, precision)
            seconds[precision].append(taken)
        worker = [arguments.keras_python, __file__, "--keras-worker", images]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(worker, env=environment, check=True, capture_output=True, text=True)
        seconds["keras"].append(float(done.stdout.split()[-1]))
        print(*(f"{name} {values[-1]:.1f} s" for name, values in seconds.items()), flush=True)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        print(f"median {name} {value:.1f} s, ratio to keras {value / medians['keras']:.2f}")


def save_images(dataset_dir: Path, path: Path) -> None:
    """Save the images as both use them: 64 × 64, each scaled to [0, 1]."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "train.json")
    parser.update({"dataset_dir": str(dataset_dir), "sigma": 0.0})
    parts = [parser.get_parsed_content(f"{part}#dataset") for part in ("train", "validate")]
    np.save(path, np.stack([item["label"][0].numpy() for part in parts for item in part]))


def train_bundle(dataset_dir: Path, folder: Path, precision: str) -> float:
    """Train the bundle, and return the seconds of its loop from the history that it writes."""
    command = [
        sys.executable, "-m", "monai.bundle", "run", "training", "--config_file",
        "configs/train.json", "--dataset_dir", dataset_dir, "--ckpt_dir", folder,
        "--output_dir", folder, "--max_epochs", EPOCHS, "--precision", precision,
    ]  # fmt: skip
    subprocess.run(list(map(str, command)), cwd=BUNDLE, check=True, capture_output=True)
    with (folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if len(rows) != EPOCHS:
        raise RuntimeError(f"stopped early, after {len(rows)} epochs: no comparison")
    return float(rows[-1]["seconds"])


def train_keras(images: np.ndarray) -> float:
    """Train the same network in Keras and return the seconds of `fit`."""
    import keras
    from keras import layers

    def convolution(features: int, activation: str) -> object:
        return layers.Conv2D(features, 3, activation=activation, padding="same")

    noisy = images + SIGMA * np.random.default_rng(0).standard_normal(images.shape)
    clean, noisy = images[..., None], noisy[..., None].astype(np.float32)
    network = keras.Sequential(
        [
            keras.Input((64, 64, 1)),
            convolution(64, "relu"), layers.MaxPooling2D(2),
            convolution(64, "relu"), layers.MaxPooling2D(2),
            convolution(64, "relu"), layers.UpSampling2D(2),
            convolution(64, "relu"), layers.UpSampling2D(2),
            convolution(1, "sigmoid"),
        ]
    )  # fmt: skip
    if network.count_params() != 112_001:
        raise RuntimeError("not the same network")
    network.compile("adam", "binary_crossentropy")
    stop = keras.callbacks.EarlyStopping(patience=10, restore_best_weights=True)
    started = time.perf_counter()
    history = network.fit(
        noisy[:-VALIDATION_COUNT], clean[:-VALIDATION_COUNT],
        validation_data=(noisy[-VALIDATION_COUNT:], clean[-VALIDATION_COUNT:]),
        epochs=EPOCHS, batch_size=BATCH_SIZE, callbacks=[stop], verbose=0,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    if len(history.epoch) != EPOCHS:
        raise RuntimeError(f"stopped early, after {len(history.epoch)} epochs: no comparison")
    return seconds


if __name__ == "__main__":
    main()
