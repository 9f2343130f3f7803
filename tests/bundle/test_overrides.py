import json
import signal
import subprocess
import sys

import pytest

from monai_dental.bundle.overrides import check_overrides, is_true
from monai_dental.errors import BundleError, MissingPackageError


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "train.json"
    trainer = {"_target_": "SupervisedTrainer", "max_epochs": "@max_epochs"}
    path.write_text(json.dumps({"max_epochs": 40, "train": {"trainer": trainer}}))
    return str(path)


@pytest.mark.parametrize(
    "override",
    [
        ["--max_epochs", "7"],
        ["--max_epochs=7"],
        ["--train#trainer#max_epochs", "7"],
        ["--train::trainer::max_epochs", "7"],
        ["--train#trainer#amp", "True"],
        ["--train::trainer::amp", "True"],
        ["--max-epochs", "7"],
        ["--meta_file", "metadata.json"],
    ],
)
def test_known_override_is_accepted(config, override):
    check_overrides(["run", "training", "--config_file", config, *override])


@pytest.mark.parametrize(
    "override",
    [["--max_epoch", "7"], ["--max_epoch=7"], ["--train#trainers#amp", "1"], ["--train#x", "1"]],
)
def test_unknown_override_is_rejected(config, override):
    name = override[0].removeprefix("--").split("=")[0]
    with pytest.raises(BundleError, match=rf"train\.json: no {name} in the config to override"):
        check_overrides(["run", "training", "--config_file", config, *override])


@pytest.fixture
def numbers(tmp_path):
    path = tmp_path / "numbers.json"
    loader = {"_target_": "DataLoader", "batch_size": "@batch_size", "num_workers": 2}
    values = {"batch_size": 4, "seed": 0, "cache_mb": 2048, "tau": 0.5, "native": False}
    path.write_text(json.dumps({**values, "dataset_dir": None, "loader": loader}))
    return ["run", "--config_file", str(path)]


@pytest.mark.parametrize(
    ("name", "value", "needed"),
    [
        ("batch_size", "1.5", "a whole number of at least 1, such as 4"),
        ("batch_size", "0", "a whole number of at least 1"),
        ("batch_size", "1e2", "a whole number of at least 1"),
        ("batch_size", "True", "a whole number of at least 1"),
        ("batch_size", "four", "a whole number of at least 1"),
        ("loader#batch_size", "0", "a whole number of at least 1, such as 4"),
        ("loader::num_workers", "-1", "a whole number of at least 0, such as 2"),
        ("cache_mb", "-5", "a whole number of at least 0, such as 2048"),
        ("seed", "-1", "a whole number of at least 0, such as 0"),
        ("tau", "-0.1", "a number of at least 0, such as 0.5"),
        ("tau", "nan", "a number of at least 0"),
        ("tau", "1e999", "a number of at least 0"),
    ],
)
def test_number_that_the_config_has_no_use_for_is_refused(numbers, name, value, needed):
    with pytest.raises(BundleError, match=f"--{name} {value}: need {needed}"):
        check_overrides([*numbers, f"--{name}", value])


@pytest.mark.parametrize(
    "override",
    ["batch_size=8", "batch_size=$2 * 2", "batch_size=@seed", "loader#batch_size=1",
     "loader#num_workers=0", "cache_mb=0", "seed=0", "tau=0", "tau=2", "tau=1e-3", "native=true",
     "dataset_dir=2024"],
)  # fmt: skip
def test_number_as_the_config_has_it_is_accepted(numbers, override):
    check_overrides([*numbers, f"--{override}"])


@pytest.mark.parametrize("value", ["list.json", "7", "none"])
def test_word_in_the_place_of_a_component_is_refused(numbers, value):
    with pytest.raises(BundleError, match=rf"--loader {value}: .* component here \(DataLoader\)"):
        check_overrides([*numbers, "--loader", value])


@pytest.mark.parametrize("value", ["$None", "@seed", "{'_target_': 'Loader'}", "[{'image': 'a'}]"])
def test_component_may_be_another_one_a_list_or_an_expression(numbers, value):
    check_overrides([*numbers, "--loader", value])


def test_device_that_is_not_there_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"device": "$torch.device('cpu')"}))
    arguments = ["run", "training", "--config_file", str(path), "--device"]

    with pytest.raises(BundleError, match="cuda:99: no such device here; need cpu, or cuda with"):
        check_overrides([*arguments, "cuda:99"])
    check_overrides([*arguments, "cpu"])
    check_overrides([*arguments, "$torch.device('cuda:99')"])


def test_tracking_without_mlflow_says_how_to_get_it(config, monkeypatch):
    arguments = ["run", "training", "--config_file", config, "--tracking", "mlflow"]
    monkeypatch.setattr("monai_dental.bundle.overrides.find_spec", lambda name: None)

    with pytest.raises(MissingPackageError, match="--tracking mlflow .* extra 'tracking'"):
        check_overrides(arguments)
    monkeypatch.setattr("monai_dental.bundle.overrides.find_spec", lambda name: "there")
    check_overrides(arguments)


