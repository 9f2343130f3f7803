"""The data of a training and of an evaluation that MLflow gets."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from ignite.engine import Engine
from monai.handlers import MLFlowHandler
from torch.utils.tensorboard import SummaryWriter

from monai_dental.training.tracking import TrackOutputs, end_tracking


@pytest.fixture
def logger():
    """MONAI's handler in a run; MLflow itself need not be in the environment."""
    logger = MLFlowHandler.__new__(MLFlowHandler)
    logger.client, logger.cur_run = Mock(), SimpleNamespace(info=SimpleNamespace(run_id="1"))
    logger.client.get_run.return_value.data.params = {"max_epochs": "2"}
    logger.start = logger.complete = lambda *arguments: None
    logger.run_finish_status = "FINISHED"
    logger.iteration_log = logger.epoch_log = False
    logger.close_on_complete = True
    return logger


def artifacts(logger):
    """The names of the files that it was given, and the folders that they go to."""
    calls = [call.args for call in logger.client.log_artifact.call_args_list]
    return {"/".join([*folder, path.rpartition("/")[2]]) for _, path, *folder in calls}


def test_tracked_training_gives_its_settings_weights_history_and_pictures(logger, tmp_path):
    for name in ("model.pt", "history.csv", "config_1.json", "mlruns.db"):
        (tmp_path / name).touch()
    for brightness in (0.2, 0.7):  # a run that went on has two files
        with SummaryWriter(tmp_path) as writer:
            writer.add_image("noisy", torch.full((1, 8, 8), brightness))
    settings = {"seed": 0, "method": "unet", "max_epochs": 2, "datalist": [{"image": "a.png"}]}
    engine = Engine(lambda *arguments: None)
    logger.attach(engine)

    outputs = TrackOutputs([Mock(), logger], settings, str(tmp_path / "model.pt"), str(tmp_path))
    outputs.attach(engine)
    engine.run([0])

    assert logger.cur_run is None
    told = {call.args[1:] for call in logger.client.log_param.call_args_list}
    assert told == {("seed", "0"), ("method", "unet")}
    events = {path.name for path in tmp_path.glob("events.*")}
    assert artifacts(logger) == {
        "model.pt", "history.csv", "config_1.json", "pictures/noisy.png", *events,
    }  # fmt: skip


def test_tracked_evaluation_gives_its_scores_and_ends_its_run(logger, tmp_path):
    (tmp_path / "figures").mkdir()
    for name in ("scores.csv", "metrics.csv", "figures/comparison.png", "config_1.json", "x.db"):
        (tmp_path / name).touch()

    end_tracking([Mock(), logger], str(tmp_path))

    assert logger.cur_run is None
    assert logger.client.set_terminated.call_args.args == ("1", "FINISHED")
    assert artifacts(logger) == {"scores.csv", "metrics.csv", "comparison.png", "config_1.json"}


def test_evaluation_that_is_not_tracked_tells_nothing(tmp_path):
    end_tracking([Mock()], str(tmp_path))
