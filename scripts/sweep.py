"""Search a bundle's training settings with Optuna, one `monai.bundle run training` per trial.

    pip install -c constraints.txt -e '.[sweep]'
    python scripts/sweep.py bundles/dental_xray_denoising_unet --output OUT --trials 20
        --vary learning_rate=1e-4:1e-2:log --vary batch_size=2,4,8 -- --dataset_dir DIR
    (one line)

Arguments after `--` are passed to each training unchanged. Each trial has a folder, `OUT/trial_N`,
with its log, its `eval` and its `models`. The study is `OUT/study.db`: the same command continues
after an interruption, and several running at once share the study. A killed trial is drawn again.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from monai_dental.errors import DatasetError, MissingPackageError, MonaiDentalError

if TYPE_CHECKING:
    import optuna


def setting(text: str) -> tuple[str, list[str], bool]:
    """Parse "ID=LOW:HIGH[:log]" or "ID=A,B,C": the id, the values, and whether they are a range.

    Raises:
        argparse.ArgumentTypeError: The text has neither form.
    """
    name, _, space = text.partition("=")
    values = space.split(":")
    is_range = len(values) > 1
    try:
        if not is_range:
            values = space.split(",")
            right = all(values)
        else:
            right = float(values[0]) < float(values[1]) and values[2:] in ([], ["log"])
    except ValueError:
        right = False
    if not right or not name:
        message = f"{text!r}: need ID=LOW:HIGH, ID=LOW:HIGH:log or ID=A,B,C"
        raise argparse.ArgumentTypeError(message)
    return name, values, is_range


def suggest(trial: optuna.Trial, name: str, values: list[str], is_range: bool) -> object:
    """Draw the value of one setting; from a range of whole numbers, a whole number."""
    if not is_range:
        return trial.suggest_categorical(name, values)
    low, high, log = values[0], values[1], len(values) == 3
    if low.isdecimal() and high.isdecimal():
        return trial.suggest_int(name, int(low), int(high), log=log)
    return trial.suggest_float(name, float(low), float(high), log=log)


def best_in(history: Path, metric: str, direction: str) -> float:
    """Return the best value of a metric over the epochs of a training.

    Raises:
        DatasetError: The training did not write this metric.
    """
    with history.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or metric not in rows[0]:
        has = ", ".join(rows[0]) if rows else "nothing"
        raise DatasetError(f"{history}: no {metric}; it has {has}")
    values = [float(row[metric]) for row in rows if row[metric]]
    return min(values) if direction == "minimize" else max(values)


def train(trial: optuna.Trial, arguments: argparse.Namespace) -> float:
    """Run one training, and return its best metric.

    Raises:
        MonaiDentalError: The training failed.
    """
    folder = arguments.output.resolve() / f"trial_{trial.number}"
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "monai.bundle", "run", "training"]
    command += ["--config_file", str(arguments.config_file)]
    for name, values, is_range in arguments.vary:
        command += [f"--{name}", str(suggest(trial, name, values, is_range))]
    command += ["--bundle_root", str(arguments.bundle.resolve())]
    command += ["--ckpt_dir", str(folder / "models"), "--output_dir", str(folder / "eval")]
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        done = subprocess.run(
            [*command, *arguments.rest], stdout=log, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        last = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()
        raise MonaiDentalError(f"{folder / 'log.txt'}: training failed: {''.join(last[-1:])}")
    return best_in(folder / "eval" / "history.csv", arguments.metric, arguments.direction)


def sweep(arguments: argparse.Namespace) -> None:
    """Continue the study until it has all its trials, and print the best one."""
    try:
        import optuna
    except ImportError as error:
        raise MissingPackageError("no Optuna here; pip install -e '.[sweep]'") from error

    arguments.output.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=f"{arguments.metric}, {arguments.direction}",
        storage=f"sqlite:///{arguments.output.resolve() / 'study.db'}",
        direction=arguments.direction,
        load_if_exists=True,
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    complete = (optuna.trial.TrialState.COMPLETE,)
    # With the same seed, a resumed sampler would draw the first trials again.
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))
    if len(study.get_trials(deepcopy=False, states=complete)) < arguments.trials:
        stop = optuna.study.MaxTrialsCallback(arguments.trials, states=complete)
        study.optimize(lambda trial: train(trial, arguments), callbacks=[stop])
    best = study.best_trial
    settings = " ".join(f"--{name} {value}" for name, value in best.params.items())
    print(f"best of {len(study.get_trials(states=complete))} trials: {best.value:g} by {settings}")
    print(arguments.output / f"trial_{best.number}")


def main(argv: list[str] | None = None) -> int:
    """Run the sweep; return 0 if it has all its trials, else 2."""
    given = sys.argv[1:] if argv is None else argv
    split = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(
        description="Search the settings of a bundle's training with Optuna. Arguments after -- "
        "are passed to each training unchanged: -- --dataset_dir DIR --max_epochs 20"
    )
    parser.add_argument("bundle", type=Path, help="the bundle's folder")
    parser.add_argument("--output", metavar="DIR", type=Path, required=True, help="for the study")
    parser.add_argument("--trials", metavar="N", type=int, required=True, help="how many in all")
    parser.add_argument(
        "--vary", metavar="ID=SPACE", type=setting, action="append", required=True,
        help="an id of the config, and LOW:HIGH, LOW:HIGH:log or A,B,C; once for each",
    )  # fmt: skip
    parser.add_argument(
        "--metric", default="val_loss", help="a column of history.csv (default: val_loss)"
    )
    parser.add_argument(
        "--direction", choices=["minimize", "maximize"], default="minimize",
        help="of the metric (default: minimize)",
    )  # fmt: skip
    parser.add_argument(
        "--config_file", help="as monai.bundle takes it (default: the bundle's train.json)"
    )
    arguments = parser.parse_args(given[:split])
    arguments.rest = given[split + 1 :]
    if arguments.config_file is None:
        arguments.config_file = arguments.bundle / "configs" / "train.json"
    try:
        sweep(arguments)
    except MonaiDentalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