def test_training_that_would_validate_no_epoch_is_refused(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"max_epochs": 480, "val_interval": 5}))
    arguments = ["run", "training", "--config_file", str(path), "--max_epochs"]

    with pytest.raises(BundleError, match="--max_epochs 4: no epoch would be validated.* need 5"):
        check_overrides([*arguments, "4"])
    check_overrides([*arguments, "5"])
    check_overrides([*arguments, "4", "--val_interval", "2"])
    check_overrides([*arguments, "$2 * 2"])


def test_interrupted_run_ends_with_one_line(tmp_path):
    config = tmp_path / "train.json"
    config.write_text(json.dumps({
        "imports": [
            "$from monai_dental.cli.monai_bundle import check_command_line", "$import signal"
        ],
        "initialize": ["$check_command_line()"],
        "run": ["$signal.raise_signal(signal.SIGINT)"],
    }))  # fmt: skip
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(config)]

    result = subprocess.run(
        command, capture_output=True, text=True, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # in the background too
    )  # fmt: skip

    assert result.returncode == -signal.SIGINT  # which shells report as 130
    assert result.stderr.splitlines()[-1] == "interrupted; all files written so far are complete"
    assert "Traceback" not in result.stderr


def test_path_that_a_config_cannot_hold_is_refused(tmp_path):
    config = tmp_path / "train.json"
    config.write_text(json.dumps({"output_dir": "eval", "root": "."}))
    arguments = ["run", "training", "--config_file", str(config), "--output_dir"]

    with pytest.raises(BundleError, match=r"--output_dir o # x: .*cannot hold a path with #"):
        check_overrides([*arguments, "o # x"])
    check_overrides([*arguments, "@train#folder"])
    check_overrides([*arguments, "2024"])


def test_run_ends_with_what_was_wrong_first(tmp_path):
    config = tmp_path / "train.json"
    config.write_text(json.dumps({
        "imports": ["$from monai_dental.cli.monai_bundle import check_command_line"],
        "tau": 0.5,
        "objective": {"_target_": "monai_dental.transforms.Recorruptd", "keys": "x", "tau": "@tau"},
        "initialize": ["$check_command_line()"],
        "run": ["$len(@objective)"],
    }))  # fmt: skip
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(config)]

    result = subprocess.run([*command, "--tau", "0"], capture_output=True, text=True, check=False)

    assert result.returncode != 0
    assert result.stderr.splitlines()[-1] == "error: tau must be positive, got 0"


def test_override_in_an_arguments_file_is_checked(config, tmp_path):
    arguments = tmp_path / "args.json"
    arguments.write_text(json.dumps({"config_file": config, "learning_rat": 1}))

    with pytest.raises(BundleError, match="no learning_rat in the config"):
        check_overrides(["run", "--args_file", str(arguments)])


def test_override_is_looked_up_in_all_config_files(config, tmp_path):
    overlay = tmp_path / "overlay.json"
    overlay.write_text(json.dumps({"patience": 3}))

    check_overrides(["run", "--config_file", f"['{config}','{overlay}']", "--patience", "4"])


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), ("true", True), ("False", False), (False, False)]
)
def test_flags_may_be_strings(value, expected):
    assert is_true(value) is expected


def test_other_words_are_no_flags():
    with pytest.raises(BundleError, match="'yes' is not a flag; need true or false"):
        is_true("yes")


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_arguments_come_from_a_file_of_json_or_yaml_with_a_list_of_configs(
    config, tmp_path, suffix
):
    path = tmp_path / f"arguments.{suffix}"
    arguments = {"config_file": [config], "max_epoch": 7}
    text = {
        "json": json.dumps(arguments), "yaml": f"config_file:\n  - {config}\nmax_epoch: 7\n"
    }  # fmt: skip
    path.write_text(text[suffix])

    with pytest.raises(BundleError, match=r"train\.json'\]: no max_epoch in the config"):
        check_overrides(["run", "training", "--args_file", str(path)])


def test_arguments_of_a_tracking_are_known_where_there_is_one(config, tmp_path):
    settings = tmp_path / "tracking.json"
    settings.write_text(json.dumps({"configs": {"tracking_uri": "", "run_name": None}}))
    given = ["run", "training", "--config_file", config, "--run_name", "first"]

    check_overrides([*given, "--tracking", str(settings), "--tracking_uri", "sqlite:///a.db"])
    with pytest.raises(BundleError, match="no experiment_name in"):
        check_overrides([*given, "--tracking", str(settings), "--experiment_name", "x"])
    with pytest.raises(BundleError, match="no run_name in the config"):
        check_overrides(given)


def test_arguments_of_mlflow_are_known(config, monkeypatch):
    monkeypatch.setattr("monai_dental.bundle.overrides.find_spec", lambda name: name)
    given = ["--tracking", "mlflow", "--tracking_uri", "sqlite:///a.db", "--run_name", "first"]

    check_overrides(["run", "--config_file", config, *given, "--experiment_name", "noise"])
